"""Orders of an operator about one address: move it, freeze it, spread its clients anew."""

from __future__ import annotations

from collections.abc import Callable

from pytinc.errors import PolicyError
from pytinc.vip.core import Core, address_text
from pytinc.vip.election import Reason
from pytinc.vip.members import READY, Address
from pytinc.vip.membership import Membership
from pytinc.vip.policy_picture import STATES
from pytinc.vip.sharing import Sharing
from pytinc.wire.vip_record import NO_HOLDER


class Orders:
    """Carries them out, at a node that is a member of the address or guardian of one."""

    def __init__(
        self,
        core: Core,
        membership: Membership,
        sharing: Sharing,
        update: Callable[[float, Reason | None], None],
    ) -> None:
        self._core = core
        self._membership = membership
        self._sharing = sharing
        self._update = update
        """Makes the choice again and acts on it. Arguments: the time, and the reason for another owner."""

    def move(self, address: bytes, target: str, now: float) -> None:
        """Make another member serve an address; PolicyError says why that is impossible."""
        known = self._common_address(address, "move it from a member")
        text = address_text(address)
        members = {member.node: member for member in self._membership.all_present(known, now)}
        member = members.get(target)
        if member is None:
            raise PolicyError(f"{target} is not a member of {text} that can be reached")
        if member.state not in READY:
            raise PolicyError(f"{target} cannot serve {text}: its state is {STATES[member.state].value}")
        if known.claim.holder != member.id:
            known.take_over(member.id, member.priority)
            self._membership.change(now)
            self._update(now, Reason("order", "an operator moved it"))

    def freeze(self, address: bytes, now: float, *, on: bool) -> None:
        """Keep an address where it is, or let it move again; PolicyError says why that is impossible."""
        known = self._common_address(address, "freeze it at a member")
        if known.claim.holder == NO_HOLDER:
            raise PolicyError(f"nobody serves {address_text(address)}")
        if known.claim.frozen is not on:
            known.take_over(known.claim.holder, known.claim.priority, frozen=on)
            self._membership.change(now)
            self._update(now, None)

    def rebalance(self, address: bytes, now: float) -> None:
        """Move clients from members that have too many; PolicyError says why that is impossible."""
        self._common_address(address, "run this on a member")
        self._sharing.rebalance(address, now)

    def _common_address(self, address: bytes, advice: str) -> Address:
        """Return an address of which this node is a member; otherwise raise PolicyError with advice."""
        known, text = self._membership.addresses.get(address), address_text(address)
        if known is None:
            raise PolicyError(f"{text} is no virtual IP with members")
        if not self._membership.takes_part(address):
            raise PolicyError(f"{self._core.me} is not a member of {text}; {advice}")
        return known

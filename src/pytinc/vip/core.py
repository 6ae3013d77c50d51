"""What all parts of the guard share: the tables, the facts about the mesh, and small services.

`Core` knows none of the parts. `pytinc.vip.guard` makes it and hands it to each part.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from pytinc.vip.actions import Action, Happened, Mesh, Notice, SendFrame
from pytinc.vip.addresses import AddressRecord, AddressTable, Client
from pytinc.vip.detector import State
from pytinc.vip.stations import OwnStations
from pytinc.vip.views import GuardCounters
from pytinc.vip.watch import Watch
from pytinc.wire.times import milliseconds
from pytinc.wire.vip_record import EntryState

LOCAL_USE = 10.0
"""Seconds after its last frame for which a station behind the own device counts as a user of a holder."""
RECENT_USE = 60.0
"""Seconds for which a station's last frame shows which holder it uses."""
STEADY_AFTER = 3.0
"""Seconds after its return in which a node gets no clients."""
GRACE = 300.0
"""Seconds for which a client is remembered after its MAC address has no owner: its node may come back."""
IDLE_LIFE = 600.0
"""Seconds for which an address is remembered that nobody uses."""
_NONCES = 1 << 32


class Governed(NamedTuple):
    """The nodes that serve an address with members (`pytinc.vip.policy`)."""

    owner: str | None
    """The node that was chosen; None: no member is there."""
    serving: frozenset[str]
    """All nodes that serve clients: the owner alone, or with a balance all members that are well."""
    speaker: str | None = None
    """The node that speaks for the owner: itself, or its guardian."""
    quiet: frozenset[str] = frozenset()
    """Members that are pytinc nodes: the answers of their hosts leave them only while they serve."""
    balanced: bool = False
    """The members share the clients."""


class Silenced(NamedTuple):
    """The state of a node when it was found to be as silent as the relay in front of it."""

    at: float
    received: int
    """The frames that had come from the node until then."""


class Core:
    """The guard's knowledge."""

    def __init__(self, me: str, my_id: bytes, mesh: Mesh, random_float: Callable[[], float]) -> None:
        self.me = me
        self.my_id = my_id
        self.mesh = mesh
        self.table = AddressTable()
        self.own = OwnStations()
        self._random = random_float
        self.watch = Watch(mesh, self.nonce())
        self.left: dict[str, float] = {}
        """Nodes whose clients were led elsewhere, and when, until they are back."""
        self.silenced: dict[str, dict[str, Silenced]] = {}
        """The watched peers that are silent, each with the nodes that it makes silent: itself and those
        behind it."""
        self.wanted: set[str] = set()
        """Nodes whose presence matters to shared addresses."""
        self.returned: dict[str, float] = {}
        """When such a node came back last."""
        self.withdrawing = False
        """This node is about to stop."""
        self.governed: dict[bytes, Governed] = {}
        """Addresses with members."""
        self.counters = GuardCounters()
        self.actions: list[Action] = []

    # -- services --

    def send(self, frame: bytes) -> None:
        """Send an Ethernet frame."""
        self.actions.append(SendFrame(frame))

    def log(self, level: int, priority: str, text: str) -> None:
        """Write a log line."""
        self.actions.append(Notice(level, priority, text))

    def tell(self, kind: str, **fields: object) -> None:
        """Report an event to the programs that watch the node."""
        self.actions.append(Happened(kind, fields))

    def tell_state(
        self, address: bytes, node: str, state: EntryState, before: EntryState | None, reason: str | None
    ) -> None:
        """Report as an event what a member of an address does now; ``before``: None if the member is new."""
        self.tell(
            "vip-state",
            address=address_text(address),
            node=node,
            state=state.name.lower(),
            before=None if before is None else before.name.lower(),
            reason=reason,
        )

    def count(self, **increments: int) -> None:
        """Add to counters."""
        values = {name: getattr(self.counters, name) + by for name, by in increments.items()}
        self.counters = replace(self.counters, **values)

    def between(self, ends: tuple[float, float]) -> float:
        """Return a random number between two."""
        low, high = ends
        return low + self._random() * (high - low)

    def nonce(self) -> int:
        """Return 32 random bits."""
        return int(self._random() * _NONCES)

    # -- facts --

    def detection(self, node: str, now: float) -> float | None:
        """Return for how long a silent node has been suspected; None if nobody here has watched it."""
        detector = self.watch.get(node)
        if detector is None or detector.state is State.ALIVE:
            return None
        return now - detector.suspect_since

    def is_silenced(self, node: str) -> bool:
        """Tell whether any silent peer makes a node silent."""
        return any(node in nodes for nodes in self.silenced.values())

    def hops(self, node: str, since: float) -> set[str]:
        """Return the peers on the path to a node and back: its first hop, and the relay of its last frame.

        What came before ``since`` does not count.
        """
        return {
            hop for hop in (self.mesh.first_hop(node), self.mesh.last_hop(node, since)) if hop is not None
        }

    def is_shared(self, record: AddressRecord) -> bool:
        """Tell whether an address is shared."""
        return record.address in self.governed or record.is_shared(self.mesh.owner)

    def is_local(self, client: Client) -> bool:
        """Tell whether a client is behind the own device."""
        return self.mesh.owner(client.mac) == self.me

    def is_guarded(self, client: Client) -> bool:
        """Tell whether the client's own node takes care of it."""
        owner = self.mesh.owner(client.mac)
        return owner is not None and owner != self.me and self.mesh.is_guard(owner)

    def last_use(self, record: AddressRecord, client: Client) -> tuple[float, bytes | None]:
        """Return when frames of a client last passed us on their way to a holder, and which one."""
        return max(
            ((self.mesh.last_use(mac, client.mac, record.address), mac) for mac in record.holders),
            default=(-math.inf, None),
        )

    def holder_of(self, record: AddressRecord, client: Client, now: float) -> bytes | None:
        """Return the holder that a client uses: by its frames if they pass here, else by questions and
        notices."""
        since, used = self.last_use(record, client)
        return used if since >= client.told and now - since < RECENT_USE else client.holder

    def uses(self, record: AddressRecord, client: Client, now: float) -> bool:
        """Tell whether a client uses an address now; behind another node: whether the client still exists."""
        if self.is_local(client):
            return now - max(client.seen, self.last_use(record, client)[0]) < LOCAL_USE
        return now - client.seen < GRACE or self.mesh.owner(client.mac) is not None

    def is_used(self, record: AddressRecord, now: float) -> bool:
        """Tell whether anybody uses an address, or it has members."""
        if record.address in self.governed or now - record.own_seen < IDLE_LIFE:
            return True
        return any(self.uses(record, client, now) for client in record.clients.values())

    def own_holders(self, record: AddressRecord) -> frozenset[bytes]:
        """Return the holders of an address that are behind the own device."""
        return frozenset(mac for mac in record.holders if self.mesh.owner(mac) == self.me)

    def serves(self, record: AddressRecord, mac: bytes) -> bool:
        """Tell whether a holder can be expected to serve."""
        owner = self.mesh.owner(mac)
        if mac not in record.holders or owner is None or owner in self.left:
            return False
        if not self.may_serve(record.address, owner):
            return False  # other members do
        if owner == self.me:
            return not self.withdrawing
        return self.mesh.is_reachable(owner) and all(
            self.watch.state(node) in (None, State.ALIVE) for node in (owner, self.mesh.first_hop(owner))
        )

    def may_serve(self, address: bytes, node: str | None) -> bool:
        """Tell whether the members of an address, if it has any, let a node serve it."""
        governed = self.governed.get(address)
        return governed is None or node in governed.serving

    def is_balanced(self, address: bytes) -> bool:
        """Tell whether an address has members that share its clients."""
        governed = self.governed.get(address)
        return governed is not None and governed.balanced

    def speaks(self, address: bytes) -> bool:
        """Tell whether this node speaks for the owner of an address: it tells the clients."""
        governed = self.governed.get(address)
        return governed is not None and governed.speaker == self.me

    def is_contested(self, record: AddressRecord) -> bool:
        """Tell whether hosts may answer clients that they do not serve: tinc's daemon does not prevent it."""
        governed = self.governed.get(record.address)
        if governed is None:
            return False
        owners = {self.mesh.owner(mac) for mac in record.holders}
        honest = {None, *governed.quiet}
        # No member serves all clients if the members share them.
        return not owners <= (honest if governed.balanced else honest | governed.serving)

    def chosen(self, record: AddressRecord, client: Client) -> bytes | None:
        """Return the holder that a client of an address with members should use, if this node knows it."""
        governed = self.governed.get(record.address)
        if governed is None:
            return None
        node = governed.owner
        if governed.balanced:
            node = None if client.member is None else self.mesh.name_of(client.member)
        mac = self.mac_of(record, node)
        return self.mesh.own_mac() if mac is None and node == self.me else mac

    def mac_of(self, record: AddressRecord, node: str | None) -> bytes | None:
        """Return the MAC address at which the host of a node has an address; None if it has not answered."""
        owners = ((self.mesh.owner(mac), mac) for mac in record.holders)
        return min((mac for owner, mac in owners if owner is not None and owner == node), default=None)

    def is_well(self, mac: bytes) -> bool:
        """Tell whether the node of a holder is known to be there now."""
        owner = self.mesh.owner(mac)
        detector = self.watch.get(owner) if owner is not None else None
        return owner == self.me or (detector is not None and detector.is_there)

    def came_back(self, node: str, now: float) -> None:
        """Note that a node whose clients were led elsewhere is back."""
        if self.left.pop(node, None) is not None:
            self.returned[node] = now

    def is_new(self, mac: bytes, now: float) -> bool:
        """Tell whether the node of a holder came back only a moment ago: it may go again soon."""
        return now - self.returned.get(self.mesh.owner(mac) or "", -math.inf) < STEADY_AFTER


def stretches(silence: float | None, detection: float | None) -> dict[str, int | None]:
    """Return the first two phases of a failover as event fields, in milliseconds.

    ``silence``: seconds from the last sign of life to the verdict; ``detection``: the part of them after the
    suspicion; None where it is unknown.
    """
    if silence is None:
        return {"silence_ms": None, "detection_ms": None}
    if detection is None:
        return {"silence_ms": milliseconds(silence), "detection_ms": None}
    return {
        "silence_ms": milliseconds(silence - detection),
        "detection_ms": milliseconds(detection),
    }


def address_text(address: bytes) -> str:
    """Return an IP address as text."""
    return str(ipaddress.ip_address(address))


def mac_text(mac: bytes) -> str:
    """Return a MAC address as text."""
    return mac.hex(":")

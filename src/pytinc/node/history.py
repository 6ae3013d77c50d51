"""Keeps the history of the node as events, for programs that watch it (`pytinc.node.event_ring`).

It is told of changes like the other parts (`pytinc.node.followers`), which never ask it anything. No part
notes the paths and drops of frames as they happen, so `look` examines them once a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytinc import __version__
from pytinc.datapath.peer_slot import REASONS
from pytinc.node.core import Core
from pytinc.node.event_ring import EventRing
from pytinc.node.path_kind import PathKind, path_of
from pytinc.node.records import NEVER, Connection, Peer

DROPS_LEAST: Final = 100.0
"""Packets per second, dropped for one reason, that make an event."""
DROPS_REST: Final = 10.0
"""Least seconds from one such event to the next for the same reason."""
_Path: TypeAlias = tuple[PathKind, str | None]
_NO_PATH: Final[_Path] = (PathKind.NONE, None)


@dataclass(slots=True)
class _Counted:
    """The number of packets dropped for one reason until ``since``."""

    count: int
    since: float
    is_told: bool = False
    """An event was added for it then."""


class History:
    """Writes the events of this node."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.ring = EventRing(core.wall_clock())
        self._paths: dict[str, _Path] = {}
        """The path to each reachable node at the last look."""
        self._dropped: dict[str, _Counted] = {}
        self.add("start", name=core.me.name, version=__version__)

    def add(self, kind: str, **fields: object) -> None:
        """Add an event with these fields."""
        self.ring.add(self._core.wall_clock(), kind, fields)

    # -- what happens --

    def happened(self, kind: str, fields: Mapping[str, object]) -> None:
        """Add an event of a part that concerns no other part."""
        self.ring.add(self._core.wall_clock(), kind, fields)

    def reachability(self, peer: Peer) -> None:
        """A node became reachable or unreachable."""
        if not peer.reachable:
            self.forget(peer)
            self.add("node-down", node=peer.name)
            return
        address = peer.address
        self.add(
            "node-up",
            node=peer.name,
            host=None if address is None else address.host,
            port=None if address is None else address.port,
        )

    def connection_up(self, connection: Connection) -> None:
        """The login of a meta connection is complete."""
        self.add("connection-up", **_ends(connection))

    def connection_down(self, connection: Connection, now: float) -> None:
        """A meta connection has ended. Without a login this is no event: strangers can cause any number."""
        if connection.activated_at != NEVER:
            self.add("connection-down", **_ends(connection), lasted_s=int(now - connection.activated_at))

    def mac_moved(self, mac: bytes, before: str, owner: str) -> None:
        """A MAC address was announced or learned while another node owned it."""
        self.add("mac-moved", mac=mac.hex(":"), from_node=before, to_node=owner)

    def script(self, name: str, status: int | None, seconds: float, error: str | None) -> None:
        """A script has run; ``status`` is negative for a signal, and None if it could not be started."""
        self.add("script", name=name, status=status, ms=max(round(seconds * 1000), 0), error=error)

    def forget(self, peer: Peer) -> None:
        """A node is unreachable or was purged."""
        self._paths.pop(peer.name, None)

    # -- time --

    def look(self, now: float) -> None:
        """Look for changes that no part reports; called every second."""
        paths = self._paths
        for name, slot in self._core.table.slots.items():
            if slot.reachable and not slot.is_me:
                path, before = path_of(slot), paths.get(name, _NO_PATH)
                if path != before:
                    paths[name] = path
                    self._add_path(name, path, before)
        self._look_at_drops(now)

    def _add_path(self, name: str, path: _Path, before: _Path) -> None:
        self.add(
            "path",
            node=name,
            path=path[0].value,
            relay=path[1],
            before=before[0].value,
            before_relay=before[1],
        )

    def _look_at_drops(self, now: float) -> None:
        total = self._core.table.total_drops()
        for reason in REASONS:
            count = getattr(total, reason)
            known = self._dropped.get(reason)
            if known is None:
                known = self._dropped[reason] = _Counted(0, now)
            seconds, rise = now - known.since, count - known.count
            if known.is_told and seconds < DROPS_REST:
                continue
            is_much = seconds > 0 and rise >= DROPS_LEAST * seconds
            if is_much:
                self.add("drops", reason=reason, count=rise, seconds=round(seconds, 1))
            self._dropped[reason] = _Counted(count, now, is_much)


def _ends(connection: Connection) -> dict[str, object]:
    return {
        "node": connection.name,
        "host": connection.remote.host,
        "port": connection.remote.port,
        "dialled": connection.dialled,
    }

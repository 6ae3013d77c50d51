"""The node's clockwork: periodic work and one deadline for all of it (meta.md 5.1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytinc.node.node import Node

PERIODIC_INTERVAL: Final = 5.0
AGEING_INTERVAL: Final = 10.0
PING_CHECK_INTERVAL: Final = 1.0


class Timers:
    """Knows when each periodic job is due."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ping = self._periodic = self._ageing = self._key_expire = math.inf

    def start(self, now: float) -> None:
        """Arm every timer; the periodic run is due at once."""
        node = self._node
        self._ping = now + node.settings.ping_timeout + node.jitter()
        self._periodic = now
        self._ageing = now + AGEING_INTERVAL + node.jitter()
        self._key_expire = now + max(node.settings.key_expire, 1) + node.jitter()

    def next_deadline(self) -> float:
        """Return the earliest time at which something is due."""
        node = self._node
        return min(
            self._ping,
            self._periodic,
            self._ageing,
            self._key_expire,
            node.dialling.next_deadline(),
            node.tunnels.next_deadline(),
            node.corrections.next_deadline(),
            node.topology.next_deadline(),
            node.guard.next_deadline(),
        )

    def run(self, now: float) -> None:
        """Do everything that is due."""
        node = self._node
        # First: whatever else is to be done must not make it late.
        node.guard.tick(now)
        node.dialling.tick(now)
        node.corrections.tick(now)
        if now >= self._ping:
            self._ping = now + PING_CHECK_INTERVAL + node.jitter()
            node.connections.check_all(now)
        if now >= self._periodic:
            self._periodic = now + PERIODIC_INTERVAL + node.jitter()
            node.topology.check_contradictions(now)
            node.dialling.auto_connect(now)
        if now >= self._ageing:
            self._ageing = now + AGEING_INTERVAL + node.jitter()
            node.seen.age(now - node.settings.ping_interval)
            node.subnets.age(now)
            node.half_edges.look(now)
        if now >= self._key_expire:
            self._key_expire = now + max(node.settings.key_expire, 1) + node.jitter()
            node.tunnels.rekey_all(now)
        node.tunnels.tick(now)

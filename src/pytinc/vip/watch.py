"""The peers that are watched: a detector for each, and the changes that they find.

`pytinc.vip.review` decides which peers to watch: the first hops to nodes behind holders in use, to members,
to rival owners of a subnet, and to clients behind relays. A node that is reached through a relay, or whose
frames a relay brings, is as silent as that relay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from pytinc.vip.actions import Mesh, SendProbe
from pytinc.vip.detector import LONG_DELAY, SLIGHT_DELAY, Detector, State

MAX_WATCHED: Final = 256
"""Most peers watched at a time; at ten probes a second they cost 200 kB/s."""
NONCE_SIZE: Final = 4


class Change(NamedTuple):
    """The state of a peer has changed."""

    node: str
    before: State
    after: State | None
    """None: the peer is not watched any more."""


class Watch:
    """All detectors."""

    def __init__(self, mesh: Mesh, first_nonce: int) -> None:
        self._mesh = mesh
        self._nonce = first_nonce
        self._detectors: dict[str, Detector] = {}
        self._received: dict[str, int] = {}
        self._changes: list[Change] = []
        self.interval = 0.1
        """Seconds between two probes of a peer."""
        self.probes = 0
        self.stalls = 0

    def __len__(self) -> int:
        return len(self._detectors)

    def __contains__(self, node: str) -> bool:
        return node in self._detectors

    def get(self, node: str) -> Detector | None:
        """Return the detector of a peer that is watched."""
        return self._detectors.get(node)

    def state(self, node: str | None) -> State | None:
        """Return the state of a peer; None if it is not watched."""
        detector = None if node is None else self._detectors.get(node)
        return None if detector is None else detector.state

    def set_wanted(self, nodes: Iterable[str], now: float) -> None:
        """Watch these peers, and no others."""
        wanted = sorted(set(nodes))[:MAX_WATCHED]
        for node in self._detectors.keys() - set(wanted):
            self.forget(node)
        for node in wanted:
            if node not in self._detectors:
                self._detectors[node] = Detector(self.interval, now)
                self._received[node] = self._mesh.received(node)

    def set_interval(self, interval: float) -> None:
        """Probe every ``interval`` seconds."""
        self.interval = interval
        for detector in self._detectors.values():
            detector.interval = interval

    def forget(self, node: str) -> None:
        """Watch a peer no longer."""
        detector = self._detectors.pop(node, None)
        self._received.pop(node, None)
        if detector is not None and detector.state is not State.ALIVE:
            self._changes.append(Change(node, detector.state, None))

    # -- what happens --

    def answered(self, node: str, nonce: bytes, now: float) -> bool:
        """Take the answer to a probe; False if it is none of ours."""
        detector = self._detectors.get(node)
        if detector is None:
            return False
        before = detector.state
        known = detector.answered(nonce, now)
        self._note(node, before)
        return known

    def heard(self, node: str, now: float) -> None:
        """Take a sign of life other than an answer to a probe."""
        detector = self._detectors.get(node)
        if detector is not None:
            before = detector.state
            detector.heard(now)
            self._note(node, before)

    def hurry(self, node: str, now: float) -> None:
        """A peer closed its connection."""
        detector = self._detectors.get(node)
        if detector is not None:
            before = detector.state
            detector.hurry(now)
            self._note(node, before)

    def excuse(self, now: float, delay: float) -> None:
        """This node is late by ``delay`` seconds."""
        if delay <= SLIGHT_DELAY:
            return
        if delay > LONG_DELAY:
            self.stalls += 1
        for node, detector in self._detectors.items():
            before = detector.state
            detector.excuse(now, delay)
            self._note(node, before)

    # -- time --

    def tick(self, now: float) -> list[SendProbe]:
        """Do what is due, and return the probes to send."""
        probes: list[SendProbe] = []
        for node, detector in self._detectors.items():
            before = detector.state
            received = self._mesh.received(node)
            if received != self._received[node]:
                self._received[node] = received
                detector.heard_frame(now)
            if self._mesh.first_hop(node) != node:
                # Its address has changed, or a relay now takes its datagrams.
                detector.pause(now)
            elif detector.tick(now):
                self._nonce = (self._nonce + 1) % (1 << 8 * NONCE_SIZE)
                nonce = self._nonce.to_bytes(NONCE_SIZE, "big")
                detector.sent(nonce, now)
                probes.append(SendProbe(node, nonce))
            self._note(node, before)
        self.probes += len(probes)
        return probes

    def take_changes(self) -> list[Change]:
        """Return the changes since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return min([detector.next_deadline() for detector in self._detectors.values()], default=math.inf)

    def _note(self, node: str, before: State) -> None:
        after = self._detectors[node].state
        if after is not before:
            self._changes.append(Change(node, before, after))

"""Decides whether one peer is still there: probes ten times a second, suspicion, a burst, a verdict.

::

    ALIVE ── two probes in a row unanswered, or its connection closed ──> SUSPECT ── five more ──> SILENT
      ^────────────────────── any authentic datagram of the peer ───────────┴─────────────────────────┘

The verdict comes a bit more than `LEAST_SILENCE` after the last sign of life. A peer that answered after a
suspicion counts as slow for ten minutes: it gets half as much time again as it took. There is no verdict
about a peer that has not answered since the watch began.

The verdict is only as good as our own attention. Whoever calls `tick` tells `excuse` how late it is, and what
the peer could not have told us in that time does not count against it.
"""

from __future__ import annotations

import enum
import math
from typing import Final

MISSES: Final = 2
"""Probes in a row without an answer that make a peer suspect."""
BURST: Final = 5
"""Probes sent to a suspect. With 1 % loss each way, all seven are lost once in 10^12 times."""
BURST_INTERVAL: Final = 0.02
LEAST_SILENCE: Final = 0.25
"""Seconds of silence before a verdict, ..."""
LEAST_INTERVALS: Final = 2.5
"""... or so many intervals, if the configured interval makes that shorter, ..."""
SHORTEST_SILENCE: Final = 0.15
"""... but never less."""
LONGEST_PATIENCE: Final = 1.0
"""Most seconds that a slow peer gets."""
PATIENCE: Final = 1.5
"""The silence that a slow peer is allowed, as a multiple of the longest silence that it broke."""
MEMORY: Final = 600.0
"""Seconds for which such a silence is remembered."""
FIRST_TIMEOUT: Final = 0.2
"""Seconds in which a probe should be answered, as long as no round trip has been measured."""
SHORTEST_TIMEOUT: Final = 0.03
LONGEST_TIMEOUT: Final = 0.5
MARGIN: Final = 0.02
"""Seconds beyond the measured round trip and its spread."""
SLIGHT_DELAY: Final = 0.05
"""Seconds by which a tick may be late without consequences."""
LONG_DELAY: Final = 0.25
"""Seconds of lateness from which on all evidence is dropped and the watch starts again."""
LONGEST_LISTENING: Final = 1.0
"""Nobody is suspected after a long delay for as long as the delay was, and for at most these seconds."""
FRAMES_SUFFICE: Final = 1.0
"""Seconds without an answer to a probe after which frames of the peer are no sign of life any more."""
PATIENT_INTERVAL: Final = 1.0
"""Seconds between probes of a peer that has been silent for `PATIENT_AFTER`."""
PATIENT_AFTER: Final = 5.0
ROUNDING: Final = 1e-6
"""Rounding error of times, as a share of an interval."""
MAX_UNANSWERED: Final = 32
"""Probes whose answers are awaited; older ones are lost."""


class State(enum.Enum):
    """The state of the peer."""

    ALIVE = enum.auto()
    SUSPECT = enum.auto()
    SILENT = enum.auto()


class Detector:
    """Watches one peer. Methods that may change its `state` say so; the caller compares."""

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        """Seconds between two probes."""
        self.state = State.ALIVE
        self.proved = False
        """It has been heard since the watch began."""
        self.last_heard = now
        self.suspect_since = -math.inf
        self.srtt: float | None = None
        """Smoothed round trip time in seconds (RFC 6298, 2)."""
        self._variation = 0.0
        self._last_answer = -math.inf
        self._awaited: dict[bytes, float] = {}
        """The send time of each probe that may still be answered."""
        self._unanswered: list[float] = []
        """The send times of the probes since the last sign of life, except those that do not count."""
        self._next_probe = now
        self._burst = 0
        """Probes of the burst that are still to be sent."""
        self._last_of_burst = now
        self._hurried = False
        self._listen_until = now
        self._slowness = 0.0
        self._slowness_seen = -math.inf

    # -- what happens --

    def heard(self, now: float) -> None:
        """Take a sign of life: an authentic datagram of the peer. It becomes ALIVE."""
        silence = now - self.last_heard
        if self.state is not State.ALIVE and silence < LONGEST_PATIENCE:
            self._note_slowness(silence, now)
        self.state = State.ALIVE
        self.proved = True
        self.last_heard = now
        self._unanswered.clear()
        self._burst, self._hurried = 0, False

    def _note_slowness(self, silence: float, now: float) -> None:
        if now - self._slowness_seen > MEMORY or silence > self._slowness:
            self._slowness, self._slowness_seen = silence, now

    def heard_frame(self, now: float) -> None:
        """Take a frame of the peer as a sign of life, if the peer has also answered a probe lately.

        A peer that does not hear this node cannot serve.
        """
        if now - self._last_answer <= FRAMES_SUFFICE:
            self.heard(now)

    def answered(self, nonce: bytes, now: float) -> bool:
        """Take the answer to a probe; False if it is none of ours. The peer becomes ALIVE."""
        sent = self._awaited.pop(nonce, None)
        if sent is None:
            return False
        self._measure(now - sent)
        self._last_answer = now
        self.heard(now)
        return True

    def _measure(self, rtt: float) -> None:
        if self.srtt is None:
            self.srtt, self._variation = rtt, rtt / 2
            return
        self._variation += (abs(self.srtt - rtt) - self._variation) / 4
        self.srtt += (rtt - self.srtt) / 8

    def hurry(self, now: float) -> None:
        """The peer closed a connection: it may be dead. It becomes SUSPECT, and the burst alone decides."""
        if self.state is State.ALIVE and self.proved and now >= self._listen_until:
            self._suspect(now)
            self._hurried = True

    def excuse(self, now: float, delay: float) -> None:
        """The tick is late by ``delay`` seconds: answers of the peer may have been missed.

        A SUSPECT becomes ALIVE if the delay was long.
        """
        if delay <= SLIGHT_DELAY:
            return
        if delay <= LONG_DELAY:
            self._unanswered = [min(sent + delay, now) for sent in self._unanswered]
            self._last_of_burst = min(self._last_of_burst + delay, now)
            self.last_heard = min(self.last_heard + delay, now)
            return
        self._unanswered.clear()
        self._burst, self._hurried = 0, False
        self._next_probe = now
        self._listen_until = now + min(delay, LONGEST_LISTENING)
        self.last_heard = now
        if self.state is State.SUSPECT:
            self.state = State.ALIVE

    def pause(self, now: float) -> None:
        """No probe can be sent now. A SUSPECT becomes ALIVE, because its silence proves nothing."""
        self._unanswered.clear()
        self._burst, self._hurried = 0, False
        self._next_probe = self._after(now)
        if self.state is State.SUSPECT:
            self.state = State.ALIVE

    # -- time --

    def tick(self, now: float) -> bool:
        """Do what is due; tell whether a probe is to be sent now. The peer may become SUSPECT or SILENT."""
        if self.state is State.ALIVE and now >= self._suspicion_due():
            self._suspect(now)
        if self.state is State.SUSPECT and now >= self._verdict_due():
            self.state = State.SILENT
        return now >= self._probe_due()

    def sent(self, nonce: bytes, now: float) -> None:
        """A probe has been sent, as `tick` asked for."""
        if len(self._awaited) >= MAX_UNANSWERED:
            del self._awaited[next(iter(self._awaited))]
        self._awaited[nonce] = now
        if len(self._unanswered) < MAX_UNANSWERED:
            self._unanswered.append(now)
        if self._burst:
            self._burst -= 1
            self._last_of_burst = now
        self._next_probe = now + BURST_INTERVAL if self._burst else self._after(now)

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        if self.state is State.ALIVE and not self._unanswered:
            return self._next_probe  # the usual case, asked for each peer after every event
        due = self._probe_due()
        if self.state is State.ALIVE:
            return min(due, self._suspicion_due())
        return min(due, self._verdict_due()) if self.state is State.SUSPECT else due

    # -- questions --

    @property
    def is_there(self) -> bool:
        """The peer is known to be there: it has been heard, and is not suspect."""
        return self.proved and self.state is State.ALIVE

    @property
    def timeout(self) -> float:
        """Seconds in which a probe should be answered."""
        if self.srtt is None:
            return FIRST_TIMEOUT
        return min(max(self.srtt + 4 * self._variation + MARGIN, SHORTEST_TIMEOUT), LONGEST_TIMEOUT)

    # -- inside --

    def _after(self, now: float) -> float:
        """Return when the next probe is due: at the same moments for all peers, so one tick serves all."""
        interval = self.interval
        quiet = self.state is State.SILENT or not self.proved
        if quiet and now - self.last_heard > PATIENT_AFTER:
            interval = max(PATIENT_INTERVAL, interval)
        return (math.floor(now / interval + ROUNDING) + 1) * interval

    def _suspect(self, now: float) -> None:
        self.state = State.SUSPECT
        self.suspect_since = self._next_probe = now
        self._burst = BURST

    def _probe_due(self) -> float:
        if self.state is State.ALIVE and self.proved and len(self._unanswered) == 1:
            # The second one follows as soon as the first is missed, if nothing else was heard for as long.
            missed = max(self._unanswered[0] + self.timeout, self.last_heard + self.interval)
            return min(self._next_probe, max(missed, self._listen_until))
        return self._next_probe

    def _suspicion_due(self) -> float:
        if not self.proved or len(self._unanswered) < MISSES:
            return math.inf
        return max(self._unanswered[MISSES - 1] + self.timeout, self._listen_until)

    def _verdict_due(self) -> float:
        if self._burst:
            return math.inf
        due = self._last_of_burst + self.timeout
        return due if self._hurried else max(due, self.last_heard + self._limit())

    def _limit(self) -> float:
        """Return the silence after which a verdict is possible."""
        least = min(LEAST_SILENCE, max(LEAST_INTERVALS * self.interval, SHORTEST_SILENCE))
        if self._last_of_burst - self._slowness_seen > MEMORY:
            return least
        return min(max(least, PATIENCE * self._slowness), LONGEST_PATIENCE)

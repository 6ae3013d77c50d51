"""Judges whether a service is well by the consecutive results of one health check.

Pure. `pytinc.net.checks` runs the checks and tells each result; `pytinc.vip.own_member` holds a
`CheckState` for each check, and the policy of virtual IPs decides by it. See
docs/virtual-ip.md, "Health checks".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pytinc.vip.views import CheckView

RECHECK: Final = 0.2
"""Seconds between runs while results differ from the state, so that a dead service is given up soon even with
a long interval."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one run of a check."""

    well: bool
    drain: bool
    """The service works, and asks to get no new clients. Only scripts report this."""
    detail: str
    """The finding in a few words, for people."""
    seconds: float
    """How long the run took."""


class CheckState:
    """The state of one check, derived from its results. The first result counts at once.

    After that it takes ``rise`` good results in a row to make the check well and ``fall`` bad ones to make it
    unwell; one result in between starts the count again. A request to drain counts at once, because a script
    makes it on purpose, and ends after ``rise`` good results without it, or when the check becomes unwell.
    """

    def __init__(self, rise: int, fall: int) -> None:
        self.rise = rise
        self.fall = fall
        self.well: bool | None = None
        """None: there is no result yet."""
        self.draining = False
        self._last: Outcome | None = None
        self._changed_at = 0.0
        self._good = 0
        """Consecutive good results, with or without the request to drain."""
        self._plain = 0
        """The last of them that came without it."""
        self._bad = 0

    def feed(self, outcome: Outcome, now: float) -> None:
        """Take the result of a run that ended at ``now`` (seconds)."""
        first = self._last is None
        before = (self.well, self.draining)
        self._last = outcome
        if not outcome.well:
            self._bad += 1
            self._good = self._plain = 0
            if first or self._bad >= self.fall:
                self.well, self.draining = False, False
        else:
            self._bad = 0
            self._good += 1
            self._plain = 0 if outcome.drain else self._plain + 1
            if first or self._good >= self.rise:
                self.well = True
            if outcome.drain:
                self.draining = True
            elif self._plain >= self.rise:
                self.draining = False
        if before != (self.well, self.draining):
            self._changed_at = now

    @property
    def settled(self) -> bool:
        """The last result says the same as the state: nothing is about to change."""
        last = self._last
        return last is not None and last.well == self.well and (not last.well or last.drain == self.draining)

    def next_run(self, interval: float) -> float:
        """Return the seconds to the next run: from now before the first run, otherwise from the last one."""
        if self._last is None:
            return 0.0
        return interval if self.settled else min(interval, RECHECK)

    def view(self, text: str, now: float) -> CheckView:
        """Return a view of the check ``text``."""
        last = self._last
        if last is None:
            return CheckView(text, None, "", None, None)
        return CheckView(text, self.well, last.detail, last.seconds, now - self._changed_at)

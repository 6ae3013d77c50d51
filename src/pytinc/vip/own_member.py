"""A member of a virtual address for which this node speaks: its settings, its health, and its state."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from pytinc.vip.health import CheckState, Outcome
from pytinc.vip.views import CheckView
from pytinc.wire.vip_record import NO_HOLDER, EntryState
from pytinc.wire.virtual_ip import Check, VirtualIP

INIT_TIME: Final = 2.0
"""Seconds for which a member that has started listens before it may serve."""
INIT_AFTER_CONTACT: Final = 1.0
"""Seconds after the first contact with another node for which it listens at least, ..."""
LONGEST_INIT: Final = 5.0
"""... but no longer than this in all."""
CALM: Final = 60.0
"""Seconds between two preemptions after which they do not count as too frequent."""
FREE_PREEMPTIONS: Final = 2
"""So many frequent preemptions in a row are not delayed, ..."""
HOLDS: Final = (10.0, 300.0)
"""... the next ones wait: the first and the longest wait in seconds; it doubles each time."""


class OwnMember:
    """A member for which this node speaks, itself or a ward (`pytinc.vip.wards`), in one address."""

    def __init__(self, config: VirtualIP, now: float) -> None:
        self.config = config
        self.id = NO_HOLDER
        """The id of the node."""
        self.permitted = True
        """The host files let this node serve the address; otherwise other nodes ignore it."""
        self.present = True
        """The host has the address."""
        self.serving = False
        """The answers of our host leave this node: we hold the address, or share its clients and are well."""
        self.hears_holder = False
        """We hear the holder itself, and would choose it."""
        self.state = EntryState.INIT
        self.ready_since = now
        """Since when this node could serve while another one does; for preemption."""
        self.held_until = -math.inf
        """Until then this node preempts nobody, because it has done so too often."""
        self._hold = 0.0
        self._preempted = -math.inf
        self._preemptions = 0
        """Without a calm time between them."""
        self._started = now
        self.init_until = now + INIT_TIME
        self.checks = {check: CheckState(config.rise, config.fall) for check in config.checks}

    def reconfigure(self, config: VirtualIP) -> None:
        """Take over new settings; checks that stay keep their results."""
        if (config.rise, config.fall) != (self.config.rise, self.config.fall):
            self.checks.clear()
        self.checks = {
            check: self.checks.get(check) or CheckState(config.rise, config.fall) for check in config.checks
        }
        self.config = config

    @property
    def latest_init(self) -> float:
        """When this node stops listening, whatever happens."""
        return self._started + LONGEST_INIT

    def contact(self, now: float) -> None:
        """Another node has become reachable: listen to it before serving."""
        if now < self.init_until:
            self.init_until = min(max(self.init_until, now + INIT_AFTER_CONTACT), self.latest_init)

    def listen_again(self, now: float) -> None:
        """Listen as after the start: this node was cut off, and does not know what happened elsewhere."""
        self._started = now
        self.init_until = now + INIT_AFTER_CONTACT

    def feed(self, check: Check, outcome: Outcome, now: float) -> None:
        """Take the result of a check; one that was removed meanwhile is ignored."""
        state = self.checks.get(check)
        if state is not None:
            state.feed(outcome, now)

    def trouble(self) -> str | None:
        """Return why this node should not serve, for people; None if it is well."""
        if not self.permitted:
            return "its host file does not allow it"
        if not self.present:
            return "the host does not have the address"
        for check, state in self.checks.items():
            if not state.well:
                return f"check {check} fails" if state.well is False else f"check {check} has not run yet"
        return None

    def wants_drain(self) -> str | None:
        """Return the check that asks for a drain, for people; None if none does."""
        return next((f"check {check} drains" for check, state in self.checks.items() if state.draining), None)

    def find_state(self, now: float, *, holds: bool, drains: bool) -> EntryState:
        """Return what this node does with the address now."""
        if not self.present or not self.permitted:
            return EntryState.ABSENT
        if now < self.init_until:
            return EntryState.INIT
        if drains or self.wants_drain() is not None:
            return EntryState.DRAIN
        if self.trouble() is not None:
            return EntryState.FAULT
        return EntryState.ACTIVE if holds else EntryState.BACKUP

    def preemption_due(self) -> float:
        """Return when this node takes the address back from one of lower priority; infinite if never."""
        if self.config.preempt is None or self.state is not EntryState.BACKUP:
            return math.inf
        return max(self.ready_since + self.config.preempt, self.held_until)

    def preempts(self, now: float) -> None:
        """This node preempts. The next preemption may have to wait, so that the address does not flap."""
        if now - self._preempted > CALM + self._hold:
            self._preemptions, self._hold = 0, 0.0
        self._preempted = now
        self._preemptions += 1
        if self._preemptions > FREE_PREEMPTIONS:
            shortest, longest = HOLDS
            self._hold = min(max(2 * self._hold, shortest), longest)
            self.held_until = now + self._hold

    def check_views(self, now: float) -> tuple[CheckView, ...]:
        """Return the checks, for people."""
        views = (state.view(str(check), now) for check, state in self.checks.items())
        return tuple(replace(view, node=self.config.node) for view in views)

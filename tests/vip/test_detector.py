"""The verdict about one peer: how soon, and how rarely wrong. All on a virtual clock."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytinc.vip.detector import MAX_UNANSWERED, Detector, State

INTERVAL = 0.1


class Run:
    """A detector with a peer at the other end of a path, and a clock.

    ``answers_at(t)`` gives the time at which a probe that reaches the peer at ``t`` is answered; None: never.
    """

    def __init__(self, rtt: float = 0.001, interval: float = INTERVAL) -> None:
        self.now = 0.0
        self.rtt = rtt
        self.detector = Detector(interval, 0.0)
        self.answers_at: Callable[[float], float | None] = lambda reached: reached
        self.lost: Callable[[], bool] = lambda: False
        self.states: list[tuple[float, State]] = []
        self.probes = 0
        self._arriving: list[tuple[float, int, bytes]] = []
        self._numbers = itertools.count()
        self._due = 0.0
        self._asleep_until = 0.0

    def sleep(self, seconds: float) -> None:
        """We do not run for a while; what arrives waits."""
        self._asleep_until = self.now + seconds

    def until(self, end: float) -> Run:
        detector = self.detector
        while True:
            self._due = detector.next_deadline()
            arrival = self._arriving[0][0] if self._arriving else float("inf")
            wanted = min(self._due, arrival)
            if wanted > end:
                self.now = max(end, self.now)
                return self
            late = max(wanted, self._asleep_until)
            if late > end:
                self.now = max(end, self.now)
                return self
            self.now = max(late, self.now)
            # As a loop that was stopped does: the timer that is long due comes first.
            if self._due <= self.now:
                detector.excuse(self.now, self.now - self._due)
                self._note()
                if detector.tick(self.now):
                    self._probe()
                self._note()
            while self._arriving and self._arriving[0][0] <= self.now:
                detector.answered(heapq.heappop(self._arriving)[2], self.now)
                self._note()

    def _probe(self) -> None:
        nonce = next(self._numbers).to_bytes(4, "big")
        self.detector.sent(nonce, self.now)
        self.probes += 1
        answered = None if self.lost() else self.answers_at(self.now + self.rtt / 2)
        if answered is not None and not self.lost():
            heapq.heappush(self._arriving, (answered + self.rtt / 2, next(self._numbers), nonce))

    def _note(self) -> None:
        if not self.states or self.states[-1][1] is not self.detector.state:
            self.states.append((self.now, self.detector.state))

    def cut(self) -> None:
        """The peer is gone, and what was under way with it."""
        self.answers_at = lambda reached: None
        self._arriving.clear()

    def stalls(self, begin: float, seconds: float) -> None:
        """The peer answers nothing for a while, and then all at once."""
        before = self.answers_at

        def answers_at(reached: float) -> float | None:
            return begin + seconds if begin <= reached < begin + seconds else before(reached)

        self.answers_at = answers_at

    def is_in(self, state: State) -> bool:
        return self.detector.state is state

    def when(self, state: State, after: float = 0.0) -> float | None:
        return next((now for now, seen in self.states if seen is state and now > after), None)


# -- a peer that dies --


@settings(max_examples=60)
@given(phase=st.floats(0, 0.1))
def test_a_silent_failure_at_any_moment_is_detected_in_a_third_of_a_second(phase: float) -> None:
    run = Run().until(2.0 + phase)
    run.cut()
    run.until(4.0)
    verdict = run.when(State.SILENT)
    assert verdict is not None
    # The last sign of life may have come up to an interval before the cut.
    assert 0.15 <= verdict - (2.0 + phase) <= 0.3
    heard = run.detector.last_heard
    assert 0.25 <= verdict - heard <= 0.3


@pytest.mark.parametrize("rtt", [0.001, 0.02, 0.1])
def test_suspicion_comes_first_and_a_burst_before_the_verdict(rtt: float) -> None:
    run = Run(rtt).until(5.0)
    run.cut()
    before = run.probes
    run.until(7.0)
    suspected, verdict = run.when(State.SUSPECT), run.when(State.SILENT)
    assert suspected is not None
    assert verdict is not None
    assert suspected + 0.08 < verdict < 5.0 + 0.36 + 3 * rtt
    assert run.probes - before >= 7


def test_a_peer_is_suspected_only_after_its_first_sign_of_life() -> None:
    run = Run()
    run.cut()
    run.until(60.0)
    assert run.when(State.SUSPECT) is None
    assert not run.detector.proved


def test_a_silent_peer_is_probed_less_often_and_is_alive_with_its_first_answer() -> None:
    run = Run().until(2.0)
    run.cut()
    run.until(10.0)
    before = run.probes
    run.until(30.0)
    assert run.probes - before <= 21
    run.answers_at = lambda reached: reached
    run.until(32.0)
    assert run.is_in(State.ALIVE)


def test_a_longer_interval_makes_detection_slower_and_cheaper() -> None:
    run = Run(interval=0.5).until(4.0)
    assert run.probes <= 9
    run.cut()
    run.until(8.0)
    verdict = run.when(State.SILENT)
    assert verdict is not None
    assert verdict < 4.0 + 1.3


# -- a peer that lives --


def test_a_percent_of_loss_each_way_leads_to_no_verdict_in_four_hours() -> None:
    run = Run()
    random_float = random.Random(7).random
    run.lost = lambda: random_float() < 0.01
    run.until(14_400.0)
    assert run.when(State.SILENT) is None
    # Two in a row do get lost; suspicion is cheap.
    assert 2 < sum(state is State.SUSPECT for _, state in run.states) < 350


def test_jitter_of_the_path_does_not_count_as_silence() -> None:
    run = Run(rtt=0.0)
    random_float = random.Random(7).random
    run.answers_at = lambda reached: reached + 0.02 + 0.1 * random_float() ** 4
    run.until(3600.0)
    assert run.when(State.SILENT) is None


def test_any_sign_of_life_ends_a_suspicion() -> None:
    run = Run().until(2.0)
    run.cut()
    while not run.is_in(State.SUSPECT):
        run.until(run.now + 0.01)
    suspected = run.now
    assert suspected < 2.4
    run.answers_at = lambda reached: reached
    run.detector.heard(suspected)
    assert run.is_in(State.ALIVE)
    run.until(suspected + 10.0)
    assert run.is_in(State.ALIVE)
    assert run.when(State.SILENT) is None


def test_frames_alone_keep_a_peer_alive_whose_answers_are_lost() -> None:
    run = Run().until(2.0)
    run.cut()
    for step in range(100):
        run.detector.heard(2.0 + step / 10)
        run.until(2.1 + step / 10)
    assert run.when(State.SUSPECT) is None


def test_a_peer_that_stalls_again_and_again_is_given_more_time() -> None:
    run = Run()
    for begin in (100.05, 300.05, 500.05):
        run.stalls(begin, 0.4)
    run.until(250.0)
    assert run.when(State.SILENT) is not None
    run.until(600.0)
    assert run.when(State.SILENT, after=450.0) is None
    assert run.when(State.SUSPECT, after=450.0) is not None
    # A cut is still found, if a bit later ...
    run.cut()
    run.until(602.0)
    later = run.when(State.SILENT, after=600.0)
    assert later is not None
    assert 600.5 < later < 601.01
    assert later - 600.0 < 1.01


def test_slowness_is_forgotten_after_ten_minutes() -> None:
    run = Run()
    run.stalls(100.05, 0.4)
    run.until(800.0)
    run.cut()
    run.until(802.0)
    verdict = run.when(State.SILENT, after=800.0)
    assert verdict is not None
    assert verdict < 800.36


def test_no_peer_is_given_more_than_a_second() -> None:
    run = Run()
    for begin in range(100, 600, 50):
        run.stalls(begin + 0.05, 0.95)
    run.until(650.0)
    run.cut()
    run.until(653.0)
    verdict = run.when(State.SILENT, after=650.0)
    assert verdict is not None
    assert verdict <= 651.1


# -- our own attention --


@pytest.mark.parametrize("seconds", [0.06, 0.2, 0.3, 2.0, 60.0])
@given(phase=st.floats(0, 0.1))
@settings(max_examples=20)
def test_our_own_stall_leads_to_no_verdict(seconds: float, phase: float) -> None:
    run = Run().until(2.0 + phase)
    run.sleep(seconds)
    run.until(2.0 + phase + seconds + 3.0)
    assert run.when(State.SILENT) is None
    assert run.is_in(State.ALIVE)


@pytest.mark.parametrize("seconds", [0.4, 0.6, 2.0, 60.0])
def test_nobody_is_suspected_after_our_long_stall_until_we_have_listened_for_as_long(seconds: float) -> None:
    run = Run().until(2.0)
    run.cut()
    run.sleep(seconds)
    run.until(2.0 + seconds + 3.0)
    suspected = run.when(State.SUSPECT)
    assert suspected is not None
    listened = suspected - (2.0 + seconds)
    # How late we are is counted from the tick that was due.
    assert min(seconds - INTERVAL, 1.0) - 1e-6 <= listened <= min(seconds, 1.0) + 0.35
    assert run.when(State.SILENT) is not None


def test_a_suspicion_does_not_survive_our_own_stall() -> None:
    run = Run().until(2.0)
    run.cut()
    while not run.is_in(State.SUSPECT):
        run.until(run.now + 0.01)
    run.sleep(2.0)
    run.until(4.9)
    assert run.is_in(State.ALIVE)


# -- a closed connection --


def test_a_closed_connection_makes_a_dead_peer_silent_in_a_fifth_of_a_second() -> None:
    run = Run().until(2.04)
    run.cut()
    run.detector.hurry(2.04)
    assert run.is_in(State.SUSPECT)
    run.until(3.0)
    verdict = run.when(State.SILENT)
    assert verdict is not None
    assert verdict < 2.04 + 0.2


def test_a_peer_that_only_closed_its_connection_stays_alive() -> None:
    run = Run().until(2.04)
    run.detector.hurry(2.04)
    run.until(3.0)
    assert run.when(State.SILENT) is None
    assert run.is_in(State.ALIVE)


def test_a_closed_connection_says_nothing_while_we_listen_after_a_stall_or_know_nothing_yet() -> None:
    run = Run().until(2.0)
    run.sleep(2.0)
    run.until(4.2)
    run.detector.hurry(4.2)
    assert run.is_in(State.ALIVE)
    unheard = Detector(INTERVAL, 0.0)
    unheard.hurry(1.0)
    assert unheard.state is State.ALIVE


# -- answers --


def test_the_round_trip_time_is_measured() -> None:
    run = Run(rtt=0.04).until(20.0)
    assert run.detector.srtt == pytest.approx(0.04, abs=0.001)
    assert 0.04 < run.detector.timeout < 0.1


def test_an_answer_counts_once_and_only_to_a_probe_of_ours() -> None:
    detector = Detector(INTERVAL, 0.0)
    detector.sent(b"1234", 0.0)
    assert not detector.answered(b"4321", 0.01)
    assert not detector.proved
    assert detector.answered(b"1234", 0.01)
    assert not detector.answered(b"1234", 0.02)


def test_only_the_latest_probes_are_remembered() -> None:
    detector = Detector(INTERVAL, 0.0)
    nonces = [number.to_bytes(4, "big") for number in range(10 * MAX_UNANSWERED)]
    for number, nonce in enumerate(nonces):
        detector.sent(nonce, number * INTERVAL)
    assert len(detector._awaited) == len(detector._unanswered) == MAX_UNANSWERED
    assert not detector.answered(nonces[0], 40.0)
    assert detector.answered(nonces[-1], 40.0)

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from pytinc.lab.namespaces import Lab, LabError, missing_means
from pytinc.lab.node import PATIENCE_S
from pytinc.lab.outage import Trace, Watch, longest_gap, serve


def traced(answered: Iterable[int], sent: int = 200, delay: float = 0.001) -> Trace:
    """A ping every 10 ms from 0 s on, and a connection at each tenth of a second that has answers."""
    trace = Trace()
    for number in range(sent):
        trace.feed(f"ping {number} {number / 100:.6f}\n")
    for number in answered:
        trace.feed(f"pong {number} {number / 100 + delay:.6f}\n")
        if number % 10 == 0:
            trace.feed(f"tcp {number / 100:.6f} {number / 100 + delay:.6f}\n")
    return trace


def test_the_longest_gap_counts_from_the_last_one_before_the_fault() -> None:
    assert longest_gap([1, 2, 3, 7, 8], since=2.5, until=9) == 4
    assert longest_gap([1, 2, 8, 9], since=2.5, until=9.5) == 6
    assert longest_gap([0, 5, 6, 6.5], since=5.5, until=7) == 1, "what was before is not looked at"
    assert longest_gap([1, 2], since=2.5, until=9) == 7, "nothing comes any more"
    assert longest_gap([], since=2, until=9) == 7


def test_without_a_fault_the_silence_is_the_time_between_two_pings() -> None:
    trace = traced(range(200))
    assert trace.silence(1, 1.9) == pytest.approx(0.01)
    assert trace.lost(1, 1.9) == 0
    assert trace.connection_gap(1, 1.9) == pytest.approx(0.1)
    assert trace.steady(since=1, now=1.9)


def test_a_fault_is_a_silence_and_lost_pings() -> None:
    trace = traced([*range(100), *range(140, 200)])
    assert trace.silence(1, 1.99) == pytest.approx(0.41)
    assert trace.wait(1, 1.99) == pytest.approx(0.41)
    assert trace.lost(1, 1.99) == 40
    assert trace.connection_gap(1, 1.99) == pytest.approx(0.5)


def test_a_ping_that_went_out_before_the_fault_can_be_lost_to_it() -> None:
    trace = traced([*range(98), *range(140, 200)])
    assert trace.lost(1, 1.99) == 42


def test_an_answer_after_more_than_a_second_does_not_count() -> None:
    trace = traced([*range(50), *range(100, 200)])
    for number in range(50, 100):
        trace.feed(f"pong {number} 1.855\n")
    assert trace.lost(0.5, 1.99) == 36, "those had waited for more than a second"
    assert trace.silence(0.5, 1.99) == pytest.approx(0.37)
    assert trace.wait(0.5, 1.99) == pytest.approx(0.51), "whoever waits for each answer waits till the next"


def test_a_server_that_answers_again_is_steady_after_a_while() -> None:
    trace = traced([*range(100), *range(130, 200)])
    assert not trace.steady(since=0, now=1.2), "it answers no more"
    assert not trace.steady(since=1, now=1.45), "not for long"
    assert not trace.steady(since=1.5, now=1.95), "not since then"
    assert trace.steady(since=1, now=1.95)


def test_a_server_that_only_answers_pings_is_not_steady() -> None:
    trace = traced(range(200))
    trace.connected = [pair for pair in trace.connected if pair[0] < 1]
    assert not trace.steady(since=1, now=1.9)


def test_a_second_answer_to_a_ping_changes_nothing() -> None:
    trace = traced(range(10))
    trace.feed("pong 5 1.9\n")
    assert trace.answered[5] < 1


@pytest.mark.parametrize("line", ["", "ping\n", "ping x 1.0\n", "Traceback (most recent call last):\n"])
def test_any_other_output_of_the_probe_is_an_error(line: str) -> None:
    with pytest.raises(LabError, match="the probe says"):
        Trace().feed(line)


@pytest.fixture
def lab() -> Iterable[Lab]:
    means = missing_means()
    if means is not None:
        pytest.skip(means)
    with Lab() as lab:
        yield lab


@pytest.mark.namespaces
def test_a_probe_measures_how_long_a_host_is_silent(lab: Lab) -> None:
    client, server = lab.host("client"), lab.host("server")
    serve(server, 7007)
    with Watch(client, server.address, 7007) as watch:
        watch.wait_steady(time.monotonic(), 60)
        start = time.monotonic()
        lab.mute(server)
        muted = time.monotonic()
        time.sleep(0.4)
        unmuting = time.monotonic()
        lab.unmute(server)
        watch.wait_steady(time.monotonic(), 60)
        end = time.monotonic()
        silence = watch.ask(lambda trace: trace.silence(start, end))
        assert unmuting - muted - 0.1 < silence < end - start
        # A hundred a second; on a busy machine the probe may not come to send all of them.
        assert 1 <= watch.ask(lambda trace: trace.lost(start, end)) <= 100 * silence + 2
        assert watch.ask(lambda trace: trace.connection_gap(start, end)) >= unmuting - muted - 0.1


@pytest.mark.namespaces
def test_a_host_that_crashed_boots_without_its_processes(lab: Lab) -> None:
    client, server = lab.host("client"), lab.host("server")
    serve(server, 7007)
    sleeper = server.spawn("sleep", "1000")
    with Watch(client, server.address, 7007) as watch:
        watch.wait_steady(time.monotonic(), PATIENCE_S)
        server.crash()
        assert sleeper.poll() is not None
        crashed = time.monotonic()
        time.sleep(0.7)
        assert not watch.steady(crashed - 1)
        server.boot()
        serve(server, 7007)
        watch.wait_steady(crashed, PATIENCE_S)


def wait_for_failure(watch: Watch) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        watch.steady(0)
        time.sleep(0.05)


@pytest.mark.namespaces
def test_a_probe_that_cannot_start_is_an_error(lab: Lab) -> None:
    client = lab.host("client")
    with Watch(client, "2001:db8::1", 7007) as watch, pytest.raises(LabError, match="the probe says"):
        wait_for_failure(watch)


@pytest.mark.namespaces
def test_a_second_server_on_a_port_is_an_error(lab: Lab) -> None:
    host = lab.host("server")
    serve(host, 7007)
    with pytest.raises(LabError, match="no server for the probe"):
        serve(host, 7007)

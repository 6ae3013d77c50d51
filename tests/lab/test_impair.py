from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.lab.echo import ping
from pytinc.lab.impair import HOLD_S, MAX_SHIFT, Impairment
from pytinc.lab.namespaces import Lab, missing_means

BATCHES = st.lists(st.integers(0, 30), max_size=20)
SHARES = st.floats(0, 0.5)


def numbered(first: int, count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(first, first + count)]


def test_a_network_without_faults_passes_all_frames_on_unchanged() -> None:
    way = Impairment(0, 0, random.Random(1))
    assert way.carry(numbered(0, 100), 5) == numbered(0, 100)
    assert (way.carried, way.lost, way.delayed, way.deadline) == (100, 0, 0, None)


@given(BATCHES, SHARES, SHARES, st.integers())
def test_every_frame_is_lost_or_leaves_once_and_is_overtaken_by_few(
    batches: list[int], loss: float, reorder: float, seed: int
) -> None:
    way = Impairment(loss, reorder, random.Random(seed))
    left: list[bytes] = []
    for count in batches:
        left += way.carry(numbered(way.carried, count), 0)
    left += way.release(HOLD_S)
    assert way.deadline is None
    assert len(set(left)) == len(left) == sum(batches) - way.lost
    for place, frame in enumerate(left):
        overtakers = [later for later in left[:place] if later > frame]
        assert len(overtakers) <= MAX_SHIFT


def test_a_delayed_frame_leaves_after_a_while_even_if_no_other_comes() -> None:
    way = Impairment(0, 1, random.Random(1))
    assert way.carry([b"a"], 5) == []
    assert way.deadline == 5 + HOLD_S
    assert way.release(5) == []
    assert way.release(5 + HOLD_S) == [b"a"]


def test_the_requested_shares_of_frames_are_lost_and_delayed() -> None:
    way = Impairment(0.01, 0.03, random.Random(1))
    way.carry(numbered(0, 100_000), 0)
    assert 900 < way.lost < 1100
    assert 2800 < way.delayed < 3200


def test_the_same_seed_makes_the_same_faults() -> None:
    one, other = (Impairment(0.1, 0.1, random.Random(7)) for _ in range(2))
    assert one.carry(numbered(0, 1000), 0) == other.carry(numbered(0, 1000), 0)


@pytest.mark.namespaces
@pytest.mark.skipif(missing_means() is not None, reason=str(missing_means()))
def test_a_host_of_the_lab_loses_packets_only_while_it_is_impaired(tmp_path: Path) -> None:
    with Lab() as lab:
        one, other = lab.host("one"), lab.host("other")
        with lab.impair(other, loss=50, reorder=20) as report:
            during = ping(one, other.address, 50, interval=0.002, wait=0.2)
        after = ping(one, other.address, 50, interval=0.002)
    assert during.lost > 10
    assert report["lost"] > 10
    assert report["delayed"] > 0
    assert report["overruns"] == 0
    assert after.lost == 0


@pytest.mark.namespaces
def test_interfaces_that_do_not_exist_end_the_program_with_a_message() -> None:
    command = [sys.executable, "-m", "pytinc.lab.impair", "nowhere0", "nowhere1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nowhere0" in done.stderr
    assert "Traceback" not in done.stderr

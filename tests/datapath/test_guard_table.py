"""The guard's heartbeat in the data path: a long pause makes old answers of our own host doubtful."""

from __future__ import annotations

import math

from pytinc.datapath.guard_table import DOUBT_TIME, LONG_PAUSE, GuardTable

VIP = bytes((10, 0, 0, 9))


def test_only_a_long_pause_begins_a_time_of_doubt() -> None:
    guard = GuardTable(own=frozenset((VIP,)))
    guard.beat(10.0)
    guard.beat(10.0 + LONG_PAUSE)
    assert guard.doubt_until == -math.inf
    guard.beat(20.0)
    assert guard.doubt_until == 20.0 + DOUBT_TIME
    guard.beat(20.1)
    assert guard.doubt_until == 20.0 + DOUBT_TIME


def test_without_an_address_of_our_own_a_pause_means_nothing() -> None:
    guard = GuardTable()
    guard.beat(10.0)
    guard.beat(100.0)
    assert guard.doubt_until == -math.inf

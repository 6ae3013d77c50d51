"""How the frames of one second are counted."""

from __future__ import annotations

from pytinc.datapath.flood_meter import FloodKind, FloodMeter

NOW = 7.0


def test_a_lowered_limit_holds_at_once() -> None:
    meter = FloodMeter()
    assert meter.admit(FloodKind.OTHER, 5, 10, NOW) == 5
    assert meter.admit(FloodKind.OTHER, 5, 3, NOW) == 0
    assert meter.admit(FloodKind.OTHER, 5, 7, NOW) == 2


def test_each_kind_has_the_whole_limit_and_each_second_anew() -> None:
    meter = FloodMeter()
    for now in (NOW, NOW + 1):
        assert [meter.admit(kind, 5, 3, now) for kind in FloodKind] == [3, 3, 3]
    assert meter.admit(FloodKind.OTHER, 1, 3, NOW + 1.9) == 0


def test_an_excess_is_told_once_a_second() -> None:
    meter = FloodMeter()
    meter.admit(FloodKind.OTHER, 5, 3, NOW)
    assert [meter.tells(), meter.tells()] == [True, False]
    meter.admit(FloodKind.OTHER, 5, 3, NOW + 1)
    assert meter.tells()

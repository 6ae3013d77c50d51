"""Checks in all simulations that the cache of the short way equals a fresh computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytinc.datapath.short_way import ShortWay
from pytinc.wire.datagram import PREFIX_SIZE


@pytest.fixture(autouse=True)
def _ways_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShortWay, "frame", _checked(ShortWay.frame, _check_frame_way))
    monkeypatch.setattr(ShortWay, "datagram", _checked(ShortWay.datagram, _check_datagram_way))


def _checked(way: Callable[..., Any], check: Callable[[ShortWay, bytes], None]) -> Callable[..., Any]:
    def checked(self: ShortWay, packet: bytes, *arguments: Any) -> Any:
        check(self, packet)
        return way(self, packet, *arguments)

    return checked


def _check_frame_way(short_way: ShortWay, frame: bytes) -> None:
    known = short_way._table.frame_ways.pop(frame[:12], None)
    assert known is None or known == short_way._find_frame_way(frame)


def _check_datagram_way(short_way: ShortWay, datagram: bytes) -> None:
    known = short_way._table.datagram_ways.pop(datagram[:PREFIX_SIZE], None)
    if known is None:
        return
    found = short_way._find_datagram_way(datagram)
    assert found is not None
    for station in known.stations:
        assert short_way._is_for_device(station, found.stations)
    assert known == found

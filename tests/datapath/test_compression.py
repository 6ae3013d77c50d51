"""Compressed packets: levels, bounds, and that damage costs nothing but the packet.

See docs/protocol-data.md, "Compression".
"""

from __future__ import annotations

import sys
import tracemalloc
import zlib

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lzallright import LZOCompressor

from pytinc.datapath import compression
from pytinc.datapath.compression import compress, expand, usable

LEVELS = range(1, 13)
LZO_LEVELS = (10, 11)
FRAME = b"frame" * 100


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as gone:
        gone.setitem(sys.modules, "lzallright", None)
        gone.setitem(sys.modules, "lz4", None)
        monkeypatch.setattr(compression, "_CODECS", compression._codecs())


@given(st.binary(max_size=3000), st.sampled_from(LEVELS))
def test_what_is_compressed_is_shorter_and_comes_back(payload: bytes, level: int) -> None:
    data = compress(level, payload)
    if data is not None:
        assert len(data) < len(payload)
        assert expand(level, data, 3000) == payload


@pytest.mark.parametrize("level", LEVELS)
def test_frames_that_repeat_themselves_get_shorter(level: int) -> None:
    data = compress(level, FRAME)
    assert data is not None
    assert len(data) < 50


@pytest.mark.parametrize("level", LEVELS)
def test_packets_that_do_not_get_shorter_stay_uncompressed(level: int) -> None:
    assert compress(level, b"") is None
    assert compress(level, bytes(range(64))) is None


@pytest.mark.parametrize(
    ("level", "used"), [(-1, 0), (0, 0), (1, 1), (9, 9), (10, 10), (11, 11), (12, 12), (13, 0)]
)
def test_every_level_of_tinc_can_be_used(level: int, used: int) -> None:
    assert usable(level) == used


def test_without_the_libraries_peers_that_want_them_get_packets_uncompressed(without_libraries: None) -> None:
    assert [usable(level) for level in range(14)] == [*range(10), 0, 0, 0, 0]
    assert expand(10, LZOCompressor().compress(FRAME), 1518) is None
    assert expand(12, lz4.block.compress(FRAME, store_size=False), 1518) is None
    assert expand(9, zlib.compress(FRAME), 1518) == FRAME


def test_any_zlib_level_is_accepted_after_a_request_for_another() -> None:
    assert expand(1, zlib.compress(FRAME, 9), 1518) == FRAME


def test_both_levels_of_lzo_have_one_decoder() -> None:
    data = compress(10, FRAME)
    assert data is not None
    assert expand(11, data, 1518) == FRAME


def test_who_asked_for_nothing_expands_nothing() -> None:
    assert expand(0, zlib.compress(FRAME), 1518) is None


@pytest.mark.parametrize("level", [1, *LZO_LEVELS, 12])
def test_nothing_expands_beyond_the_limit(level: int) -> None:
    for size, result in ((1518, bytes(1518)), (1519, None), (1_000_000, None)):
        data = compress(level, bytes(size))
        assert data is not None
        assert expand(level, data, 1518) == result


@pytest.mark.parametrize("level", [1, *LZO_LEVELS, 12])
def test_a_bomb_takes_no_more_memory_than_told(level: int) -> None:
    data = compress(level, bytes(100_000_000))
    assert data is not None
    # As much of it as a record can carry.
    for bomb in (data, data[:1518]):
        tracemalloc.start()
        try:
            assert expand(level, bomb, 1518) is None
            assert tracemalloc.get_traced_memory()[1] < 500_000
        finally:
            tracemalloc.stop()


@given(st.binary(max_size=2000), st.sampled_from(LEVELS))
def test_nonsense_expands_to_nothing(data: bytes, level: int) -> None:
    payload = expand(level, data, 1518)
    assert payload is None or len(payload) <= 1518


@pytest.mark.parametrize("level", [1, *LZO_LEVELS])
def test_a_truncated_or_lengthened_stream_is_refused(level: int) -> None:
    data = compress(level, FRAME)
    assert data is not None
    assert expand(level, data[:-1], 1518) is None
    assert expand(level, data + b"x", 1518) is None


def test_a_lz4_block_that_ends_too_early_is_refused() -> None:
    data = compress(12, FRAME)
    assert data is not None
    assert expand(12, data[:-1], 1518) is None

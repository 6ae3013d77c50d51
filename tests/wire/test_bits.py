"""Bits in options and in dumps."""

from __future__ import annotations

from pytinc.wire.bits import OptionBits, options_version


def test_the_top_byte_of_options_is_the_minor_version_of_the_protocol() -> None:
    assert options_version(0x0700000C) == 7
    assert options_version(0xFF000000 | OptionBits.INDIRECT) == 255
    assert options_version(OptionBits.PMTU_DISCOVERY | OptionBits.CLAMP_MSS) == 0

from __future__ import annotations

import os

import pytest

from pytinc.daemon.umbilical import Umbilical


@pytest.mark.parametrize("value", ["", "x", "-1", "99999", "12345678901234567890", "²"])
def test_a_number_that_is_not_an_open_descriptor_is_ignored(value: str) -> None:
    assert Umbilical.find({"TINC_UMBILICAL": value}) is None


def test_without_the_variable_there_is_none() -> None:
    assert Umbilical.find({}) is None


@pytest.mark.parametrize(("suffix", "coloured"), [("", False), (" 0", False), (" 1", True)])
def test_success_is_a_nul_byte_after_the_lines(suffix: str, coloured: bool) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    umbilical = Umbilical.find({"TINC_UMBILICAL": f"{writer}{suffix}"})
    assert umbilical is not None
    assert umbilical.coloured == coloured
    assert not os.get_inheritable(writer)
    umbilical.write(b"a line\n")
    umbilical.finish()
    umbilical.write(b"nobody listens")
    umbilical.close()
    with os.fdopen(reader, "rb") as end:
        assert end.read() == b"a line\n\0"


def test_closing_without_a_nul_byte_is_failure_and_a_closed_end_is_harmless() -> None:
    reader, writer = os.pipe()
    umbilical = Umbilical.find({"TINC_UMBILICAL": f"{writer} 0"})
    assert umbilical is not None
    os.close(reader)
    umbilical.write(b"a line\n")
    umbilical.close()

"""Typed values of configuration files, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from pytinc.config.parser import Pool, parse_text
from pytinc.config.reader import Reader
from pytinc.config.values import parse_listen
from pytinc.errors import ConfigError
from pytinc.wire.address import Address
from pytinc.wire.subnet import parse_subnet

KEPT: Final = Address("192.0.2.1", "1")
SIZES: Final = {"small": 1, "large": 2}


def reader(text: str, *, tolerant: bool = False) -> Reader:
    return Reader(Pool(parse_text(text, "tinc.conf")[0]), tolerant=tolerant)


def test_an_absent_variable_counts_as_its_default() -> None:
    read = reader("")
    assert read.text("Text", None) is None
    assert read.boolean("Switch", default=True) is True
    assert read.integer("Number", 3) == 3
    assert read.keyword("Size", SIZES, 7, 8, "Bad size {}") == 7
    assert read.parsed("MetricsListen", parse_listen, None, KEPT) is None
    assert read.warnings == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Switch = perhaps", '"yes" or "no" expected for configuration variable Switch in tinc.conf line 1'),
        ("Number = many", "Integer expected for configuration variable Number in tinc.conf line 1"),
    ],
)
def test_a_value_of_the_wrong_type_is_reported_and_counts_as_absent(line: str, complaint: str) -> None:
    read = reader(line)
    assert read.boolean("Switch", default=True) is True
    assert read.integer("Number", 3) == 3
    assert read.warnings == [complaint]


def test_what_is_rejected_is_fatal_at_the_start_and_keeps_what_was_at_a_reload() -> None:
    text = "Size = vast\nMetricsListen = :x\nLow = 1\nPeriod = 9\n"
    asked: tuple[tuple[Callable[[Reader], object], object, str], ...] = (
        (lambda read: read.keyword("Size", SIZES, 1, 2, "Bad size {}"), 2, "Bad size vast"),
        (lambda read: read.parsed("MetricsListen", parse_listen, None, KEPT), KEPT, ":x is not ADDRESS"),
        (lambda read: read.fatal_below(2, "Low", 5, 6), 6, "Low cannot be smaller than 2!"),
        (
            lambda read: read.fatal_outside(1, 8, "seconds", "Period", 5, 6),
            6,
            "Period must be 1 to 8 seconds, not 9!",
        ),
    )
    for number, (ask, kept, complaint) in enumerate(asked, 1):
        with pytest.raises(ConfigError, match=complaint) as caught:
            ask(reader(text))
        assert (caught.value.path, caught.value.line) == ("tinc.conf", number)
        tolerant = reader(text, tolerant=True)
        assert ask(tolerant) == kept
        assert [str(error) for error in tolerant.rejected] == tolerant.warnings == [str(caught.value)]


def test_lists_come_in_order_without_repetitions_and_without_what_is_wrong() -> None:
    read = reader("Subnet = 10.2.0.0/16\nSubnet = bad\nSubnet = 10.1.0.0/16\nSubnet = 10.2.0.0/16\n")
    assert read.subnets("Subnet", fatal=False) == (parse_subnet("10.2.0.0/16"), parse_subnet("10.1.0.0/16"))
    assert len(read.warnings) == 1
    names = reader("ConnectTo = beta\nConnectTo = a-b\nConnectTo = me\nConnectTo = beta\n")
    assert names.node_names("ConnectTo", "me") == ("beta",)
    assert len(names.warnings) == 1


def test_unknown_variables_are_reported_with_the_nearest_known_one() -> None:
    read = reader("Conect = beta\nConectTo = beta\n  Name = me\n")
    read.report_unknown()
    assert read.warnings[-1] == "Unknown variable ConectTo in tinc.conf line 2, did you mean ConnectTo?"
    assert read.warnings[0] == "Ignoring a line that begins with white space (tinc.conf line 3)"

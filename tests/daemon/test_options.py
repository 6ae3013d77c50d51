from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.daemon.options import Options, debug_level, help_text, parse_options


def parse(*words: str) -> Options:
    return parse_options(words, "pytincd")


@pytest.mark.parametrize(
    ("words", "level"),
    [
        ("", 0),
        ("-d", 1),
        ("-d -d", 2),
        ("-d3", 3),
        ("-d 3", 3),
        ("--debug", 1),
        ("--debug=3", 3),
        ("--debug 3", 3),
        ("-d5 -d", 6),
        ("-d -d5", 5),
        ("-dd", 0),
        ("-d word", 0),
        ("-d -D", 1),
        ("-d 3x -D", 3),
    ],
)
def test_debug_counts_or_sets_the_level(words: str, level: int) -> None:
    assert parse(*words.split()).debug_level == level


@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_debug_level_is_accepted(values: list[str]) -> None:
    assert isinstance(debug_level(values), int)


@pytest.mark.parametrize(
    ("words", "to_file", "path", "syslog"),
    [
        ("", False, None, False),
        ("--logfile", True, None, False),
        ("--logfile=x", True, "x", False),
        ("--logfile x", True, "x", False),
        ("--logfile -D", True, None, False),
        ("-s", False, None, True),
        ("-s --logfile=x", True, "x", False),
        ("--logfile=x -s", False, None, True),
        ("--logfile=x -s --logfile", True, None, False),
    ],
)
def test_the_last_of_logfile_and_syslog_counts(
    words: str, to_file: bool, path: str | None, syslog: bool
) -> None:
    options = parse(*words.split())
    assert (options.log_to_file, options.logfile, options.syslog) == (to_file, path, syslog)


def test_all_other_options_are_returned() -> None:
    assert parse(
        "-c", "dir", "-nnet", "-DLR", "-U", "user", "--pidfile=pid", "-oA=1", "-o", "b.C = 2"
    ) == Options(
        confbase="dir",
        netname="net",
        foreground=True,
        mlock=True,
        chroot=True,
        user="user",
        pidfile="pid",
        settings=("A=1", "b.C = 2"),
    )
    assert parse(
        "--config=d", "--net", "n", "--no-detach", "--mlock", "--chroot", "--user=u", "--bypass-security"
    ) == Options(
        confbase="d", netname="n", foreground=True, mlock=True, chroot=True, user="u", bypass_security=True
    )


def test_the_last_of_a_repeated_option_counts() -> None:
    assert parse("-c", "one", "-c", "two").confbase == "two"


def test_long_options_may_be_shortened_while_they_are_unique() -> None:
    assert parse("--conf=d", "--no-d", "--by").confbase == "d"
    with pytest.raises(click.UsageError):
        parse("--log-file")


@pytest.mark.parametrize(("words", "text"), [("foo", "unrecognized argument 'foo'"), ("-D foo -d", "'foo'")])
def test_a_word_that_belongs_to_no_option_is_an_error(words: str, text: str) -> None:
    with pytest.raises(click.UsageError, match=text):
        parse(*words.split())


@pytest.mark.parametrize("words", ["-k", "--nosuch", "-c", "-U", "--option"])
def test_unknown_options_and_missing_arguments_are_errors(words: str) -> None:
    with pytest.raises(click.UsageError):
        parse(*words.split())


def test_help_and_version_are_noted_after_everything_was_read() -> None:
    options = parse("--help", "-d3", "--version")
    assert options.show_help
    assert options.show_version
    assert options.debug_level == 3
    with pytest.raises(click.UsageError):
        parse("--help", "--nosuch")


def test_the_help_names_every_option() -> None:
    text = help_text("pytincd")
    assert text.startswith("Usage: pytincd [OPTION]...")
    for option in (
        "--config",
        "--net",
        "--no-detach",
        "--debug",
        "--mlock",
        "--logfile",
        "--syslog",
        "--pidfile",
    ):
        assert option in text
    assert "WORDS" not in text

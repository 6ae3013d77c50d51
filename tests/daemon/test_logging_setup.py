from __future__ import annotations

import io
import logging
import os
import re
import syslog
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytinc.daemon.logging_setup import (
    DaemonLog,
    FileTarget,
    StderrTarget,
    SyslogTarget,
    UmbilicalTarget,
    open_log_file,
    trace_lines,
    unexpected,
)

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Stream:
    """The control server's side."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.lines: list[tuple[int, bytes, bytes]] = []

    def log_level(self, own_level: int) -> int:
        return own_level if self.level == -2 else self.level

    def write_log(self, level: int, own_level: int, plain: bytes, coloured: bytes) -> None:
        self.lines.append((level, plain, coloured))


@pytest.fixture
def log() -> Iterator[DaemonLog]:
    log = DaemonLog("tinc.vpn", 2)
    log.install()
    yield log
    log.uninstall()


def test_lines_on_stderr_have_time_priority_and_message(log: DaemonLog) -> None:
    stream = io.StringIO()
    log.add(StderrTarget(stream))
    log(0, "error", "Invalid routing mode!")
    log(2, "notice", "100 % sure\n")
    assert re.fullmatch(
        f"{TIME} ERROR   Invalid routing mode!\n{TIME} NOTICE  100 % sure\n", stream.getvalue()
    )


def test_lines_above_the_level_are_not_written(log: DaemonLog) -> None:
    stream = io.StringIO()
    log.add(StderrTarget(stream))
    log(3, "info", "too much")
    log.level = 3
    log(3, "info", "wanted")
    log.level = 0
    log(1, "info", "too much")
    assert stream.getvalue().endswith("INFO    wanted\n")
    assert stream.getvalue().count("\n") == 1


def test_a_terminal_gets_colours_unless_it_is_dumb(log: DaemonLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    log.add(StderrTarget(stream))
    log(0, "warning", "careful")
    assert re.fullmatch(f"\x1b\\[90m{TIME} \x1b\\[33;1mWARNING\x1b\\[0m careful\n", stream.getvalue())
    monkeypatch.setenv("TERM", "dumb")
    plain = Terminal()
    log.add(StderrTarget(plain))
    log(0, "warning", "careful")
    assert "\x1b" not in plain.getvalue()


def test_the_journal_gets_the_priority_and_notes_the_time_itself(
    log: DaemonLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "other").open("w") as other:
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        for stream in (journal, other):
            log.add(StderrTarget(stream))
        log(0, "warning", "careful")
        log(2, "debug", "a detail")
        log.uninstall()
    assert (tmp_path / "journal").read_text() == "<4>careful\n<7>a detail\n"
    assert re.match(f"{TIME} WARNING careful\n", (tmp_path / "other").read_text())


def test_lines_in_a_file_have_identity_and_pid(log: DaemonLog, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    log.add(FileTarget(str(path), log.ident))
    log(0, "notice", "Ready")
    before, line = path.read_text().splitlines()
    assert before == "before"
    assert re.fullmatch(rf"{TIME} tinc\.vpn\[{os.getpid()}\]: Ready", line)


def test_reopening_makes_a_new_file_if_the_old_one_was_moved(log: DaemonLog, tmp_path: Path) -> None:
    path, moved = tmp_path / "log", tmp_path / "log.1"
    log.add(FileTarget(str(path), log.ident))
    log(0, "info", "first")
    path.rename(moved)
    log(0, "info", "second")
    log.reopen()
    log(0, "info", "third")
    assert [line.rpartition(" ")[2] for line in moved.read_text().splitlines()] == ["first", "second"]
    assert path.read_text().endswith("third\n")


def test_another_function_may_open_the_file_again(log: DaemonLog, tmp_path: Path) -> None:
    log.add(FileTarget(str(tmp_path / "log"), "tinc"))
    log.open_files_with(lambda path: open_log_file(f"{path}.new"))
    log.reopen()
    log(0, "notice", "Ready")
    assert (tmp_path / "log").read_text() == ""
    assert (tmp_path / "log.new").read_text().endswith(": Ready\n")


def test_if_reopening_fails_the_old_file_is_kept(log: DaemonLog, tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    log.add(FileTarget(str(directory / "log"), log.ident))
    directory.rename(tmp_path / "moved")
    log.reopen()
    log(0, "info", "still here")
    assert "still here" in (tmp_path / "moved" / "log").read_text()


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        FileTarget(str(tmp_path / "nosuch" / "log"), "tinc")


def test_syslog_gets_the_message_with_its_priority(log: DaemonLog, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, str]] = []
    opened: list[tuple[object, ...]] = []
    monkeypatch.setattr(syslog, "openlog", lambda *arguments: opened.append(arguments))
    monkeypatch.setattr(syslog, "syslog", lambda *arguments: sent.append(arguments))
    log.add(SyslogTarget(log.ident))
    log(0, "notice", "Ready")
    log(0, "critical", "bad")
    assert sent == [(5, "Ready"), (2, "bad")]
    assert opened[0][0] == "tinc.vpn"


def test_the_umbilical_gets_lines_coloured_if_asked(log: DaemonLog) -> None:
    plain: list[bytes] = []
    coloured: list[bytes] = []
    log.add(UmbilicalTarget(plain.append, coloured=False))
    log.add(UmbilicalTarget(coloured.append, coloured=True))
    log(0, "error", "no")
    assert plain[0].endswith(b" ERROR   no\n")
    assert b"\x1b[31;1mERROR  \x1b[0m no\n" in coloured[0]


def test_clients_get_lines_of_their_own_level(log: DaemonLog) -> None:
    stream, stderr = Stream(5), io.StringIO()
    log.add(StderrTarget(stderr))
    log.attach_stream(stream)
    log(5, "debug", "detail")
    log(6, "debug", "too much")
    assert [level for level, _, _ in stream.lines] == [5]
    assert re.fullmatch(f"{TIME} DEBUG   detail".encode(), stream.lines[0][1])
    assert b"\x1b[34;1m" in stream.lines[0][2]
    assert stderr.getvalue() == ""
    log.attach_stream(None)
    log(5, "debug", "detail")
    assert len(stream.lines) == 1


def test_a_client_may_follow_the_daemons_own_level(log: DaemonLog) -> None:
    stream = Stream(-2)
    log.attach_stream(stream)
    log(3, "info", "no")
    log.level = 4
    log(3, "info", "yes")
    assert len(stream.lines) == 1


def test_messages_are_one_printable_line_of_bounded_length(log: DaemonLog) -> None:
    stream = io.StringIO()
    log.add(StderrTarget(stream))
    log(0, "info", "evil\nline \x1b[2J")
    log(0, "info", "é" * 2000)
    first, second = stream.getvalue().splitlines()
    assert first.endswith("evil?line ?[2J")
    message = second.partition("INFO    ")[2]
    assert 1021 <= len(message.encode()) <= 1023


def test_errors_of_other_loggers_are_shown_and_their_chatter_is_not(log: DaemonLog) -> None:
    stream = io.StringIO()
    log.add(StderrTarget(stream))
    logging.getLogger("asyncio").error("broken")
    logging.getLogger("asyncio").warning("chatter")
    assert stream.getvalue().endswith("ERROR   broken\n")


def test_a_target_that_fails_does_no_harm(log: DaemonLog) -> None:
    broken, stream = io.StringIO(), io.StringIO()
    log.add(StderrTarget(broken))
    log.add(StderrTarget(stream))
    broken.close()
    log(0, "info", "go on")
    assert stream.getvalue().endswith("go on\n")


def test_an_unexpected_error_is_one_line_with_its_place() -> None:
    def fail() -> None:
        raise ValueError("what")

    try:
        try:
            fail()
        except ValueError as error:
            raise ExceptionGroup("group", [error]) from None
    except ExceptionGroup as group:
        line, trace = unexpected(group), trace_lines(group)
    assert re.fullmatch(r"Unexpected ValueError: what \(at .*test_logging_setup\.py:\d+ in fail\)", line)
    assert len(trace) == 2
    assert "raise ValueError" not in "".join(trace)


def test_a_change_of_the_wanted_levels_is_reported(log: DaemonLog) -> None:
    told: list[bool] = []
    log.on_levels = lambda: told.append(log.wants(4))
    log.level = 4
    log.level = 3
    log.attach_stream(stream := Stream(5))
    stream.level = -1
    log.streams_changed()
    assert told == [True, False, True, False]

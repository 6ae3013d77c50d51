"""log and pcap: streams copied to standard output."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.cli.streams import file_header, record

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon


def test_log_prints_messages_until_the_daemon_ends(run: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers = {"15": "18 15 5\nReady18 15 4\nbye!18 15 9\nunfinish"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytinc", "-c", str(Path(daemon.pidfile).parent), "log", "3"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == b"Ready\n"
        assert process.stdout.readline() == b"bye!\n"
        daemon.close()
        assert process.wait(60) == 0
    assert daemon.requests == ["18 15 3 0"]


def test_an_interrupted_log_ends_without_an_error(
    run: Run, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytinc.control.client.ControlClient.stream", interrupted)
    assert run("-c", "conf", "log") == (0, "", "\n")


@pytest.mark.parametrize(("words", "snaplen"), [([], 0), (["100"], 100), (["x"], 0), (["-3"], 0)])
def test_pcap_asks_for_a_length_and_writes_its_header_first(
    run: Run, daemon: ScriptedDaemon, words: list[str], snaplen: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pytinc", "-c", str(Path(daemon.pidfile).parent), "pcap", *words],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.read() == file_header(snaplen)
        assert process.wait(60) == 0
    assert daemon.requests == [f"18 14 {snaplen}"]


def test_the_file_header_is_that_of_an_ethernet_capture() -> None:
    assert struct.unpack("=IHHIIII", file_header(0)) == (0xA1B2C3D4, 2, 4, 0, 0, 9018, 1)
    assert struct.unpack("=IHHIIII", file_header(96))[5] == 96


def test_a_record_has_its_time_in_microseconds() -> None:
    assert (
        record(b"frame", 1_795_377_436_000_123_999) == struct.pack("=IIII", 1795377436, 123, 5, 5) + b"frame"
    )

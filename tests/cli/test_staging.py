"""A directory in the making; `test_join` and `test_init` show what the commands make of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from pytinc.cli.staging import ended_by_signals, make_directory, staged


def fill(directory: Path) -> None:
    make_directory(directory / "hosts")
    (directory / "hosts/alpha").write_text("x")
    (directory / "tinc.conf").write_text("Name = alpha\n")


def publish(final: Path, meanwhile: Callable[[], None] = lambda: None) -> None:
    with staged(final) as staging:
        fill(staging.path)
        meanwhile()
        staging.publish()


@pytest.mark.parametrize("exists", [False, True])
def test_only_published_files_remain(tmp_path: Path, exists: bool) -> None:
    final = tmp_path / "etc/vpn"
    if exists:
        final.mkdir(parents=True, mode=0o700)
    publish(final)
    assert sorted(str(path.relative_to(final)) for path in final.rglob("*")) == [
        "hosts",
        "hosts/alpha",
        "tinc.conf",
    ]
    assert final.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in final.parent.iterdir()] == ["vpn"]


def test_a_failure_removes_the_directory_unless_it_is_to_be_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(keep: str) -> None:
        with staged(tmp_path / "new") as staging:
            fill(staging.path)
            staging.keep = keep
            raise ZeroDivisionError

    for keep in ("", "Kept in"):
        with pytest.raises(ZeroDivisionError):
            fail(keep)
        assert len(list(tmp_path.iterdir())) == len(keep[:1])
    (kept,) = tmp_path.iterdir()
    assert capsys.readouterr().err == f"Kept in {kept}\n"
    assert not (tmp_path / "new").exists()


def test_a_configuration_is_never_replaced(tmp_path: Path) -> None:
    make_directory(tmp_path / "new")
    (tmp_path / "new/tinc.conf").write_text("mine")
    with pytest.raises(click.ClickException, match="already exists"):
        publish(tmp_path / "new")
    assert (tmp_path / "new/tinc.conf").read_text() == "mine"


def test_a_directory_filled_by_another_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not empty"):
        publish(tmp_path / "new", meanwhile=lambda: make_directory(tmp_path / "new/hosts"))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


SCRIPT = """
import os, signal, sys
from pytinc.cli.staging import ended_by_signals
with ended_by_signals():
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        print("alive")
    finally:
        # Nothing disturbs the tidying up.
        os.kill(os.getpid(), int(sys.argv[1]))
        print("tidy", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_program_cleans_up_and_then_dies_of_the_signal(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(int(number))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-number, "tidy\n", "")


def test_a_signal_that_was_ignored_stays_ignored_and_handlers_come_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not before[1]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGHUP, before[0])


def test_only_the_main_thread_may_have_handlers() -> None:
    done = []

    def work() -> None:
        with contextlib.suppress(ValueError), ended_by_signals():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert done == [True]

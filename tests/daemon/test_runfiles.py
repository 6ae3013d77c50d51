from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pytinc.control.pidfile import PidFile
from pytinc.daemon.runfiles import RunFiles, contact_address
from pytinc.errors import DeviceError, PytincError

CONTENT = PidFile(4711, "A" * 64, "127.0.0.1", "655")


def files_in(directory: Path) -> RunFiles:
    return RunFiles(str(directory / "pid"), str(directory / "pid.socket"))


def test_only_its_owner_can_read_the_pid_file_and_both_files_are_removed_at_the_end(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    with files.create(CONTENT):
        assert (tmp_path / "pid").read_text() == f"4711 {'A' * 64} 127.0.0.1 port 655\n"
        assert stat.S_IMODE((tmp_path / "pid").stat().st_mode) == 0o600
        assert (tmp_path / "pid.socket").is_socket()
    files.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_stale_pid_file_with_a_loose_mode_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("stale")
    (tmp_path / "pid").chmod(0o666)
    files_in(tmp_path).create(CONTENT).close()
    assert stat.S_IMODE((tmp_path / "pid").stat().st_mode) == 0o600


def test_a_second_daemon_leaves_the_files_of_the_first_alone(tmp_path: Path) -> None:
    first, second = files_in(tmp_path), files_in(tmp_path)
    with first.create(CONTENT):
        with pytest.raises(DeviceError, match="still in use"):
            second.create(PidFile(1, "B" * 64, "127.0.0.1", "655"))
        second.remove()
        assert (tmp_path / "pid").read_text() == CONTENT.format()
        assert (tmp_path / "pid.socket").exists()


def test_files_that_are_no_longer_ours_are_not_removed(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    with files.create(CONTENT):
        (tmp_path / "pid").rename(tmp_path / "old")
        (tmp_path / "pid").write_text("another daemon's")
        files.remove()
    assert (tmp_path / "pid").read_text() == "another daemon's"


def test_a_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PytincError):
        files_in(tmp_path / "nosuch").create(CONTENT)


@pytest.mark.parametrize(
    ("host", "contact"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1")]
)
def test_wildcards_become_loopback(host: str, contact: str) -> None:
    assert contact_address(host) == contact


def test_another_process_may_remove_the_files(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    with files.create(CONTENT):
        RunFiles.of(files.made).remove()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_part_goes_as_well_unless_it_was_replaced(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    for name in ("plug", "other"):
        (tmp_path / name).write_text("")
        files.remember(str(tmp_path / name))
    (tmp_path / "new").write_text("")
    (tmp_path / "new").replace(tmp_path / "other")
    files.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]

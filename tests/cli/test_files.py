"""Files that commands work on as text: any bytes survive, and a file is replaced as a whole."""

from __future__ import annotations

import stat
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytinc.cli.files import open_failure, own_name, read_text, split_lines, write_text


@given(data=st.binary())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_survive_reading_and_writing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in").write_bytes(data)
    write_text(str(tmp_path / "out"), read_text(str(tmp_path / "in")))
    assert (tmp_path / "out").read_bytes() == data


@given(text=st.text(st.sampled_from("ab \n\r\v\f\x1c\x85\u2028"), max_size=20))
def test_lines_end_at_newlines_and_nowhere_else(text: str) -> None:
    lines = split_lines(text)
    assert "".join(lines) == text
    assert all(line.endswith("\n") for line in lines[:-1])
    assert all("\n" not in line[:-1] and line for line in lines)


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    before = path.stat().st_ino
    write_text(str(path), "new")
    assert path.read_text() == "new"
    assert path.stat().st_ino != before, "who has opened the old file goes on seeing the old text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_new_file_gets_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_text(str(path), "secret", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Name = alpha\n", "alpha"),
        ("# Name = beta\nMode = switch\nNAME=alpha", "alpha"),
        ("name\talpha  \r\n", "alpha"),
        ("Name =\nName = alpha\n", "alpha"),
        ("Names = beta\nNamely = beta\nName = alpha\n", "alpha"),
        ("Name = $NODE\n", "from_there"),
    ],
)
def test_the_own_name_is_found_in_tinc_conf(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE", "from-there")
    (tmp_path / "tinc.conf").write_text(text)
    assert own_name(str(tmp_path / "tinc.conf")) == name


@pytest.mark.parametrize("text", ["", "Mode = switch\n", "Name\nName =\n", " Name = alpha\n"])
def test_a_tinc_conf_without_a_name_is_reported(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tinc.conf"
    path.write_text(text)
    with pytest.raises(click.ClickException, match=r"^Could not find Name in .*/tinc\.conf\.$"):
        own_name(str(path))


def test_a_tinc_conf_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"^Could not open .*/tinc\.conf: No such file"):
        own_name(str(tmp_path / "tinc.conf"))


def test_a_file_that_cannot_be_opened_is_reported_with_the_reason() -> None:
    failure = open_failure("hosts/x", PermissionError(13, "Permission denied"))
    assert failure.message == "Could not open configuration file hosts/x: Permission denied"

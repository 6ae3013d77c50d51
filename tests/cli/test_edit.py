"""edit: the user's editor on a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from pytinc.cli.edit import relative_path

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("tinc.conf", "tinc.conf"),
        ("tinc-up", "tinc-up"),
        ("subnet-down", "subnet-down"),
        ("vip-changed", "vip-changed"),
        ("vip-up", "vip-up"),
        ("vip-down", "vip-down"),
        ("beta", "hosts/beta"),
        ("hosts/beta", "hosts/beta"),
        ("beta-up", "hosts/beta-up"),
        ("hosts/beta-down", "hosts/beta-down"),
    ],
)
def test_names_stand_for_files(name: str, path: str) -> None:
    assert relative_path(name) == path


@pytest.mark.parametrize("name", ["a-b", "a-b-up", "-up", "../x", "hosts/../x", "x.conf", "", "beta-"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(click.ClickException, match="Invalid configuration filename"):
        relative_path(name)


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor whose path has a blank: it adds a line, or fails if the file holds ``fail``."""
    script = tmp_path / "my editor"
    script.write_text('#!/bin/sh\ngrep -q fail "$1" && exit 3\necho "# edited" >> "$1"\n')
    script.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(script))
    return script


def test_the_daemon_reloads_after_a_change(
    run: Run, daemon: ScriptedDaemon, conf: Path, editor: Path
) -> None:
    daemon.answers["1"] = "18 1 0\n"
    assert run("-c", "conf", "edit", "beta") == (0, "", "")
    assert (conf / "hosts/beta").read_text().endswith("# edited\n")
    assert daemon.requests == ["18 1"]


def test_a_failing_editor_fails_the_command(
    run: Run, daemon: ScriptedDaemon, conf: Path, editor: Path
) -> None:
    (conf / "tinc.conf").write_text("fail")
    assert run("-c", "conf", "edit", "tinc.conf").status == 1
    assert daemon.requests == []


def test_visual_comes_first_and_may_have_options(
    run: Run, conf: Path, editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", "sed -i s/alpha/omega/")
    assert run("-c", "conf", "edit", "tinc.conf").status == 0
    assert (conf / "tinc.conf").read_text() == "Name = omega\n"

"""network: the networks of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.conftest import Run


def test_every_directory_with_a_configuration_is_a_network(run: Run, tmp_path: Path) -> None:
    base = tmp_path / "etc/tinc"
    for name in ("vpn", "other", ".hidden", "empty"):
        (base / name).mkdir(parents=True)
        if name != "empty":
            (base / name / "tinc.conf").touch()
    (base / "tinc.conf").touch()
    (base / "file").touch()
    assert sorted(run("network").out.splitlines()) == [".", "other", "vpn"]


def test_an_unreadable_directory_is_a_failure(run: Run, tmp_path: Path) -> None:
    result = run("network")
    assert result == (1, "", f"Could not read directory {tmp_path}/etc/tinc: No such file or directory\n")


def test_a_command_for_a_daemon_names_the_networks_if_there_is_no_such_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "etc/tinc/vpn").mkdir(parents=True)
    (tmp_path / "etc/tinc/vpn/tinc.conf").touch()
    for word in ("stop", "reload", "pid"):
        assert run("-n", "vnp", word).err.endswith("\nThere is no network vnp (networks here: vpn).\n")
    assert "networks here" not in run("-n", "vpn", "stop").err
    assert "Networks here: vpn" in run("stop").err


@pytest.mark.parametrize("name", ["", ".x", "a/b", "a\\b", "a\x01b"])
def test_an_impossible_name_is_refused(run: Run, name: str) -> None:
    assert run("network", name) == (1, "", "Invalid character in netname!\n")


@pytest.mark.parametrize("name", ["a b", "a$", "a:b", "a`b", "a?"])
def test_an_unsafe_name_is_a_warning(run: Run, name: str) -> None:
    assert run("network", name) == (0, "", "Warning: unsafe character in netname!\n")


@pytest.mark.parametrize("name", [".", "vpn"])
def test_a_network_need_not_exist(run: Run, name: str) -> None:
    assert run("network", name) == (0, "", "")

"""init: a directory is complete or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.modes import modes
from pytinc.cli.init import TINC_UP
from pytinc.crypto.keys import parse_private_key

if TYPE_CHECKING:
    from cli.conftest import Run

PROGRESS = "Generating Ed25519 key pair:\nDone.\n"


@pytest.fixture(autouse=True)
def usual_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.cli.port.choose_port", lambda: 655)


@pytest.fixture(autouse=True)
def usual_umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


def check_complete(directory: Path, name: str) -> None:
    assert modes(directory) == {
        "tinc.conf": "-rw-r--r--",
        "tinc-up": "-rwxr-xr-x",
        "ed25519_key.priv": "-rw-------",
        "hosts": "drwxr-xr-x",
        f"hosts/{name}": "-rw-r--r--",
        "cache": "drwxr-xr-x",
    }
    assert (directory / "tinc.conf").read_text() == f"Name = {name}\n"
    assert (directory / "tinc-up").read_text() == TINC_UP
    key = parse_private_key((directory / "ed25519_key.priv").read_text())
    assert (directory / "hosts" / name).read_text() == f"Ed25519PublicKey = {key.public.text}\n"


def test_a_new_directory_is_complete(run: Run, tmp_path: Path) -> None:
    assert run("-c", "new", "init", "alpha") == (0, "", PROGRESS)
    check_complete(tmp_path / "new", "alpha")
    assert stat.filemode((tmp_path / "new").stat().st_mode) == "drwxr-xr-x"
    assert run("-c", "new", "fsck") == (0, "", "")


def test_an_empty_directory_is_filled(run: Run, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir(mode=0o700)
    assert run("-c", "new", "init", "alpha").status == 0
    check_complete(tmp_path / "new", "alpha")


def test_a_network_gets_its_directory_with_parents(run: Run, tmp_path: Path) -> None:
    assert run("-n", "vpn", "init", "alpha").status == 0
    check_complete(tmp_path / "etc/tinc/vpn", "alpha")
    assert run("network").out == "vpn\n"


def test_existing_files_are_left_alone(run: Run, conf: Path) -> None:
    assert run("-c", "conf", "init", "beta") == (
        1,
        "",
        "Configuration file conf/tinc.conf already exists!\n",
    )


def test_an_existing_script_is_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new/tinc-up").write_text("mine")
    assert run("-c", "new", "init", "alpha").status == 0
    assert (tmp_path / "new/tinc-up").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [([], "No Name given!"), (["a-b"], "Invalid Name! Only a-z, A-Z, 0-9 and _ are allowed characters.")],
)
def test_a_name_is_needed(run: Run, tmp_path: Path, words: list[str], complaint: str) -> None:
    assert run("-c", "new", "init", *words) == (1, "", complaint + "\n")
    assert not (tmp_path / "new").exists()


def test_a_directory_that_cannot_be_made_is_a_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("-c", "file/new", "init", "alpha")
    assert result.status == 1
    assert result.err.startswith("Could not create directory file")


def test_a_failure_half_way_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytinc.cli.init._write_placeholder", full_disk)
    result = run("-c", "new", "init", "alpha")
    assert result.status == 1
    assert "No space left on device" in result.err
    assert list(tmp_path.glob("new*")) + list(tmp_path.glob(".new*")) == []
    # In a directory that existed, tinc.conf does not exist yet: init can be run again.
    (tmp_path / "new").mkdir()
    assert run("-c", "new", "init", "alpha").status == 1
    assert not (tmp_path / "new/tinc.conf").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pytinc.cli.port.choose_port", lambda: 655)
    assert run("-c", "new", "init", "alpha").status == 0
    assert run("-c", "new", "fsck") == (0, "", "")


def test_a_port_that_is_taken_is_replaced(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.cli.port.choose_port", lambda: 6146)
    result = run("-c", "new", "init", "alpha")
    assert result.err == PROGRESS + (
        "Warning: could not bind to port 655. Tinc will instead listen on port 6146.\n"
    )
    assert (tmp_path / "new/hosts/alpha").read_text().endswith("\nPort = 6146\n")


def test_a_machine_without_free_ports_gets_a_warning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.cli.port.choose_port", lambda: None)
    result = run("-c", "new", "init", "alpha")
    assert result.status == 0
    assert "Please change tinc's Port manually." in result.err


def test_a_node_can_be_made_with_its_addresses(run: Run, tmp_path: Path) -> None:
    result = run("-c", "conf", "init", "alpha", "--address", "10.1.1.1/24", "--public", "alpha.example.org")
    assert result.status == 0
    assert "ip addr replace 10.1.1.1/24 dev" in (tmp_path / "conf/tinc-up").read_text()
    host = (tmp_path / "conf/hosts/alpha").read_text()
    assert host.endswith("Address = alpha.example.org\nSubnet = 10.1.1.1\n")
    for words in (["--address", "10.1.1.1"], ["--address", "x/24"], ["--public", "a b"], ["--public"]):
        assert run("-c", "other", "init", "alpha", *words).status == 1
    assert not (tmp_path / "other").exists()


def test_a_script_that_is_there_already_is_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/tinc-up").write_text("#!/bin/sh\n# mine\n")
    result = run("-c", "conf", "init", "alpha", "--address", "10.1.1.1/24")
    assert result.status == 0
    assert (tmp_path / "conf/tinc-up").read_text() == "#!/bin/sh\n# mine\n"
    assert "tinc-up exists and is kept" in result.err
    assert "10.1.1.1/24" in result.err

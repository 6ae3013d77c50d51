"""The files of a new node, and what the user decides about them. All of ``join``: test_join.py."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from pytinc.cli.join_files import fill, rename_network, settle_script
from pytinc.cli.session import Session
from pytinc.cli.staging import Staging, make_directory
from pytinc.config.joined import JoinedNode
from pytinc.crypto.keys import PublicKey, parse_private_key

NODE = JoinedNode(
    name="beta",
    netname=None,
    tinc_conf="Name = beta\n",
    own_host="Subnet = 10.0.2.0/24\n",
    hosts={"alpha": "Address = 192.0.2.1\n", "gamma": "Port = 7\n"},
    script="#!/bin/sh\n",
    has_commands=False,
    messages=(),
)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def made(final: Path, node: JoinedNode = NODE, port_line: str = "Port = 4000\n") -> tuple[Path, PublicKey]:
    """Fill a staging directory; return it and the public key."""
    staging = Staging(final)
    make_directory(staging.path)
    with patch("pytinc.cli.join_files.port_line", lambda: port_line):
        return staging.path, fill(staging, node, b"the invitation")


def mode_of(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)


def test_a_new_node_has_all_its_files(tmp_path: Path) -> None:
    path, _ = made(tmp_path / "new")
    assert sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()) == [
        "ed25519_key.priv",
        "hosts/alpha",
        "hosts/beta",
        "hosts/gamma",
        "invitation-data",
        "tinc-up",
        "tinc.conf",
    ]
    assert (path / "cache").is_dir()
    assert (path / "tinc.conf").read_text() == NODE.tinc_conf
    assert (path / "invitation-data").read_bytes() == b"the invitation"
    assert (path / "hosts/gamma").read_text() == "Port = 7\n"
    assert mode_of(path / "tinc-up") == "-rwxr-xr-x"


def test_the_new_key_is_private_and_its_public_half_is_returned_and_written(tmp_path: Path) -> None:
    path, key = made(tmp_path / "new")
    file = path / "ed25519_key.priv"
    assert mode_of(file) == "-rw-------"
    assert parse_private_key(file.read_text()).public == key
    host = (path / "hosts/beta").read_text()
    assert host.startswith(NODE.own_host)
    assert f"Ed25519PublicKey = {key.text}\n" in host


@pytest.mark.parametrize(
    ("own_host", "line", "ports"),
    [
        ("", "Port = 4000\n", ["Port = 4000"]),
        ("", "", []),
        ("port = 7000\n", "Port = 4000\n", ["port = 7000"]),
    ],
    ids=["chosen", "usual", "given"],
)
def test_a_port_is_chosen_unless_the_invitation_gives_one(
    own_host: str, line: str, ports: list[str], tmp_path: Path
) -> None:
    node = JoinedNode("beta", None, "Name = beta\n", own_host, {}, "#!/bin/sh\n", False, ())
    path, _ = made(tmp_path / "new", node, line)
    lines = (path / "hosts/beta").read_text().splitlines()
    assert [each for each in lines if each.lower().startswith("port")] == ports


def test_a_script_that_the_user_has_prepared_is_kept(tmp_path: Path) -> None:
    (tmp_path / "tinc-up").write_text("mine\n")
    path, _ = made(tmp_path)
    assert not (path / "tinc-up").exists()


def test_commands_of_the_invitation_are_put_where_nobody_runs_them(tmp_path: Path) -> None:
    node = JoinedNode("beta", None, "Name = beta\n", "", {}, "#!/bin/sh\nreboot\n", True, ())
    path, _ = made(tmp_path / "new", node)
    assert not (path / "tinc-up").exists()
    assert (path / "tinc-up.invitation").read_text() == "#!/bin/sh\nreboot\n"
    assert "x" not in mode_of(path / "tinc-up.invitation")


def test_an_older_private_key_is_kept_in_the_file_but_not_used(tmp_path: Path) -> None:
    first, old = made(tmp_path / "first")
    (tmp_path / "final").mkdir()
    (first / "ed25519_key.priv").rename(tmp_path / "final/ed25519_key.priv")
    second, new = made(tmp_path / "final")
    text = (second / "ed25519_key.priv").read_text()
    assert parse_private_key(text).public == new != old
    assert text.startswith("#-----BEGIN ED25519 PRIVATE KEY-----\n")
    assert mode_of(second / "ed25519_key.priv") == "-rw-------"


# -- what the user decides --


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration directory whose invitation brought a script."""
    monkeypatch.delenv("NETNAME", raising=False)
    monkeypatch.setenv("PYTINC_SYSCONFDIR", str(tmp_path / "etc"))
    directory = tmp_path / "etc/tinc/join_12"
    directory.mkdir(parents=True)
    (directory / "tinc-up.invitation").write_text("#!/bin/sh\nreboot\n")
    return directory


def session_of(
    directory: Path, answers: str | None, monkeypatch: pytest.MonkeyPatch, *, force: bool = False
) -> Session:
    """Return a session that gets these answers from the user; None: there is no terminal."""
    session = Session("tinc", force=force, confbase=str(directory))
    session.tty = answers is not None
    monkeypatch.setattr(sys, "stdin", io.StringIO(answers or ""))
    return session


@pytest.mark.parametrize(
    ("answers", "force", "enabled"),
    [
        ("y\n", False, True),
        ("Yes\n", False, True),
        ("n\n", True, False),
        ("what\n\n  y\n", False, True),
        ("", True, False),
        (None, False, False),
        (None, True, True),
    ],
)
def test_the_script_runs_only_if_the_user_agrees_or_forces_it(
    answers: str | None, force: bool, enabled: bool, offered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_script(session_of(offered, answers, monkeypatch, force=force))
    assert (offered / "tinc-up").exists() is enabled
    assert (offered / "tinc-up.invitation").exists() is not enabled
    if enabled:
        assert mode_of(offered / "tinc-up") == "-rwxr-xr-x"


def test_the_user_sees_the_script_before_the_question(
    offered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle_script(session_of(offered, "n\n", monkeypatch))
    shown = capsys.readouterr().err
    assert 0 < shown.index("reboot") < shown.index("Do you want to use this script")


@pytest.mark.parametrize(("editor", "enabled"), [("sed -i s/reboot/true/", True), ("false", False)])
def test_an_edited_script_is_used_if_the_editor_succeeded(
    editor: str, enabled: bool, offered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", editor)
    settle_script(session_of(offered, "e\n", monkeypatch))
    assert (offered / "tinc-up").exists() is enabled
    if enabled:
        assert (offered / "tinc-up").read_text() == "#!/bin/sh\ntrue\n"


def test_the_user_names_a_network_until_the_name_can_be_used(
    offered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (offered.parent / "taken").mkdir()
    session = session_of(offered, "../x\na b\ntaken\n vpn \n", monkeypatch)
    rename_network(session)
    assert sorted(each.name for each in offered.parent.iterdir()) == ["taken", "vpn"]
    assert session.netname == "vpn"
    told = capsys.readouterr().err
    assert told.count("Invalid character in netname!") == 2
    assert told.count("already exists!") == 1


@pytest.mark.parametrize("answers", ["\n", "", None], ids=["empty", "end", "no terminal"])
def test_without_an_answer_a_network_keeps_its_name(
    answers: str | None, offered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename_network(session_of(offered, answers, monkeypatch))
    assert [each.name for each in offered.parent.iterdir()] == ["join_12"]

"""`pytinc invite`: what is refused, what an invitation holds, and the address in its URL.

See docs/protocol-invitations.md.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.crypto.keys import invitation_file_name, key_hash, parse_private_key
from pytinc.wire.invitation import parse_url

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

NODE_ROW = "18 3 delta 485d4d17037c unknown port unknown 0 0 0 0 0 20 - - -1 1518 0 1518 0 -1 0 0 0 0\n"


def invitations(conf: Path) -> list[Path]:
    return sorted(path for path in (conf / "invitations").iterdir() if len(path.name) == 24)


def test_the_url_holds_address_port_key_and_cookie(run: Run, reachable: Path) -> None:
    result = run("-c", str(reachable), "invite", "delta")
    assert result.status == 0
    url = parse_url(result.out.removesuffix("\n"))
    assert (url.host, url.port) == ("alpha.example.org", "6551")
    key = parse_private_key((reachable / "invitations/ed25519_key.priv").read_text())
    assert url.key_hash == key_hash(key.public.text)
    (path,) = invitations(reachable)
    assert path.name == invitation_file_name(url.cookie, key.public.text)


def test_the_invitation_holds_what_the_new_node_needs(run: Run, reachable: Path) -> None:
    (reachable / "tinc.conf").write_text(
        "Name = alpha\nMode = switch\n  Mode = hub\nModel = x\nBROADCAST=mst\nPingTimeout = 3\nmode\trouter"
    )
    run("-n", "mynet", "-c", str(reachable), "invite", "delta")
    (path,) = invitations(reachable)
    separator = "#---------------------------------------------------------------#\n"
    own = (reachable / "hosts/alpha").read_text()
    assert path.read_text() == (
        "Name = delta\nNetName = mynet\nConnectTo = alpha\n"
        f"Mode = switch\nBROADCAST=mst\nmode\trouter\n{separator}Name = alpha\n{own}"
    )


def test_the_port_of_the_url_replaces_that_of_the_host_file(run: Run, conf: Path) -> None:
    (conf / "hosts/alpha").write_text("Address = 192.0.2.1 7001\nPort = 0\nPorter = 1\n")
    assert run("-c", str(conf), "invite", "delta").out.startswith("192.0.2.1:7001/")
    (path,) = invitations(conf)
    assert path.read_text().endswith("Address = 192.0.2.1 7001\nPort = 7001\nPorter = 1\n")


def test_an_ipv6_address_is_put_in_brackets(run: Run, conf: Path) -> None:
    (conf / "hosts/alpha").write_text("Address = 2001:db8::1\nPort = 655\n")
    assert run("-c", str(conf), "invite", "delta").out.startswith("[2001:db8::1]:655/")


def test_tinc_conf_may_set_address_and_port_but_the_host_file_comes_first(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").write_text("Name = alpha\nAddress = 192.0.2.9\nPort = 7009\n")
    assert run("-c", str(conf), "invite", "delta").out.startswith("192.0.2.9:7009/")
    (conf / "hosts/alpha").write_text("Port = 7001\n")
    assert run("-c", str(conf), "invite", "delta").out.startswith("192.0.2.9:7001/")


def test_without_an_address_it_says_what_to_set_and_leaves_nothing_behind(run: Run, conf: Path) -> None:
    (conf / "hosts/alpha").write_text("Port = 655\n")
    before = sorted(conf.rglob("*"))
    result = run("-c", str(conf), "invite", "delta")
    assert (result.status, result.out) == (1, "")
    assert f"-c {conf} set alpha.Address HOST" in result.err
    assert sorted(conf.rglob("*")) == before


def test_without_a_port_the_daemon_must_run_and_its_port_is_used(
    run: Run, conf: Path, daemon: ScriptedDaemon
) -> None:
    (conf / "hosts/alpha").write_text("Address = 192.0.2.1\n")
    result = run("-c", str(conf), f"--pidfile={conf}/none", "invite", "delta")
    assert result.status == 1
    assert "Please start tincd" in result.err
    daemon.answers = {"3": "18 3\n", "1": "18 1 0\n"}
    result = run("-c", str(conf), f"--pidfile={daemon.pidfile}", "invite", "delta")
    assert result.out.startswith("192.0.2.1:7777/")


def test_the_daemon_learns_of_a_new_key_at_once(run: Run, reachable: Path, daemon: ScriptedDaemon) -> None:
    daemon.answers = {"3": "18 3\n", "1": "18 1 0\n"}
    options = "-c", str(reachable), f"--pidfile={daemon.pidfile}"
    run(*options, "invite", "delta")
    assert daemon.requests == ["18 3", "18 1"]
    run(*options, "invite", "epsilon")
    assert daemon.requests == ["18 3", "18 1", "18 3"]  # the key was known


def test_a_daemon_that_cannot_reload_is_reported(run: Run, reachable: Path, daemon: ScriptedDaemon) -> None:
    daemon.answers = {"3": "18 3\n", "1": "18 1 22\n"}
    result = run("-c", str(reachable), f"--pidfile={daemon.pidfile}", "invite", "delta")
    assert result.status == 0
    assert "could not reload" in result.err


def test_without_a_daemon_a_new_key_comes_with_a_hint(run: Run, reachable: Path) -> None:
    result = run("-c", str(reachable), "invite", "delta")
    assert "Could not open pid file" in result.err
    assert "restart or reload" in result.err
    assert run("-c", str(reachable), "invite", "epsilon").err == ""


def test_a_node_that_the_daemon_knows_cannot_be_invited(
    run: Run, reachable: Path, daemon: ScriptedDaemon
) -> None:
    daemon.answers = {"3": NODE_ROW + "18 3\n"}
    result = run("-c", str(reachable), f"--pidfile={daemon.pidfile}", "invite", "delta")
    assert result.status == 1
    assert "delta is already known" in result.err
    assert f"`pytinc -c {reachable} purge'" in result.err
    assert "Then invite it again." in result.err
    # This daemon does not know our requests, so it is tinc's: with AutoConnect its purge keeps the node.
    assert f"`pytinc -c {reachable} restart' with AutoConnect" in result.err


def test_pytincs_daemon_forgets_a_removed_node_without_a_restart(
    run: Run, reachable: Path, daemon: ScriptedDaemon
) -> None:
    daemon.answers = {"3": NODE_ROW + "18 3\n", "4097": "18 4097\n"}
    result = run("-c", str(reachable), f"--pidfile={daemon.pidfile}", "invite", "delta")
    assert "purge'. Then invite it again." in result.err


def test_a_node_that_is_online_is_not_to_be_purged(run: Run, reachable: Path, daemon: ScriptedDaemon) -> None:
    daemon.answers = {"3": NODE_ROW.replace(" 20 - ", " 30 beta ") + "18 3\n"}
    result = run("-c", str(reachable), f"--pidfile={daemon.pidfile}", "invite", "delta")
    assert "online, through beta: choose another name" in result.err
    assert "delete its host file on all nodes" in result.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "Not enough arguments"),
        (["a", "b"], "Too many arguments"),
        (["not-a-name"], "Invalid name for node"),
        (["../x"], "Invalid name for node"),
        (["beta"], "already exists"),
        (["alpha"], "already exists"),
    ],
)
def test_an_impossible_invitation_is_refused(
    run: Run, reachable: Path, words: list[str], complaint: str
) -> None:
    result = run("-c", str(reachable), "invite", *words)
    assert result.status == 1
    assert complaint in result.err
    assert not (reachable / "invitations").exists()


def test_only_the_owner_can_read_invitations_and_their_key(run: Run, reachable: Path) -> None:
    reachable.chmod(0o700)
    (reachable / "invitations").mkdir(mode=0o755)
    run("-c", str(reachable), "invite", "delta")
    assert stat.S_IMODE((reachable / "invitations").stat().st_mode) == 0o700
    for path in (reachable / "invitations").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_expired_invitations_are_deleted_and_with_the_last_one_the_key(run: Run, reachable: Path) -> None:
    options = "-c", str(reachable), "invite"
    run(*options, "delta")
    key = (reachable / "invitations/ed25519_key.priv").read_text()
    run(*options, "epsilon")
    assert (reachable / "invitations/ed25519_key.priv").read_text() == key
    week_ago = time.time() - 604801
    first, second = invitations(reachable)
    os.utime(first, (week_ago, week_ago))
    run(*options, "zeta")
    assert first not in invitations(reachable)
    assert second in invitations(reachable)
    for path in invitations(reachable):
        os.utime(path, (week_ago, week_ago))
    used = reachable / "invitations" / ("u" * 24 + ".used")
    used.write_text("")
    run(*options, "eta")
    assert len(invitations(reachable)) == 1
    assert (reachable / "invitations/ed25519_key.priv").read_text() != key
    assert used.exists()


def test_invitation_expire_decides_what_has_expired(run: Run, reachable: Path) -> None:
    (reachable / "tinc.conf").write_text("Name = alpha\nInvitationExpire = 100\n")
    run("-c", str(reachable), "invite", "delta")
    (first,) = invitations(reachable)
    os.utime(first, (time.time() - 101,) * 2)
    run("-c", str(reachable), "invite", "epsilon")
    assert first not in invitations(reachable)


def test_an_unusable_key_is_named(run: Run, reachable: Path) -> None:
    run("-c", str(reachable), "invite", "delta")
    (reachable / "invitations/ed25519_key.priv").write_text("junk\n")
    result = run("-c", str(reachable), "invite", "epsilon")
    assert result.status == 1
    assert "invitations/ed25519_key.priv" in result.err


def test_the_script_may_edit_the_invitation_before_the_url_is_shown(run: Run, reachable: Path) -> None:
    script = reachable / "invitation-created"
    script.write_text(
        "#!/bin/sh\n"
        f'echo "$NODE $NAME $NETNAME $INVITATION_URL" > {reachable}/seen\n'
        'echo "Subnet = 10.9.0.0/16" >> "$INVITATION_FILE"\n'
    )
    script.chmod(0o755)
    result = run("-n", "mynet", "-c", str(reachable), "invite", "delta")
    assert "Executing script invitation-created" in result.err
    assert (reachable / "seen").read_text() == f"delta alpha mynet {result.out}"
    (path,) = invitations(reachable)
    assert path.read_text().endswith("Subnet = 10.9.0.0/16\n")


def test_a_script_that_fails_is_reported_and_the_invitation_remains(run: Run, reachable: Path) -> None:
    script = reachable / "invitation-created"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    result = run("-c", str(reachable), "invite", "delta")
    assert result.status == 0
    assert "failed with status 3" in result.err
    assert len(invitations(reachable)) == 1

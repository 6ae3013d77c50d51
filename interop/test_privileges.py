"""ProcessPriority, --mlock, --chroot and --user, checked by the kernel's data about the daemon's process.

The daemon must go on working in another root directory, without privileges and with its memory locked:
modules and files that it would load only later could not be found there.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import own_options
from pytinc.lab.echo import answers
from pytinc.lab.namespaces import run
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("P",)
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    return own_options.build(new_network, cast[0], "odd", cast[0])


@pytest.fixture
def odd(network: Network) -> Iterator[Node]:
    """A node that each test starts with its own options; it is stopped after the test."""
    yield network["odd"]
    own_options.stop(network["odd"])


def status(node: Node) -> dict[str, str]:
    """Return the fields of ``/proc/PID/status`` of the daemon."""
    lines = Path(f"/proc/{node.pid()}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def nice(node: Node) -> int:
    return os.getpriority(os.PRIO_PROCESS, node.pid() or 0)


@pytest.mark.parametrize(("word", "value"), [("low", 10), ("normal", 0), ("high", -10)])
def test_the_process_gets_its_priority(odd: Node, word: str, value: int) -> None:
    odd.start("-o", f"ProcessPriority={word}")
    assert nice(odd) == value


def test_all_memory_is_locked(network: Network, odd: Node) -> None:
    odd.start("--mlock")
    network.wait_converged()
    known = status(odd)
    assert int(known["VmLck"].split()[0]) > 20_000
    assert known["VmSwap"] == "0 kB"


def test_a_daemon_that_may_not_lock_memory_says_so(odd: Node) -> None:
    done = odd.host.run(
        "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock",
        "prlimit", "--memlock=65536",
        odd.tincd_program, *odd.globals, "-D", "--mlock", check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "System call `mlockall' failed" in done.stderr


def test_a_daemon_that_cannot_keep_memory_locked_without_root_refuses_to_start(odd: Node) -> None:
    done = odd.host.run(
        "setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource",
        "prlimit", "--memlock=65536:65536",
        odd.tincd_program, *odd.globals, "-D", "--mlock", "-U", "nobody", check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the limit of 65536 bytes of locked memory cannot be raised here" in done.stderr


def may_lift_the_limit() -> bool:
    """Whether root may lock any amount of memory on this machine; in some containers it may not."""
    return run("prlimit", "--memlock=unlimited:unlimited", "true", check=False).returncode == 0


def test_a_daemon_without_privileges_in_another_root_directory_goes_on_working(
    network: Network, odd: Node
) -> None:
    plain, root = network["plain"], odd.confbase
    mlock = ["--mlock"] if may_lift_the_limit() else []
    own_options.give_shell(root)
    (root / "out").mkdir()
    os.chown(root / "out", NOBODY.pw_uid, NOBODY.pw_gid)
    script = root / "host-up"
    script.write_text("#!/bin/sh\necho $NODE >>/out/up\n")
    script.chmod(0o755)
    odd.start(*mlock, "--chroot", "-U", "nobody", "-o", "ProcessPriority=high")
    known = status(odd)
    assert known["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert known["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    assert int(known["CapEff"], 16) == 0
    assert Path(f"/proc/{odd.pid()}/root").readlink() == root
    assert nice(odd) == -10
    network.wait_converged()
    wait_until(lambda: answers(plain.host, odd.address), PATIENCE_S, "they answer")
    up = root / "out/up"
    wait_until(lambda: up.exists() and up.read_text() == "plain\n", PATIENCE_S, "the script has run")
    assert (root / "out/up").stat().st_uid == NOBODY.pw_uid
    # Actions that need files and modules again: a reload, a look-up of a host name, a new connection,
    # commands.
    odd.add_lines("tinc.conf", [("ConnectTo", "named")])
    (root / "hosts/named").write_text("Address = localhost 1\n")
    odd.tinc("reload")
    wait_until(
        lambda: "named" in odd.log().partition("Got 'reload' command")[2], PATIENCE_S, "the name is looked up"
    )
    odd.tinc("disconnect", "plain", check=False)
    network.wait_converged()
    for words in (("dump", "connections"), ("info", "plain"), ("retry",), ("purge",)):
        assert odd.tinc(*words, check=False).stderr == ""
    wait_until(lambda: answers(plain.host, odd.address), PATIENCE_S, "they answer")
    assert "No module named" not in odd.log()
    assert "Cannot allocate memory" not in odd.log()
    odd.stop()


def test_a_daemon_in_another_root_directory_answers_invitations(network: Network, odd: Node) -> None:
    odd.start("--chroot")
    url = odd.tinc("invite", "guest").stdout.strip()
    host = network.lab.host("guest")
    guest = Node(host, "guest", odd.kind, "02:00:00:00:00:09", ["10.1.1.9/24"])
    done = guest.tinc("join", url, check=False)
    assert done.returncode == 0, done.stderr
    assert (odd.confbase / "hosts/guest").exists()

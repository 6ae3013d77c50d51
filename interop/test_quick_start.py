"""The five commands of the README, typed on two hosts; and an address in an invitation for C's joiner."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Completed, Host, Lab
from pytinc.lab.node import PATIENCE_S, Kind, wait_until

README = Path(__file__).parent.parent / "README.md"
URL = re.compile(r"[0-9.]+:655/[\w-]{48}")


class Machine:
    """A host with its own /etc and /var, on which commands are typed at a terminal."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.host: Host = lab.host(name)
        self.root = lab.directory / f"root-{name}"
        for directory in ("etc", "var/run", "var/log"):
            (self.root / directory).mkdir(parents=True)

    def type(self, command: str, stdin: str = "") -> Completed:
        """Run a command as if typed at a terminal; its answers are ``stdin``."""
        program = Path(Kind.PY.programs()[0])
        return self.host.run(
            "env",
            f"PATH={program.parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            f"PYTINC_SYSCONFDIR={self.root}/etc",
            f"PYTINC_LOCALSTATEDIR={self.root}/var",
            "script",
            "-qec",
            command,
            "/dev/null",
            stdin=stdin,
            timeout=PATIENCE_S,
        )


def commands() -> list[list[str]]:
    """Return the lines of the code blocks with commands of the quick start."""
    text = README.read_text().partition("## Two machines talking")[2].partition("\n## ")[0]
    return [block.strip().splitlines() for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def first(lab: Lab) -> Iterator[tuple[Machine, list[str]]]:
    """The first machine after its commands, and what they said."""
    machine = Machine(lab, "first")
    own, _ = commands()
    said = [machine.type(line.replace("alpha.example.org", machine.host.address)).stdout for line in own]
    yield machine, said
    machine.type("pytinc -n mynet stop")


def test_two_machines_talk_after_five_commands(lab: Lab, first: tuple[Machine, list[str]]) -> None:
    alpha, said = first
    own, other = commands()
    assert len(own) + len(other) == 5
    url = URL.search(said[-1])
    assert url is not None, said
    beta = Machine(lab, "second")
    join, start = other
    assert "10.1.1.2/24" in beta.type(join.replace("URL", url[0]), "y\n").stdout
    beta.type(start)
    try:
        wait_until(lambda: answers(beta.host, "10.1.1.1"), PATIENCE_S, "the first machine answers")
        wait_until(lambda: answers(alpha.host, "10.1.1.2"), PATIENCE_S, "the second machine answers")
    finally:
        beta.type("pytinc -n mynet stop")


def test_the_joiner_of_tinc_takes_the_address(lab: Lab, first: tuple[Machine, list[str]]) -> None:
    alpha, _ = first
    url = URL.search(alpha.type("pytinc -n mynet invite gamma --address auto").stdout)
    assert url is not None
    gamma, base = lab.host("third"), lab.directory / "gamma"
    tinc = (Kind.C.programs()[0], "-c", str(base), f"--pidfile={base}/pid")
    gamma.run(*tinc, "join", url[0])
    # It asks about the script at a terminal only, and otherwise leaves it disabled under this name.
    (base / "tinc-up.invitation").rename(base / "tinc-up")
    (base / "tinc-up").chmod(0o755)
    assert "10.1.1.3/24" in (base / "tinc-up").read_text()
    gamma.run(*tinc, "start")
    try:
        wait_until(lambda: answers(gamma, "10.1.1.1"), PATIENCE_S, "the first machine answers")
    finally:
        gamma.run(*tinc, "stop")

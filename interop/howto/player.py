"""Types the commands of a page on machines of a backend, and compares what they print with the page."""

from __future__ import annotations

import re
import time
from pathlib import Path

from howto.machines import Backend, Machine
from pytinc.lab.namespaces import LabError
from pytinc.lab.node import PATIENCE_S, Kind
from pytinc.lab.typed import (
    PLACEHOLDERS,
    Command,
    before,
    commands,
    fill,
    learn,
    matches,
    run_blocks,
    up_to,
    without_answers,
)

DOCS = Path(__file__).parents[2] / "docs"
ONLY_LOOKS = re.compile(
    r"^(?:docker exec \w+ )?(?:pytinc|tinc) (?:-n \w+ )?"
    r"(?:dump|info|doctor|events|vip(?: --json)?$|get|fsck|pid)"
    r"|^(?:docker exec \w+ )?(?:docker inspect|ping|ip (?:-brief )?(?:neigh|addr(?:ess)?)|curl|tail) "
)
"""Commands that change nothing. A person tries them again until the network is up, and so does the test."""
RETRY_S = 0.3


class Player:
    """Types the commands of one page."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._machines: dict[str, Machine] = {}
        self._values: dict[str, str] = {}

    def machine(self, name: str) -> Machine:
        """Return the machine of this name, a new one at the first time."""
        name = fill(name, self._values).replace("_", "-")
        if name not in self._machines:
            self._machines[name] = self._backend.machine(name, Kind.PY)
        return self._machines[name]

    def type(self, command: Command, *, fails: bool) -> None:
        """Type a command and compare. Raises LabError if it fails, or does not print what the page shows."""
        machine = self.machine(command.host)
        deadline = time.monotonic() + (PATIENCE_S if ONLY_LOOKS.search(command.text) else 0)
        while True:
            text = fill(command.text, self._values)
            shown, answers = without_answers([fill(line, self._values) for line in command.shown])
            typed = (
                ("script", "-qe", "--echo", "never", "-c", text, "/dev/null")
                if answers
                else ("sh", "-c", text + "\n")
            )
            done = machine.run(*typed, stdin="".join(f"{answer}\n" for answer in answers), check=False)
            printed = (done.stdout + done.stderr).replace("\r\n", "\n")
            if (done.returncode != 0) == fails and (not shown or matches(shown, printed)):
                learn(printed, self._values)
                return
            if time.monotonic() > deadline:
                raise LabError(
                    f"line {command.line}: {command.host}# {command.text}\n"
                    f"status {done.returncode}, printed:\n{printed}"
                )
            time.sleep(RETRY_S)


def whole_text(page: str) -> str:
    """Return a page, and before it the part of another one that it goes on from."""
    text = (DOCS / page).read_text()
    return "".join(up_to((DOCS / other).read_text(), section) for other, section in before(text)) + text


def play(page: str, backend: Backend) -> None:
    """Type all commands of a page. Raises LabError at the first that does not go as shown."""
    player = Player(backend)
    found = [(block, commands(block)) for block in run_blocks(whole_text(page))]
    for _, typed in found:
        for command in typed:
            if command.host not in PLACEHOLDERS:
                player.machine(command.host)
    for block, typed in found:
        for command in typed:
            player.type(command, fails=block.mark == "fails" and command is typed[-1])

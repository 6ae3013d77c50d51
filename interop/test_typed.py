"""The commands of the documents for operators, typed in fresh hosts (`pytinc.lab.typed`).

Each page has hosts of its own, one for each name before a ``#``, with addresses 192.0.2.1 and so on in the
order in which the page first names them. The pages are played at the same time, because they mostly wait.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from howto.machines import Machine
from howto.namespaces import NamespaceBackend, missing_mount_points
from pytinc.lab.namespaces import LabError, missing_means
from pytinc.lab.node import PATIENCE_S, Kind
from pytinc.lab.typed import (
    LONG_PAGES,
    PAGES,
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

DOCS = Path(__file__).parents[1] / "docs"
ONLY_LOOKS = re.compile(
    r"^(?:pytinc|tinc) (?:-n \w+ )?(?:dump|info|vip(?: --json)?$|get|fsck|pid)"
    r"|^(?:ping|ip (?:-brief )?(?:neigh|addr(?:ess)?)|curl|tail) "
)
"""Commands that change nothing. A person tries them again until the network is up, and so does the test."""
RETRY_S = 0.3


class Player:
    """Types the commands of one page."""

    def __init__(self, backend: NamespaceBackend) -> None:
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


def play(page: str) -> None:
    """Type all commands of a page in fresh hosts. Raises LabError at the first that does not go as shown."""
    text = whole_text(page)
    with NamespaceBackend() as backend:
        player = Player(backend)
        found = [(block, commands(block)) for block in run_blocks(text)]
        for _, typed in found:
            for command in typed:
                if command.host not in PLACEHOLDERS:
                    player.machine(command.host)
        for block, typed in found:
            for command in typed:
                player.type(command, fails=block.mark == "fails" and command is typed[-1])


@pytest.fixture(scope="module")
def plays() -> dict[str, Future[None]]:
    """The pages, all being played."""
    reason = missing_means() or missing_mount_points()
    if reason is not None:
        pytest.skip(reason)
    with ThreadPoolExecutor(max(1, len(PAGES) + len(LONG_PAGES))) as pool:
        return {page: pool.submit(play, page) for page in pages()}


def pages() -> list[str]:
    """Return the pages to play: all with PYTINC_DOCUMENTS=all (``make docs-test``)."""
    return [*PAGES, *(LONG_PAGES if os.environ.get("PYTINC_DOCUMENTS") == "all" else ())]


@pytest.mark.parametrize("page", [*PAGES, *LONG_PAGES])
def test_the_commands_of_a_page_do_what_it_says(page: str, plays: dict[str, Future[None]]) -> None:
    if page not in plays:
        pytest.skip("takes long: make docs-test")
    if re.search(r"^\w+# tinc ", (DOCS / page).read_text(), re.MULTILINE):
        try:
            Kind.C.programs()
        except LabError as error:
            pytest.skip(str(error))
    if re.search(r"^\w+# keepalived$", (DOCS / page).read_text(), re.MULTILINE) and not shutil.which(
        "keepalived"
    ):
        pytest.skip("keepalived is not installed (interop/setup.sh bench)")
    plays[page].result()

"""What the how-to needs of a place to play it: machines on one network, at which somebody types commands.

`howto.story` knows nothing else; `howto.namespaces` and `howto.containers` are the two implementations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Final, Self

from pytinc.lab.namespaces import COMMAND_TIMEOUT_S, Completed
from pytinc.lab.node import Kind

COMMANDS: Final = {Kind.C: "tinc", Kind.PY: "pytinc"}
"""What a person types."""


class Machine(ABC):
    """One computer: its name, its address on the outer network, which tinc it has, and a root shell."""

    def __init__(self, name: str, kind: Kind, address: str) -> None:
        self.name = name
        self.kind = kind
        self.address = address

    @abstractmethod
    def run(
        self, *command: str, stdin: str | None = None, check: bool = True, timeout: float = COMMAND_TIMEOUT_S
    ) -> Completed:
        """Run a command as root to its end; as `pytinc.lab.namespaces.run`."""

    @property
    def command(self) -> str:
        """The control program as it is typed here."""
        return COMMANDS[self.kind]

    def tinc(self, *words: str, stdin: str | None = None, check: bool = True) -> Completed:
        """Type the control program's name and these words."""
        return self.run(self.command, *words, stdin=stdin, check=check)

    def write(self, path: str, text: str, *, executable: bool = False) -> None:
        """Write a file as one does with an editor."""
        self.run("sh", "-c", 'cat >"$1"', "sh", path, stdin=text)
        if executable:
            self.run("chmod", "755", path)

    def append(self, path: str, text: str) -> None:
        """Add lines to the end of a file."""
        self.run("sh", "-c", 'cat >>"$1"', "sh", path, stdin=text)

    def read(self, path: str) -> str:
        """What is in a file; nothing when there is no such file."""
        return self.run("cat", path, check=False).stdout


class Backend(ABC):
    """Makes machines on a network of their own; a context manager that takes all of them down."""

    title: str

    @abstractmethod
    def machine(self, name: str, kind: Kind) -> Machine:
        """Add a machine with this kind of tinc installed. Raises LabError."""

    @abstractmethod
    def close(self) -> None:
        """End everything that runs and remove it; may be called more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""The interface to the machines of the how-to: they share one network, and commands are typed on them.

`howto.story` uses nothing else; `howto.namespaces` and `howto.containers` implement it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Final, Self

from pytinc.lab.namespaces import COMMAND_TIMEOUT_S, Completed
from pytinc.lab.node import Kind

COMMANDS: Final = {Kind.C: "tinc", Kind.PY: "pytinc"}
"""The name of the control program, as a person types it."""


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
        """Run a command as root and wait for its end, like `pytinc.lab.namespaces.run`."""

    @property
    def command(self) -> str:
        """The control program as it is typed here."""
        return COMMANDS[self.kind]

    def tinc(self, *words: str, stdin: str | None = None, check: bool = True) -> Completed:
        """Run the control program with these words."""
        return self.run(self.command, *words, stdin=stdin, check=check)

    def write(self, path: str, text: str, *, executable: bool = False) -> None:
        """Write a file, as a person does with an editor."""
        self.run("sh", "-c", 'cat >"$1"', "sh", path, stdin=text)
        if executable:
            self.run("chmod", "755", path)

    def append(self, path: str, text: str) -> None:
        """Add lines to the end of a file."""
        self.run("sh", "-c", 'cat >>"$1"', "sh", path, stdin=text)

    def read(self, path: str) -> str:
        """Return the text of a file, or an empty string if there is no such file."""
        return self.run("cat", path, check=False).stdout


class Backend(ABC):
    """Makes machines on a network of their own; a context manager that takes all of them down at its end."""

    title: str

    @abstractmethod
    def machine(self, name: str, kind: Kind) -> Machine:
        """Add a machine with this kind of tinc installed. Raises LabError."""

    @abstractmethod
    def close(self) -> None:
        """End and remove all machines and the network; may be called more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

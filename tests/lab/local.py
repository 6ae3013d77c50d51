"""Hosts that are this machine: for the parts of the lab that need no network."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess
from threading import Lock
from typing import cast

from pytinc.lab.namespaces import Lab, run


class LocalHost:
    """Makes a configuration here, and answers all other commands from a table."""

    def __init__(self, lab: LocalLab, name: str, number: int) -> None:
        self.lab = lab
        self.name = name
        self.address = f"192.0.2.{number}"

    def run(
        self, *command: str, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> CompletedProcess[str]:
        if "init" in command:
            if self.lab.has_keys:
                return run(*command, stdin=stdin, check=check, timeout=timeout)
            hosts = self.lab.directory / command[-1] / "hosts"
            hosts.mkdir(parents=True)
            (hosts.parent / "tinc.conf").write_text(f"Name = {command[-1]}\n")
            return CompletedProcess(command, 0, "", "")
        words = [word for word in command[1:] if not word.startswith("-") and "/" not in word]
        with self.lab.lock:
            self.lab.commands.append((self.name, " ".join(words)))
        return CompletedProcess(command, 0, self.lab.answers.get((self.name, " ".join(words)), ""), "")


class LocalLab:
    """Makes such hosts, and notes what is run on them. Without keys, making nodes costs no time."""

    def __init__(self, directory: Path, *, has_keys: bool = True) -> None:
        self.directory = directory
        self.has_keys = has_keys
        self.hosts: dict[str, LocalHost] = {}
        self.commands: list[tuple[str, str]] = []
        self.answers: dict[tuple[str, str], str] = {}
        """What a command on a host prints."""
        self.lock = Lock()

    def host(self, name: str) -> LocalHost:
        self.hosts[name] = LocalHost(self, name, len(self.hosts) + 1)
        return self.hosts[name]

    @property
    def as_lab(self) -> Lab:
        return cast(Lab, self)

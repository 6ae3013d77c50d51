"""Machines made of network and mount namespaces: the how-to's default backend.

The switch of the lab (`pytinc.lab.namespaces`) connects the network namespaces. Each command runs in a new
mount namespace in which ``/etc/tinc``, ``/run`` and ``/var/log`` are the machine's own. So commands are typed
with their plain names, and without options that a real machine would not need.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from howto.machines import Backend, Machine
from pytinc.lab.namespaces import COMMAND_TIMEOUT_S, Completed, Host, Lab, LabError
from pytinc.lab.node import Kind

OWN: Final = {"etc": "/etc/tinc", "run": "/run", "log": "/var/log"}
"""The directories that each machine has for itself: name in the machine's directory, and mount point."""
OWN_IF_THERE: Final = {"keepalived": "/etc/keepalived"}
"""Those of programs that may be installed or not."""
_MOUNTS: Final = " && ".join(f"mount --bind {own} {path}" for own, path in OWN.items()) + "".join(
    f" && {{ [ ! -d {path} ] || mount --bind {own} {path}; }}" for own, path in OWN_IF_THERE.items()
)
_ENTER: Final = f'cd "$1" && {_MOUNTS} && cd / && shift && exec "$@"'


def missing_mount_points() -> str | None:
    """Return the reason why machines cannot have files of their own on this system, or None if they can."""
    for path in OWN.values():
        if not Path(path).is_dir():
            return f"there is no directory {path} to mount a machine's own on"
    return None


class NamespaceMachine(Machine):
    """A host of the lab with its own configuration, pid and log files."""

    def __init__(self, host: Host, name: str, kind: Kind) -> None:
        super().__init__(name, kind, host.address)
        self._host = host
        self._root = host.lab.directory / name
        for own in (*OWN, *OWN_IF_THERE):
            (self._root / own).mkdir(parents=True)
        # Both programs of a kind are in the same directory; pytinc's are those of the running interpreter.
        folder = os.path.dirname(kind.programs()[0])  # noqa: PTH120
        self._path = f"PATH={folder}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def run(
        self, *command: str, stdin: str | None = None, check: bool = True, timeout: float = COMMAND_TIMEOUT_S
    ) -> Completed:
        """Run a command in the machine's namespaces."""
        enter = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh", str(self._root))
        return self._host.run(*enter, "env", self._path, *command, stdin=stdin, check=check, timeout=timeout)


class NamespaceBackend(Backend):
    """The machines of one play of the how-to."""

    title = "namespaces"

    def __init__(self) -> None:
        reason = missing_mount_points()
        if reason is not None:
            raise LabError(reason)
        self._lab = Lab()

    def machine(self, name: str, kind: Kind) -> Machine:
        """Add a host to the lab."""
        # A node name has underscores where a host name has dashes.
        return NamespaceMachine(self._lab.host(name.replace("_", "-")), name, kind)

    def close(self) -> None:
        """Take the lab down."""
        self._lab.close()

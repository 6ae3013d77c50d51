"""Hosts of the lab that boot: each has a Debian of its own with systemd as process 1, as on a real machine.

The Debian is made once by debootstrap (``interop/make-base.sh``); each host has an overlay over it, its own
process ids, mounts and control groups. Used by ``interop/test_deb.py``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final, Self

from howto.images import base_system
from own_root import BECOME_SYSTEMD, OWN_ROOT, PATH
from pytinc.lab.namespaces import NAMESPACES, Completed, Host, Lab, LabError, run
from pytinc.lab.node import PATIENCE_S, wait_until

PACKAGES: Final = ("systemd", "systemd-sysv", "iproute2", "iputils-ping", "procps")
RUN_LIMIT_S: Final = 300.0
"""A start of the daemon under systemd, on a busy machine, is slower than a plain command."""
START: Final = f"""\
set -eu
read -r pid rest </proc/self/stat
echo "$pid" >"$WORK/pid"
{OWN_ROOT}{BECOME_SYSTEMD}"""
"""What process 1 of a host does before it becomes systemd; the mounts go away with it."""
CONFINE: Final = """\
set -eu
mkdir "$CGROUP"
echo $$ >"$CGROUP/cgroup.procs"
exec nsenter "--net=$NETWORK" unshare --mount --pid --fork --kill-child --uts --cgroup sh -c "$START"
"""
"""Goes into a control group of its own: systemd takes the group it is in for all of the machine."""


def missing() -> str | None:
    """Return why no host can be booted here, or None."""
    if shutil.which("debootstrap") is None:
        return "debootstrap is not installed (Debian's package debootstrap)"
    tree = control_groups()
    if tree is None:
        return "no cgroup2 file system is mounted, which systemd as process 1 needs"
    if not os.access(tree, os.W_OK):
        return f"{tree} cannot be written: systemd as process 1 needs a control group of its own"
    return None


def control_groups() -> Path | None:
    """Return where the tree of control groups, version 2, is mounted."""
    match = re.search(r"^\S+ (\S+) cgroup2 ", Path("/proc/self/mounts").read_text(), re.MULTILINE)
    return Path(match[1]) if match else None


def base(lab: Lab, *packages: str) -> Path:
    """Return a directory of the lab with a Debian that has systemd and these packages. Raises LabError."""
    directory = lab.directory / "base"
    directory.mkdir()
    run("tar", "-C", str(directory), "-xf", str(base_system((*PACKAGES, *packages))), timeout=120)
    return directory


class Machine:
    """A host of the lab that has booted such a Debian. Use it as a context manager inside of the lab's."""

    def __init__(self, host: Host, base: Path) -> None:
        tree = control_groups()
        if tree is None:
            raise LabError("no cgroup2 file system is mounted")
        self.host = host
        self.directory = host.lab.directory / f"{host.name}-machine"
        self._group = tree / host.namespace
        self._base = base
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = ""

    def __enter__(self) -> Self:
        """Boot. Raises LabError if systemd does not come up."""
        run("mkdir", "-p", *(str(self.directory / name) for name in ("upper", "work", "root")))
        values = {
            "WORK": self.directory, "BASE": self._base, "SYSFS": "rw", "PATH": PATH,
            "START": START, "CGROUP": self._group, "NETWORK": NAMESPACES / self.host.namespace,
        }  # fmt: skip
        # `ip netns exec`, and so Host.spawn, would hide the tree of control groups.
        with (self.directory / "console").open("wb") as console:
            self._process = subprocess.Popen(
                ["sh", "-c", CONFINE],
                env={key: str(value) for key, value in values.items()},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._is_up, RUN_LIMIT_S, f"{self.host.name} has booted")
        except LabError as error:
            self._shut_down()
            raise LabError(f"{error}\n{(self.directory / 'console').read_text()}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._shut_down()

    def run(self, *command: str, check: bool = True, timeout: float = RUN_LIMIT_S) -> Completed:
        """Run a command on the machine, as `pytinc.lab.namespaces.run` does."""
        inside = ("nsenter", "-t", self._pid, "-m", "-p", "-n", "-u", "-C", "-r", "-w")
        environment = ("env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8")
        return run(*inside, *environment, *command, check=check, timeout=timeout)

    def shell(self, line: str, *, check: bool = True, timeout: float = RUN_LIMIT_S) -> str:
        """Run a line of the shell and return what it printed on standard output."""
        return self.run("sh", "-c", line, check=check, timeout=timeout).stdout

    def copy(self, file: Path) -> str:
        """Copy a file of this machine into /root, and return its path there."""
        target = f"/root/{file.name}"
        # Written through process 1's own view: the overlay must see the change.
        shutil.copyfile(file, f"/proc/{self._pid}/root{target}")
        return target

    def _is_up(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError((self.directory / "console").read_text())
        pid = self.directory / "pid"
        self._pid = pid.read_text().strip() if pid.exists() else ""
        if not self._pid:
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def _shut_down(self) -> None:
        """End the machine as if its power failed; a kernel ends all of a namespace with its process 1."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self._pid), signal.SIGKILL)
        if self._process is not None:
            if not self._pid:
                self._process.kill()
            self._process.wait(PATIENCE_S)
        with contextlib.suppress(LabError):
            wait_until(self._groups_are_gone, PATIENCE_S, "the control groups are gone")

    def _groups_are_gone(self) -> bool:
        run("find", str(self._group), "-depth", "-type", "d", "-exec", "rmdir", "{}", "+", check=False)
        return not self._group.exists()

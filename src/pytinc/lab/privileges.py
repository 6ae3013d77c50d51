"""Gets the right to make namespaces: as root, or in a user namespace in which this process is root.

``python -m pytinc.lab.demo`` and ``python -m pytinc.lab COMMAND`` call it first. Without root the program is
started again inside a user namespace of its own, with its own network, mounts and processes; there ``ip
netns`` works on a private ``/run``. Everything in it goes away with the program.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

from pytinc.lab.namespaces import LabError, run

MARK: Final = "PYTINC_LAB_ROOTLESS"
UNSHARE: Final = (
    "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child",
    "--mount-proc",
)  # fmt: skip


def is_rootless() -> bool:
    """Return whether this process runs in the user namespace that `ensure_root` made."""
    return MARK in os.environ


def ensure_root(command: list[str]) -> None:
    """Return if this process may make namespaces; otherwise replace it by ``command`` in a user namespace.

    ``command`` is this program itself with its arguments. Raises LabError if neither is possible.
    """
    if is_rootless():
        _prepare_mounts()
        return
    if os.geteuid() == 0:
        return
    if shutil.which("unshare") is None:
        raise LabError("not root, and unshare (Debian's package util-linux) is not installed")
    probe = run(*UNSHARE, "true", check=False)
    if probe.returncode != 0:
        raise LabError(f"not root, and this system does not allow user namespaces: {probe.stderr.strip()}")
    sys.stdout.flush()
    os.execvpe(UNSHARE[0], [*UNSHARE, *command], {**os.environ, MARK: "1"})  # noqa: S606 (that is the point)


def _prepare_mounts() -> None:
    # ip keeps the names of namespaces in /run/netns, which belongs to the real root.
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")

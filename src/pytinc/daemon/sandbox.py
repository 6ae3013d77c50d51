"""The sandbox of the daemon: restricts its access to files once the daemon is set up.

See docs/deployment.md, "Sandbox". `enter` is called once, after the privileges are dropped.
`pytinc.daemon.helper` performs the operations that the sandbox forbids and the daemon needs.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Final

import pytinc
from pytinc.daemon import landlock
from pytinc.daemon.landlock import Access
from pytinc.daemon.privileges import keep_capabilities
from pytinc.errors import DeviceError
from pytinc.net.log import LogFunction, reason

_READ: Final = Access.READ_FILE | Access.READ_DIR
_CHANGE: Final = (
    _READ | Access.WRITE_FILE | Access.TRUNCATE | Access.MAKE_REG | Access.REMOVE_FILE | Access.REFER
)
_SYSTEM: Final = ("/etc", "/usr", "/lib", "/lib64", "/sys/devices/system/cpu", "/dev/urandom")
"""Programs and libraries, and the settings of name services and the time zone: read only."""
_RESOLVER: Final = "/etc/resolv.conf"
_THREADS_END_S: Final = 1.0
"""How long the kernel may take to end threads that Python has joined."""
_THREADS_OF_NUMPY: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def is_possible() -> bool:
    """Return whether the kernel can restrict this process."""
    return landlock.version() > 0


def enter(level: str, confbase: str, log: LogFunction) -> None:
    """Restrict this process permanently: ``level`` is ``normal`` or ``high``. Raises `DeviceError`.

    ``confbase`` is the configuration directory as this process sees it: empty in another root directory.
    """
    if older := _other_threads():
        log(0, "warning", f"Sandbox = {level}: {older} threads are older than it and not restricted")
    try:
        keep_capabilities()
        landlock.restrict(rules(level, confbase))
    except OSError as error:
        raise DeviceError(f"Could not enter the sandbox: {reason(error)}") from error
    log(0, "info", f"Entered the sandbox at level {level} (Landlock {landlock.version()})")


def rules(level: str, confbase: str) -> list[tuple[str, Access]]:
    """Return the paths that the daemon may use, each with its rights."""
    # A program that the daemon starts itself (only the one for UPnP) stays in the sandbox.
    read = _READ | Access.EXECUTE if level == "normal" else _READ
    system = [(path, read) for path in (*_SYSTEM, *_python())]
    # The file is replaced when the network changes, so the rule names its directory.
    resolver = str(Path(os.path.realpath(_RESOLVER)).parent)
    certificates = [(path, _READ) for path in _authorities()]
    own = [(confbase or "/", _READ), (f"{confbase}/hosts", _READ)]
    changed = [(f"{confbase}/{name}", _CHANGE) for name in ("cache", "invitations")]
    return [
        *system,
        *certificates,
        (resolver, _READ),
        ("/dev/null", _READ | Access.WRITE_FILE),
        *own,
        *changed,
    ]


def _python() -> set[str]:
    """Return where Python's modules are: some are loaded at first use."""
    sites = {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(pytinc.__file__).parents[1]), *sites}


def _authorities() -> set[str]:
    """Return where the certificates of authorities are, which checks by HTTPS read at their first use.

    Some systems have them in /var, behind a link.
    """
    paths = ssl.get_default_verify_paths()
    named = {paths.cafile, paths.capath, paths.openssl_cafile, paths.openssl_capath} - {None}
    return {os.path.realpath(path) for path in named if path}


def _other_threads() -> int:
    """Return how many threads there are beside this one, those of libraries included.

    A thread that Python has joined is there a little longer for the kernel, and longest on a busy machine: so
    this waits for it, up to a second.
    """
    deadline = time.monotonic() + _THREADS_END_S
    while (others := _threads() - 1) and time.monotonic() < deadline:
        time.sleep(0.001)
    return others


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - only their number counts
    except OSError:  # no /proc, as in another root directory
        return threading.active_count()


def load_numpy() -> None:
    """Load numpy, if available, so that its library for linear algebra starts no threads.

    We do not use them, and they would be older than the sandbox.
    """
    before = {name: os.environ.get(name) for name in _THREADS_OF_NUMPY}
    os.environ.update(dict.fromkeys(_THREADS_OF_NUMPY, "1"))
    with contextlib.suppress(ImportError):
        importlib.import_module("numpy")
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value

"""Steps that need root, and giving up its rights.

See docs/tinc-program.md, "Start" and "Signals and privileges".
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import importlib
import os
import pwd
import resource
import time
from pathlib import Path
from typing import Final

from pytinc.errors import ConfigError, DeviceError
from pytinc.net.log import reason

_NICE: Final = {"low": 10, "normal": 0, "high": -10}
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_NEEDED_LATER: Final = (
    "concurrent.futures.thread",
    "construct",
    "cryptography.hazmat.backends.openssl.backend",
    "difflib",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.punycode",
    "pytinc.wire.address_cache",
)
"""Modules that we and the libraries load at first use; in a chroot they would not be found."""
_KEPT_CAPABILITIES: Final = sum(
    1 << number
    for number in (
        1,  # CAP_DAC_OVERRIDE: files of the configuration may belong to another user
        10,  # CAP_NET_BIND_SERVICE
        12,  # CAP_NET_ADMIN: addresses of virtual IPs, marks of packets
        13,  # CAP_NET_RAW: BindToInterface
        14,  # CAP_IPC_LOCK: --mlock
    )
)
_CAPABILITY_VERSION: Final = 0x20080522
_DIRECTORIES: Final = (("", 0o755), ("cache", 0o755), ("hosts", 0o755), ("invitations", 0o700))


def lock_memory(*, gives_up_root: bool) -> None:
    """Keep all memory, present and future, from being swapped out. Raises `DeviceError`.

    ``gives_up_root``: the process will change its user (--user), and then gets no memory beyond
    RLIMIT_MEMLOCK. The usual limit is a few megabytes, so it is lifted first.
    """
    if gives_up_root:
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (OSError, ValueError):
            limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
            raise DeviceError(
                f"--mlock with --user: the limit of {limit} bytes of locked memory cannot be raised here; "
                "the daemon would run out of memory at once. Raise it first (LimitMEMLOCK, ulimit -l)"
            ) from None
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        raise DeviceError(f"System call `mlockall' failed: {os.strerror(ctypes.get_errno())}")


def set_priority(word: str) -> None:
    """Set the process priority: low, normal or high. Raises `ConfigError`."""
    nice = _NICE.get(word.lower())
    if nice is None:
        raise ConfigError(f"Invalid priority `{word}`!")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError as error:
        raise ConfigError(f"System call `setpriority' failed: {reason(error)}") from error


def prepare_directories(confbase: str) -> None:
    """Make the directories that the daemon writes to; set their modes and that of ``confbase``. No errors."""
    for name, mode in _DIRECTORIES:
        path = Path(confbase, name) if name else Path(confbase or "/")
        with contextlib.suppress(OSError):
            path.mkdir(mode=mode, exist_ok=True)
            path.chmod(mode)


def drop_privileges(user: str | None, chroot_to: str | None) -> None:
    """Change to ``user`` and make ``chroot_to`` the root directory, if given. Raises `DeviceError`."""
    account = None if user is None else _account(user)
    try:
        if account is not None:
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
        if chroot_to is not None:
            _load_what_is_needed_later()
            os.chroot(chroot_to)
            os.chdir("/")
        if account is not None:
            os.setuid(account.pw_uid)
    except OSError as error:
        raise DeviceError(f"Could not drop privileges: {reason(error)}") from error


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def keep_capabilities() -> None:
    """Give up permanently, in this thread, all of root's rights except those that a running daemon needs.

    Raises `OSError`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
    data = (_CapabilityData * 2)()
    if libc.capget(ctypes.byref(header), data) == 0:
        for number, half in enumerate(data):
            half.permitted &= _KEPT_CAPABILITIES >> 32 * number & 0xFFFFFFFF
            half.effective &= half.permitted
            half.inheritable = 0
        if libc.capset(ctypes.byref(header), data) == 0:
            return
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise DeviceError(f"unknown user `{user}'") from None


def _load_what_is_needed_later() -> None:
    time.tzset()
    time.localtime()
    with contextlib.suppress(KeyError):
        grp.getgrgid(os.getgid())  # loads the name services of the C library, which are files, too
    for module in _NEEDED_LATER:
        importlib.import_module(module)

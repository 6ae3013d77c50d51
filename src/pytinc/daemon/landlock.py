"""Landlock: the kernel permanently restricts what this process may do with files.

Plain system calls by ctypes: there are three, their numbers are the same on every architecture, and no
library for them is maintained. See https://docs.kernel.org/userspace-api/landlock.html.

Only the calling thread is restricted, and the threads and processes that it starts later.
"""

from __future__ import annotations

import ctypes
import enum
import os
import stat
import struct
from collections.abc import Iterable
from typing import Final

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
"""Flag of the first call: return the version of the interface."""
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_SCOPES: Final = 3
"""Abstract UNIX sockets and signals of processes outside cannot be reached."""
_SCOPES_SINCE: Final = 6


class Access(enum.IntFlag):
    """What may be done with a file, or with all files and directories beneath a directory."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


_FOR_FILES: Final = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
_SINCE: Final = {Access.REFER: 2, Access.TRUNCATE: 3, Access.IOCTL_DEV: 5}
"""The first versions that know these rights; all versions know the others."""


_RULESET: Final = struct.Struct("=QQQ")
"""The restricted rights: files, network, scopes."""
_RULE: Final = struct.Struct("=Qi")
"""The rights that are allowed beneath a path, and a descriptor of the path."""


def version() -> int:
    """Return the version of the kernel's interface; 0 if the kernel has none, or has it switched off."""
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def known(version: int) -> Access:
    """Return what a version of the interface can restrict."""
    return Access(sum(access for access in Access if _SINCE.get(access, 1) <= version))


def restrict(allowed: Iterable[tuple[str, Access]]) -> None:
    """Restrict this thread to the rights that are given for each path and everything beneath it.

    A path that does not exist is skipped. Open files stay usable. Raises `OSError`.
    """
    number = version()
    everything = known(number)
    attributes = _RULESET.pack(everything, 0, _SCOPES if number >= _SCOPES_SINCE else 0)
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, access in allowed:
            _allow(ruleset, path, access & everything)
        # Programs with the set-user-id bit give no rights any more: the kernel demands this.
        _checked(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: Access) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            access &= _FOR_FILES
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, _RULE.pack(access, beneath), 0)
    finally:
        os.close(beneath)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """Make a system call; raises `OSError`."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return _checked(_libc().syscall(ctypes.c_long(number), *words))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result

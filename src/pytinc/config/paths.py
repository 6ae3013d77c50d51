"""Where everything is: configuration base, pid file, control socket, log file.

See docs/tinc-program.md, "Paths" and "Options of the daemon".

The command and the daemon follow different rules; each calls its own function here once it has its options.
The disk is read only to find out which files may be used.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Final

from pytinc.errors import ConfigError
from pytinc.wire.names import is_safe_netname, is_valid_netname

SYSCONFDIR: Final = "/etc"
LOCALSTATEDIR: Final = "/var"


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths and names that follow from the options. ``ident`` is the prompt and the name in logs."""

    confdir: str
    """The directory of all networks."""
    confbase: str
    """The directory of this network's configuration."""
    pidfile: str
    socket: str
    logfile: str
    """The default log file; for the daemon, the given one if any."""
    netname: str | None
    ident: str
    warnings: tuple[str, ...] = ()
    """Messages for the user about the choice."""


def chosen_netname(given: str | None) -> str | None:
    """Return the network name: ``given`` by -n, else from NETNAME; None if that is empty or ``.``.

    Raises `ConfigError` if it is not valid as the name of a directory.
    """
    return _checked_netname(os.environ.get("NETNAME") if given is None else given)


def cli_paths(netname: str | None, confbase: str | None, pidfile: str | None) -> Paths:
    """Return the command's paths: those of a running daemon if one can be found.

    See docs/tinc-program.md, "Paths".

    ``netname`` None means none (see `chosen_netname`); relative paths stay as they are. Raises `ConfigError`.
    """
    netname = _checked_netname(netname)
    base = _confbase(netname, confbase)
    system = os.access(_system_pidfile(netname), os.R_OK) or not os.access(f"{base}/pid", os.R_OK)
    return _paths(netname, base, pidfile, None, system=system, warnings=_both_given(netname, confbase))


def daemon_paths(
    netname: str | None, confbase: str | None, pidfile: str | None, logfile: str | None = None
) -> Paths:
    """Return the daemon's paths, all absolute: call it before the working directory changes.

    See docs/tinc-program.md, "Options of the daemon".

    ``netname`` None means none (see `chosen_netname`). Raises `ConfigError`.
    """
    netname = _checked_netname(netname)
    base = _confbase(netname, None if confbase is None else absolute(confbase))
    warnings = _both_given(netname, confbase)
    if netname is not None and not is_safe_netname(netname):
        warnings += (f"Warning: unsafe character in netname {netname}",)
    state = _localstatedir()
    system = os.access(state, os.R_OK | os.W_OK | os.X_OK)
    if not system:
        why = f"Could not use {state} ({_why_not(state)})"
        warnings += (f"{why}: the pid file is {base}/pid, and with --logfile the log is {base}/log",)
    return _paths(
        netname,
        base,
        None if pidfile is None else absolute(pidfile),
        None if logfile is None else absolute(logfile),
        system=system,
        warnings=warnings,
    )


def _why_not(directory: str) -> str:
    """Return the system's words for why we may not use a directory."""
    try:
        os.listdir(directory)  # noqa: PTH208  only its failure counts
    except OSError as error:
        return error.strerror or str(error)
    read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if read_only else errno.EACCES)


def absolute(path: str) -> str:
    """Return ``path`` made absolute as in tinc: resolved if it exists, else appended to the directory."""
    if not path or path.startswith("/"):
        return path
    return os.path.realpath(path) if os.path.exists(path) else f"{os.getcwd()}/{path}"  # noqa: PTH110


def socket_path(pidfile: str) -> str:
    """Return the path of the control socket, which follows from that of the pid file."""
    if pidfile.endswith(".pid") and pidfile != ".pid":
        return pidfile.removesuffix(".pid") + ".socket"
    return pidfile + ".socket"


def _paths(
    netname: str | None,
    confbase: str,
    pidfile: str | None,
    logfile: str | None,
    *,
    system: bool,
    warnings: tuple[str, ...],
) -> Paths:
    ident = _ident(netname)
    if pidfile is None:
        pidfile = _system_pidfile(netname) if system else f"{confbase}/pid"
    if logfile is None:
        logfile = f"{_localstatedir()}/log/{ident}.log" if system else f"{confbase}/log"
    return Paths(_confdir(), confbase, pidfile, socket_path(pidfile), logfile, netname, ident, warnings)


def _checked_netname(netname: str | None) -> str | None:
    if netname in (None, "", "."):
        return None
    if not is_valid_netname(netname):
        raise ConfigError("Invalid character in netname!")
    return netname


def _both_given(netname: str | None, confbase: str | None) -> tuple[str, ...]:
    if netname is None or confbase is None:
        return ()
    return ("Both netname and configuration directory given, using the latter...",)


def _confdir() -> str:
    return os.environ.get("PYTINC_SYSCONFDIR", SYSCONFDIR) + "/tinc"


def _localstatedir() -> str:
    return os.environ.get("PYTINC_LOCALSTATEDIR", LOCALSTATEDIR)


def _confbase(netname: str | None, given: str | None) -> str:
    if given is not None:
        return given
    return _confdir() if netname is None else f"{_confdir()}/{netname}"


def _ident(netname: str | None) -> str:
    return "tinc" if netname is None else f"tinc.{netname}"


def _system_pidfile(netname: str | None) -> str:
    return f"{_localstatedir()}/run/{_ident(netname)}.pid"

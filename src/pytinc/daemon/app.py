"""pytincd: the start of the daemon, up to the point where it begins to wait for events.

See docs/tinc-program.md, "Options of the daemon" and "Start".

`main` is the console script. Steps 1 to 11 of the start are here, in order. They load neither asyncio nor the
node, because one of them forks. From step 12 on, `pytinc.daemon.service` runs the daemon.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

import pytinc
from pytinc.config.building import SANDBOX_LEVELS
from pytinc.config.parser import Pool
from pytinc.config.paths import chosen_netname, daemon_paths
from pytinc.config.store import ConfigTree
from pytinc.config.values import parse_integer
from pytinc.daemon.detach import detach
from pytinc.daemon.first_process import leave_first_process
from pytinc.daemon.launch import Launch
from pytinc.daemon.logging_setup import (
    TRACE_LEVEL,
    DaemonLog,
    FileTarget,
    StderrTarget,
    SyslogTarget,
    UmbilicalTarget,
    trace_lines,
    unexpected,
)
from pytinc.daemon.options import Options, help_text, parse_options
from pytinc.daemon.umbilical import Umbilical
from pytinc.errors import ConfigError, PytincError
from pytinc.standard_streams import repair_standard_streams
from pytinc.wire.version import version_of

_EARLY_IDENT: Final = "tinc"
_FEATURES: Final = (
    ("comp_lzo", "lzallright"),
    ("comp_zlib", "zlib"),
    ("comp_lz4", "lz4"),
    ("miniupnpc", "miniupnpc"),
)
"""Words of the line ``Features:`` and the library that each needs; what needs none is always there."""
_IGNORED_SIGNALS: Final = (signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon with the given command line, by default that of the program; return the exit status."""
    repair_standard_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    program = Path(sys.argv[0]).name if sys.argv[0] not in ("", "-c") else "pytincd"
    if program == "__main__.py":
        program = "pytincd"
    try:
        options = parse_options(words, program)
    except click.ClickException as error:
        _complain(f"{program}: {error.format_message()}")
        _complain(f"Try `{program} --help' for more information.")
        return 1
    if options.show_version:
        sys.stdout.write(version_text())
        return 0
    if options.show_help:
        sys.stdout.write(help_text(program))
        return 0
    # Before the main loop, Ctrl-C ends the daemon at once, without a Python traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        launch = _launch(options)
    except PytincError as error:
        _complain(str(error))
        return 1
    try:
        return _run(launch)
    finally:
        launch.log.uninstall()
        if launch.umbilical is not None:
            launch.umbilical.close()


def version_text() -> str:
    """Return the text of ``--version``; other programs read the line ``Features:``."""
    features = [word for word, library in _FEATURES if importlib.util.find_spec(library)]
    return version_of("pytincd", [*features, "sandbox", "vde", "watchdog"])


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


# -- steps 1 to 6 --


def _launch(options: Options) -> Launch:
    """Determine the paths, change the directory, open the log. Raises `PytincError`."""
    paths = daemon_paths(chosen_netname(options.netname), options.confbase, options.pidfile, options.logfile)
    tree = ConfigTree(paths.confbase, options.settings)
    try:
        os.chdir(paths.confbase)
    except OSError as error:
        text = f"Could not change to configuration directory {paths.confbase}: {error.strerror}"
        raise ConfigError(text) from error
    umbilical = Umbilical.find(os.environ)
    foreground = options.foreground or _is_activated()
    log = DaemonLog(_EARLY_IDENT, options.debug_level)
    log.install()
    has_file = options.log_to_file and _add_file(log, paths.logfile)
    if umbilical is not None and not foreground:
        # The program that started the daemon shows this on standard error, which is also ours: once is
        # enough.
        log.add(UmbilicalTarget(umbilical.write, coloured=umbilical.coloured))
    elif not has_file:
        log.add(StderrTarget())
    for warning in paths.warnings:
        log(0, "warning", warning)
    inherited = _inherited_sockets() if foreground else 0
    return Launch(options, paths, tree, log, umbilical, foreground, inherited_sockets=inherited)


def _add_file(log: DaemonLog, path: str) -> bool:
    try:
        log.add(FileTarget(path, log.ident))
    except OSError as error:
        _complain(f"Could not open log file {path}: {error.strerror}")
        return False
    return True


def _is_activated() -> bool:
    """Return whether the service manager passed sockets to this process; remove its variable."""
    return os.environ.pop("LISTEN_PID", None) == str(os.getpid())


def _inherited_sockets() -> int:
    word = os.environ.pop("LISTEN_FDS", "")
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 6 else 0


# -- steps 7 to 11 --


def _run(launch: Launch) -> int:
    log = launch.log
    try:
        _read_configuration(launch)
        _go_into_background(launch)
        if launch.options.mlock:
            from pytinc.daemon.privileges import lock_memory

            lock_memory(gives_up_root=launch.options.user is not None)
        from pytinc.daemon.service import Service

        return Service(launch).run()
    except PytincError as error:
        log(0, "error", str(error))
    except Exception as error:
        log(0, "critical", unexpected(error))
        for line in trace_lines(error):
            log(TRACE_LEVEL, "debug", line)
    return 1


def _read_configuration(launch: Launch) -> None:
    """Read what the start needs, and the debug level; the rest is read again in the background."""
    pool = launch.tree.read_server()
    launch.sandbox = _sandbox(pool)
    entry = pool.first("LogLevel")
    if launch.log.level == 0 and entry is not None:
        launch.log.level = parse_integer(entry.value) or 0


def _sandbox(pool: Pool) -> str:
    """Return the word of Sandbox. Raises `ConfigError`."""
    entry = pool.first("Sandbox")
    word = "off" if entry is None else entry.value.lower()
    if entry is not None and word not in SANDBOX_LEVELS:
        raise ConfigError(f"Bad sandbox value {entry.value}!")
    return word


def _go_into_background(launch: Launch) -> None:
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    try:
        if launch.foreground:
            leave_first_process()
        else:
            detach()
    except OSError as error:
        raise ConfigError(f"Couldn't start another process: {error.strerror}") from error
    _reopen_log(launch)
    launch.log(0, "notice", f"tincd {pytinc.__version__} (pytinc) starting, debug level {launch.log.level}")


def _reopen_log(launch: Launch) -> None:
    """Start the log again with its final target and identity (docs/tinc-program.md, "Log")."""
    log, options = launch.log, launch.options
    level = log.level
    log.uninstall()
    log.ident = launch.paths.ident
    log.install()
    log.level = level
    if options.log_to_file:
        _add_file(log, launch.paths.logfile)
    elif options.syslog or not launch.foreground:
        log.add(SyslogTarget(log.ident))
    else:
        log.add(StderrTarget())
    if launch.umbilical is not None and not launch.foreground:
        log.add(UmbilicalTarget(launch.umbilical.write, coloured=launch.umbilical.coloured))

"""start, stop and restart: the life of the daemon's process (docs/tinc-program.md, "start and stop")."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytinc.cli.port import is_udp_port
from pytinc.cli.session import say
from pytinc.cli.text import wants_colour
from pytinc.control.client import NoDaemonError
from pytinc.errors import ConfigError, ControlError, PytincError

if TYPE_CHECKING:
    from pytinc.cli.session import Session

_CHUNK = 4096


def start(session: Session, words: list[str]) -> int:
    """Start the daemon; return when it has finished its start-up or failed."""
    try:
        pid = session.client().pid
    except ControlError:
        pass
    else:
        net = f" for net `{session.netname}'" if session.netname else ""
        say(f"A tincd is already running{net} with pid {pid}.")
        return 0
    return _start(session, words)


def _start(session: Session, words: list[str]) -> int:
    if not _names_a_network(words) and (hint := session.missing_network()):
        raise click.ClickException(hint)
    command = [*daemon_command(session.program), *session.daemon_options, *words]
    try:
        succeeded = _run_with_umbilical(command)
    except OSError as error:
        raise click.ClickException(f"Error starting {command[0]}: {error.strerror}") from error
    if not succeeded:
        raise click.ClickException(f"Error starting {command[0]}")
    return 0


def _names_a_network(words: Sequence[str], *more: str) -> bool:
    """Tell whether the daemon's options name a network or directory (``-n``, ``-c``), or are in ``more``."""
    left = iter(words)
    for word in left:
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, _ = word.partition("=")
            if any(_abbreviates(name, full) for full in ("--net", "--config", *more)):
                return True
            if not equals and any(_abbreviates(name, full) for full in ("--option", "--user", "--pidfile")):
                next(left, None)
        elif word.startswith("-"):
            taker, value = _option_with_value(word[1:])
            if taker in ("c", "n"):
                return True
            if taker in ("o", "U") and not value:
                next(left, None)
    return False


def _option_with_value(letters: str) -> tuple[str, str]:
    """Return the option among letters that stand together which takes a value, and the rest, its value."""
    for index, letter in enumerate(letters):
        if letter in "cdnoU":
            return letter, letters[index + 1 :]
    return "", ""


def _abbreviates(word: str, option: str) -> bool:
    """Tell whether a word is a long option or the beginning of it; with one letter it would be ambiguous."""
    return len(word) > len("--x") and option.startswith(word)


def stop(session: Session, words: list[str]) -> int:
    """Stop the daemon and wait until it has ended."""
    try:
        client = session.client()
    except NoDaemonError as error:
        if error.pid is None:
            raise
        say(str(error))
        return _terminate(error.pid)
    client.stop()
    session.disconnect()
    return 0


def restart(session: Session, words: list[str]) -> int:
    """Stop the daemon, if there is one, and start it with the given options.

    Departures from tinc: a daemon goes on if the new one could not use the configuration, and the new one
    stops it only when it is ready to take its place.
    """
    try:
        session.client()
    except (PytincError, click.ClickException):
        pass
    else:
        if not words:  # options may set what the files do not
            _check_configuration(session)
        session.disconnect()
        if not _names_a_network(words, "--pidfile"):
            return _start(session, ["--replace", *words])
    try:
        stop(session, [])
    except (PytincError, click.ClickException) as error:
        say(str(error))
    return start(session, words)


def _check_configuration(session: Session) -> None:
    """Raise an error if a daemon would not start with it."""
    tree = session.tree
    try:
        settings = tree.load_settings()
        tree.private_key_text()
        if not is_udp_port(settings.port):
            raise ConfigError(f"There is no UDP port {settings.port}")
    except ConfigError as error:
        raise click.ClickException(f"{error}\nThe daemon is not restarted, and runs on.") from error


def daemon_command(program: str) -> list[str]:
    """Return the command for pytincd: the program beside this one, else that of PATH, else the module."""
    directory, slash, _ = program.rpartition("/")
    if slash:
        beside = Path(directory or "/") / "pytincd"
        if os.access(beside, os.X_OK):
            return [str(beside)]
    elif found := shutil.which("pytincd"):
        return [found]
    return [sys.executable, "-m", "pytinc.daemon"]


def _run_with_umbilical(command: list[str]) -> bool:
    """Run the daemon and copy what it says to stderr; return whether it reported success.

    See docs/tinc-program.md, "Umbilical".

    We read until the daemon closes its end: after ``Ready`` and a NUL byte, or when it fails.
    """
    ours, theirs = os.pipe()
    try:
        os.set_inheritable(theirs, True)
        environment = {**os.environ, "TINC_UMBILICAL": f"{theirs} {int(wants_colour(sys.stderr))}"}
        try:
            # The daemon inherits what we inherited: DeviceType = fd may need it. Nothing else of
            # ours can, because Python makes its descriptors close on exec.
            child = subprocess.Popen(command, close_fds=False, env=environment)
        finally:
            os.close(theirs)
        # From here on Ctrl-C is for the daemon: in the foreground it ends the daemon, and so us.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            ready = _copy_to_stderr(ours)
            return child.wait() == 0 and ready
        finally:
            signal.signal(signal.SIGINT, before)
    finally:
        os.close(ours)


def _copy_to_stderr(source: int) -> bool:
    ready = False
    while data := os.read(source, _CHUNK):
        ready = data.endswith(b"\0")
        sys.stderr.write(data.removesuffix(b"\0").decode("utf-8", "surrogateescape"))
        sys.stderr.flush()
    return ready


def _terminate(pid: int) -> int:
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError as error:
        raise click.ClickException(
            f"Could not send TERM signal to process with PID {pid}: {error.strerror}"
        ) from error
    say(f"Sent TERM signal to process with PID {pid}.")
    return 0

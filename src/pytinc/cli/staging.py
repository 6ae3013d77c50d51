"""Making a configuration directory that is either complete or absent, however the program ends.

`init` and `join` use it. Files are first written beside their final place, where no program looks for them. A
new directory appears by one rename. Into one that exists already, the files are moved one by one, and
tinc.conf, which makes it a configuration, comes last.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import click

from pytinc.cli.session import say

DIRECTORY_MODE: Final = 0o755
_LAST: Final = "tinc.conf"
_SIGNALS: Final = (signal.SIGHUP, signal.SIGTERM)


def make_directory(path: Path) -> None:
    """Make a directory and its parents; if it exists, set the same mode."""
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o7777 != DIRECTORY_MODE:
        path.chmod(DIRECTORY_MODE)


class Staging:
    """The directory ``path`` that will become ``final``, or whose files move there if ``final`` exists."""

    def __init__(self, final: Path) -> None:
        self.final = final
        # In the same file system, so that files can be renamed. The dot hides it from `network`.
        self._exists = final.exists()
        suffix = f"{os.getpid()}-{os.urandom(4).hex()}"
        name = f".new-{suffix}" if self._exists else f".{final.name}.{suffix}"
        self.path = (final if self._exists else final.parent) / name
        self.keep = ""
        """If set, a failure removes nothing; the user sees this text and the path."""

    def publish(self) -> None:
        """Move everything to its final place. Raises `OSError`; `click.ClickException` if that is taken."""
        for path in [*self.path.rglob("*"), self.path]:
            _write_back(path)
        if (self.final / _LAST).exists():
            raise click.ClickException(f"Configuration file {self.final / _LAST} already exists!")
        if self._exists:
            self._move_in()
        else:
            self.path.rename(self.final)
        _write_back(self.final.parent)

    def _move_in(self) -> None:
        make_directory(self.final)
        # Sorted, so that a directory is made before its files.
        paths = sorted(path for path in self.path.rglob("*") if path != self.path / _LAST)
        for path in paths:
            target = self.final / path.relative_to(self.path)
            if path.is_dir():
                make_directory(target)
            else:
                path.replace(target)
        for directory in {self.final / path.relative_to(self.path).parent for path in paths}:
            _write_back(directory)
        (self.path / _LAST).replace(self.final / _LAST)
        _write_back(self.final)
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def staged(final: Path) -> Iterator[Staging]:
    """Make a directory that the caller fills and publishes. A failure removes it, unless ``keep`` is set.

    SIGTERM and SIGHUP end the program only after that. A directory that SIGKILL leaves behind does no harm.
    """
    staging = Staging(final)
    with ended_by_signals():
        try:
            make_directory(staging.path)
            yield staging
        except BaseException:
            if staging.keep and staging.path.exists():
                say(f"{staging.keep} {staging.path}")
            else:
                shutil.rmtree(staging.path, ignore_errors=True)
            raise


# -- signals -----------------------------------------------------------------------------------------------


class _Ended(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise an exception in the block, so that it cleans up; then die of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A signal that was ignored (nohup) stays ignored.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    caught = [number for number in _SIGNALS if before[number] is not signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> None:
        for other in caught:
            signal.signal(other, signal.SIG_IGN)
        raise _Ended(number)

    try:
        for number in caught:
            signal.signal(number, end)
        yield
    except _Ended as ended:
        signal.signal(ended.number, signal.SIG_DFL)
        os.kill(os.getpid(), ended.number)
    finally:
        for number in caught:
            signal.signal(number, before[number])


# -- the disk ----------------------------------------------------------------------------------------------


def _write_back(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

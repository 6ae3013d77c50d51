"""The daemon's end of its helper process, which performs the operations that the sandbox forbids.

The other end is `pytinc.daemon.helper_process`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, Final

from pytinc.config.store import ConfigTree
from pytinc.daemon.helper_process import MAX_REQUEST, HelperProcess, receive
from pytinc.daemon.logging_setup import unexpected
from pytinc.errors import ConfigError, DeviceError
from pytinc.net.script_check import GONE_WITHIN

PATIENCE: Final = 10.0
"""Seconds to wait for an answer, or for the end of the helper, whose work never takes long."""
MAX_LAST_WORDS: Final = 1000
"""Most characters of a helper's error message."""
_MAX_DESCRIPTORS: Final = 65536
"""No descriptor is higher at the start of the daemon."""


class Helper:
    """The helper process of this daemon. Requests may come from any thread."""

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self._channel = channel
        self._pid = pid
        self._lock = threading.Lock()
        """Held until there is an answer."""
        self._last_words: str | None = None
        """Why the helper ended, if it said so."""
        self._is_watched = False
        self._numbers = itertools.count()
        channel.settimeout(PATIENCE)

    @classmethod
    def start(cls) -> Helper:
        """Fork. This must happen before there is a thread, an event loop or a key. Raises `DeviceError`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = os.fork()
        except OSError as error:
            raise DeviceError(f"Couldn't start another process: {error.strerror}") from error
        if pid == 0:
            _live(theirs)
        theirs.close()
        return cls(ours, pid)

    def watch(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[str], None]) -> None:
        """Call ``on_end`` once with the reason if the helper ends before the daemon does."""
        descriptor = os.pidfd_open(self._pid)
        self._is_watched = True

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            if self._is_watched:
                on_end(self._why_it_ended())

        loop.add_reader(descriptor, ended)

    def _why_it_ended(self) -> str:
        with contextlib.suppress(OSError, ValueError), self._lock:
            self._channel.settimeout(0)
            while self._last_words is None:
                _, descriptors = self._receive()
                for descriptor in descriptors:
                    os.close(descriptor)
        if self._last_words is not None:
            return self._last_words
        with contextlib.suppress(ChildProcessError):
            status = os.waitstatus_to_exitcode(os.waitpid(self._pid, os.WNOHANG)[1])
            if status < 0:
                return f"killed by signal {-status} ({signal.strsignal(-status) or 'unknown'})"
            return f"exit status {status}"
        return "unknown reason"

    def close(self) -> None:
        """End the helper, and wait for that."""
        self._is_watched = False
        self._channel.close()
        until = time.monotonic() + PATIENCE
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self._pid, os.WNOHANG) == (0, 0) and time.monotonic() < until:
                time.sleep(0.01)

    # -- requests with an answer --

    def set_up(self, **facts: object) -> None:
        """Tell the helper the settings that apply from now on. Raises `DeviceError`."""
        try:
            self._ask({"do": "set up", **facts})
        except ConfigError as error:
            raise DeviceError(str(error)) from error

    def append_public_key(self, name: str, key: str) -> None:
        """Do what `ConfigTree.append_public_key` does."""
        self._ask({"do": "append_public_key", "name": name, "key": key})

    def add_host(self, name: str, key: str) -> bool:
        """Do what `ConfigTree.add_host` does."""
        return bool(self._ask({"do": "add_host", "name": name, "key": key})["made"])

    def remove_run_files(self) -> None:
        """Remove pid file and socket."""
        with contextlib.suppress(ConfigError):
            self._ask({"do": "remove_run_files"})

    def open_log(self, path: str) -> int:
        """Open the log file again; its path was set at the start. Raises `OSError`."""
        try:
            return int(self._ask({"do": "open_log"})["descriptor"])
        except ConfigError as error:
            raise OSError(str(error)) from error

    def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Return the answer. Raises `ConfigError`."""
        with self._lock:
            number = next(self._numbers)
            try:
                self._channel.send(json.dumps({**request, "number": number}).encode())
                answer, descriptors = self._receive()
                while answer["number"] != number:  # the late answer to a request that was given up
                    for descriptor in descriptors:
                        os.close(descriptor)
                    answer, descriptors = self._receive()
            except (OSError, ValueError) as error:
                raise ConfigError("the helper process does not answer") from error
        if "error" in answer:
            raise ConfigError(answer["error"])
        return {**answer, "descriptor": descriptors[0]} if descriptors else dict(answer)

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        data, descriptors = receive(self._channel, 1)
        answer = json.loads(data)
        if "ends" in answer:
            self._last_words = str(answer["ends"])
            raise ValueError(self._last_words)
        return answer, descriptors

    # -- processes --

    def run(self, kind: str, facts: Mapping[str, object], *streams: int) -> socket.socket:
        """Make the helper run a process; return the socket on which its status comes. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                ours.setblocking(False)
                request = json.dumps({"do": "run", "kind": kind, **facts}).encode()
                # No lock: there is no answer on this socket, and another thread may wait for one.
                socket.send_fds(self._channel, [request], [theirs.fileno(), *streams])
            except BaseException:
                ours.close()
                raise
        return ours

    async def run_script(self, file: str, environment: Mapping[str, str], *stderr: int) -> int:
        """Run a script of an event to its end; return its status. Raises `OSError`.

        ``stderr`` is the descriptor that it writes its errors to, if not to that of the helper.
        """
        with self.run("script", {"file": file, "environment": environment}, *stderr) as channel:
            return await _status(channel)

    def start_check(self, file: str, environment: Mapping[str, str]) -> HelperCheck:
        """Start the script of a health check. Raises `OSError`."""
        return HelperCheck(self.run("check", {"file": file, "environment": environment}))

    def start_proxy(self, command: str, environment: Mapping[str, str], stream: socket.socket) -> HelperProxy:
        """Start the command that carries a connection: it was set at the start. Raises `OSError`."""
        return HelperProxy(self.run("proxy", {"environment": environment}, stream.fileno()))


class HelperCheck:
    """The script of a health check (`pytinc.net.script_check.CheckProcess`)."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.status: int | None = None

    async def exited(self) -> int:
        """Wait for the end of the script; return its status. Raises `OSError`."""
        if self.status is None:
            self.status = await _status(self._channel)
        return self.status

    async def end(self) -> None:
        """Make the helper kill the processes that still run, and wait for the end for a limited time."""
        if self._channel.fileno() < 0:
            return
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(self.exited(), GONE_WITHIN)
        if self.status is not None:
            self._channel.close()


class HelperProxy:
    """A proxy command (`pytinc.net.proxy_command.ProxyProcess`)."""

    has_ended = True
    """The daemon need not wait, because the helper does."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def end(self) -> None:
        """Make the helper end it."""
        self._channel.close()

    def wait(self) -> None:
        """Do nothing."""


class SandboxTree(ConfigTree):
    """The configuration directory of a daemon in the sandbox: the helper writes its host files."""

    def __init__(self, confbase: str, options: Sequence[str], helper: Helper) -> None:
        super().__init__(confbase, options)
        self._helper = helper

    def append_public_key(self, name: str, key_text: str) -> None:
        """Add a learned public key to a node's host file. Raises `ConfigError`."""
        self._helper.append_public_key(name, key_text)

    def add_host(self, name: str, public_key: str) -> bool:
        """Make the host file of a new node as a whole; False if it exists already. Raises `ConfigError`."""
        return self._helper.add_host(name, public_key)


async def _status(channel: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    report = json.loads(
        await loop.sock_recv(channel, MAX_REQUEST) or '{"error": "the helper process is gone"}'
    )
    if "error" in report:
        raise OSError(report["error"])
    return int(report["status"])


def _live(channel: socket.socket) -> None:
    """Run as the helper process."""
    status = 1
    try:
        # It ends with the daemon, and not before. A handler, unlike SIG_IGN, does not stay for scripts.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, _nothing)
        # The program that started the daemon may have ignored it, and then no script would have an exit
        # status.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Close descriptors of the daemon: the log file, inherited sockets, the umbilical.
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, _MAX_DESCRIPTORS)
        HelperProcess(channel).run()
        status = 0
    except Exception as error:
        with contextlib.suppress(OSError):
            channel.send(json.dumps({"ends": unexpected(error)[:MAX_LAST_WORDS]}).encode())
    finally:
        os._exit(status)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal."""

"""The helper process of a daemon in the sandbox: it performs operations that the sandbox forbids.

It begins before the sandbox and stays outside, without any key. It trusts the daemon until the daemon enters
the sandbox (the first request), and not after that: it runs only scripts that lie in the configuration
directory, where the sandbox lets the daemon write none (its log file there is no script), and the proxy
command that was set at the start; it gives them only variables that scripts know; it makes host files of new
nodes and adds keys to others, reopens the log file, and removes pid file and socket.

`pytinc.daemon.helper` is the daemon's end. A request is one packet, a JSON object with ``do``; most have an
answer. A request to run a process comes with a socket: its status goes back there, and the end of the socket
means that the process is no longer needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytinc.config.store import PUBLIC_KEY_TEXT_LENGTH, ConfigTree
from pytinc.daemon.logging_setup import open_log_file
from pytinc.daemon.privileges import drop_privileges, set_priority
from pytinc.daemon.runfiles import RunFiles
from pytinc.errors import PytincError
from pytinc.net.log import reason
from pytinc.net.proxy_command import PROXY_END

MAX_REQUEST: Final = 65536
"""Bytes of a request or an answer."""
MAX_PROCESSES: Final = 256
"""Processes that run at once; the daemon's own limits are far lower."""
_FILE: Final = re.compile(r"[A-Za-z0-9._+-]+(?:/[A-Za-z0-9._+-]+)*", re.ASCII)
_NOT_IN: Final = ("cache", "invitations")
"""Directories in which the daemon may write: nothing in them is run."""
_KEY: Final = re.compile(rf"[A-Za-z0-9+/_-]{{{PUBLIC_KEY_TEXT_LENGTH}}}", re.ASCII)
_VARIABLES: Final = frozenset(
    (
        "CLIENTS", "DEBUG", "NODE", "OLDNODE", "OWNER", "REASON", "REMOTEADDRESS", "REMOTEPORT", "SILENCE",
        "STATE", "SUBNET", "TERM", "VIP", "WEIGHT",
    )
)  # fmt: skip
"""The variables that the daemon may pass to a script: none of them changes the behaviour of a shell or
another program."""
_SHELL: Final = "/bin/sh"


@dataclass(slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    kind: str
    """script, check or proxy."""
    channel: socket.socket
    descriptor: int
    """Becomes readable when the process has ended."""
    wanted: bool = True
    ended: bool = False
    kill_at: float | None = None


class HelperProcess:
    """The helper's work; `run` returns when the daemon is gone."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._selector = selectors.DefaultSelector()
        self._running: list[_Running] = []
        self._set_up: dict[str, Any] = {}
        self._tree = ConfigTree("")
        self._log_path = ""
        """Of the log file, links resolved, as this process sees it; empty without one."""
        self._number: object = None
        """That of the request that is being handled; its answer has it, too."""

    def run(self) -> None:
        """Serve the daemon until it ends; then end the processes that only the daemon needs."""
        self._selector.register(self._channel, selectors.EVENT_READ, None)
        while self._serve_once():
            pass
        self._selector.unregister(self._channel)
        for running in list(self._running):
            if running.wanted:
                self._unwanted(running)
        while any(running.kind != "script" for running in self._running):
            self._look_at_processes()

    def _serve_once(self) -> bool:
        """Wait for work and do it; False at the end of the daemon."""
        ready = self._look_at_processes()
        if not ready:
            return True
        data, descriptors = receive(self._channel, 2)
        if not data:
            return False
        try:
            self._request(json.loads(data), descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _look_at_processes(self) -> bool:
        """Wait for an event, and handle those of processes; return whether there is a request."""
        deadlines = [running.kill_at for running in self._running if running.kill_at is not None]
        wait = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        is_asked = False
        for key, _ in self._selector.select(wait):
            running = key.data
            if running is None:
                is_asked = True
            elif running not in self._running:
                pass  # its end was reported just now
            elif key.fileobj == running.descriptor:
                self._ended(running)
            elif running.wanted:
                self._unwanted(running)
        for running in list(self._running):
            if running.kill_at is not None and running.kill_at <= time.monotonic():
                running.kill_at = None
                _kill(running, signal.SIGKILL)
        return is_asked

    # -- requests --

    def _request(self, request: Mapping[str, Any], descriptors: list[int]) -> None:
        self._number = request.get("number")
        match request["do"]:
            case "set up" if not self._set_up:
                self._answer(self._on_set_up(request))
            case "run" if descriptors:
                self._on_run(request, descriptors)
            case "append_public_key":
                self._answer(self._on_append(str(request["name"]), str(request["key"])))
            case "add_host":
                self._answer(self._on_add(str(request["name"]), str(request["key"])))
            case "open_log":
                self._on_open_log()
            case "remove_run_files":
                self._files.remove()
                self._answer({})

    def _answer(self, answer: Mapping[str, object], descriptors: tuple[int, ...] = ()) -> None:
        socket.send_fds(self._channel, [json.dumps({**answer, "number": self._number}).encode()], descriptors)

    def _on_set_up(self, request: Mapping[str, Any]) -> dict[str, object]:
        """Give up the same rights as the daemon, and take over the permanent settings."""
        log = os.path.realpath(request["log"]) if request["log"] else ""
        if request["chroot"]:
            log = log.removeprefix(os.path.realpath(request["confbase"]))
        try:
            if request["priority"] is not None:
                set_priority(request["priority"])
            drop_privileges(request["user"], request["confbase"] if request["chroot"] else None)
        except PytincError as error:
            return {"error": str(error)}
        self._set_up = dict(request)
        self._log_path = log
        self._tree = ConfigTree("" if request["chroot"] else request["confbase"])
        self._files = RunFiles.of([(path, (device, inode)) for path, device, inode in request["run_files"]])
        return {}

    def _on_append(self, name: str, key: str) -> dict[str, object]:
        try:
            self._tree.append_public_key(name, _checked_key(key))
        except PytincError as error:
            return {"error": str(error)}
        return {}

    def _on_add(self, name: str, key: str) -> dict[str, object]:
        try:
            return {"made": self._tree.add_host(name, _checked_key(key))}
        except PytincError as error:
            return {"error": str(error)}

    def _on_open_log(self) -> None:
        try:
            descriptor = open_log_file(self._set_up["log"])
        except (OSError, TypeError) as error:
            self._answer({"error": str(error)})
            return
        self._answer({}, (descriptor,))
        os.close(descriptor)

    # -- processes --

    def _on_run(self, request: Mapping[str, Any], descriptors: list[int]) -> None:
        channel = socket.socket(fileno=os.dup(descriptors[0]))
        try:
            kind = str(request["kind"])
            process = self._start(kind, request, descriptors[1:])
            running = _Running(process, kind, channel, os.pidfd_open(process.pid))
        except (OSError, PytincError) as error:
            text = reason(error) if isinstance(error, OSError) else str(error)
            _report(channel, {"error": text})
            channel.close()
            return
        self._running.append(running)
        self._selector.register(running.descriptor, selectors.EVENT_READ, running)
        self._selector.register(channel, selectors.EVENT_READ, running)

    def _start(self, kind: str, request: Mapping[str, Any], streams: list[int]) -> subprocess.Popen[bytes]:
        if self._set_up.get("level") != "normal" or len(self._running) >= MAX_PROCESSES:
            raise PytincError("no further process may run")
        given = {name: str(value) for name, value in request["environment"].items() if name in _VARIABLES}
        environment = {**os.environ, **self._set_up["environment"], **given}
        if kind == "proxy" and streams and self._set_up["proxy"]:
            command = self._set_up["proxy"]
            return subprocess.Popen(
                [_SHELL, "-c", command],
                stdin=streams[0],
                stdout=streams[0],
                env=environment,
                start_new_session=True,
            )
        command = self._script(str(request["file"]))
        if kind == "check":
            return subprocess.Popen(
                [_SHELL, "-c", command], stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        return subprocess.Popen(
            [_SHELL, "-c", command], env=environment, stderr=streams[0] if streams else None
        )

    def _script(self, file: str) -> str:
        """Return what the shell must run for a file of the configuration directory."""
        parts = file.split("/")
        # ScriptsExtension is the operator's, and may be anything.
        name = file.removesuffix(self._set_up["extension"])
        if (
            (_FILE.fullmatch(file) is None and _FILE.fullmatch(name) is None)
            or {".", ".."} & set(parts)
            or parts[0] in _NOT_IN
        ):
            raise PytincError(f"{file[:100]!r} is no name of a script")
        path = self._tree.path(file)
        # The daemon writes the log file, and may change its mode; old ones have its name and more.
        if self._log_path and os.path.realpath(path).startswith(self._log_path):
            raise PytincError(f"{file[:100]!r} is no name of a script: it begins like that of the log file")
        return script_command(path, self._set_up["interpreter"])

    def _unwanted(self, running: _Running) -> None:
        """The daemon does not want the process any more: a check or proxy ends, an event's script goes on."""
        running.wanted = False
        self._selector.unregister(running.channel)
        if running.kind == "proxy" and not running.ended:
            _kill(running, signal.SIGTERM)
            running.kill_at = time.monotonic() + PROXY_END
        elif running.kind != "script":
            _kill(running, signal.SIGKILL)
            self._settle(running)

    def _ended(self, running: _Running) -> None:
        running.ended = True
        self._selector.unregister(running.descriptor)
        self._settle(running)

    def _settle(self, running: _Running) -> None:
        """Report the end of a process. The rest of its process group is killed first.

        The process of a proxy stays unreaped until the daemon lets go of it, so that the number of its group
        is not used again.
        """
        if not running.ended or (running.kind == "proxy" and running.wanted):
            return
        if running.kind != "script":
            _kill(running, signal.SIGKILL)
        status = running.process.wait()
        if running.wanted:
            self._selector.unregister(running.channel)
        _report(running.channel, {"status": status})
        running.channel.close()
        os.close(running.descriptor)
        self._running.remove(running)


def receive(channel: socket.socket, most: int) -> tuple[bytes, list[int]]:
    """Receive a packet with up to ``most`` descriptors. Raises `OSError`."""
    data, descriptors, _, _ = socket.recv_fds(channel, MAX_REQUEST, most)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return data, descriptors


def script_command(path: str, interpreter: str | None) -> str:
    """Return what the shell must run for a script (docs/tinc-program.md, "Scripts")."""
    return f'{interpreter} "{path}"' if interpreter else f'"{path}"'


def _checked_key(text: str) -> str:
    if _KEY.fullmatch(text) is None:
        raise PytincError("this is no public key")
    return text


def _kill(running: _Running, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(running.process.pid, number)


def _report(channel: socket.socket, report: Mapping[str, object]) -> None:
    with contextlib.suppress(OSError):
        channel.send(json.dumps(report).encode())

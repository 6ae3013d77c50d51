"""`stop_predecessor`: a daemon stops the one whose place it takes (``pytincd --replace``).

The new process has loaded its modules and read its configuration by then, so that the network is without a
daemon for as short a time as possible. The old daemon may be tinc's.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from pytinc.config.paths import Paths
from pytinc.control.client import ControlClient, NoDaemonError
from pytinc.daemon.logging_setup import DaemonLog
from pytinc.errors import ControlError, DeviceError

PATIENCE_S: Final = 30.0
"""How long the process may go on after it has closed its control socket."""
_POLL_S: Final = 0.005


def stop_predecessor(paths: Paths, log: DaemonLog) -> None:
    """Stop the daemon of this network and wait for its end; without one, do nothing.

    Raises `DeviceError` if it does not end.
    """
    try:
        with ControlClient.connect(paths.pidfile, paths.socket) as client:
            log(0, "notice", f"Stopping the daemon with pid {client.pid}, which this one replaces")
            client.stop()
    except NoDaemonError as error:
        if error.pid not in (None, os.getpid()):
            raise DeviceError(str(error)) from error
        return
    except ControlError as error:
        raise DeviceError(f"The daemon that is to be replaced did not stop: {error}") from error
    # tinc's daemon closes its control socket before the device.
    deadline = time.monotonic() + PATIENCE_S
    while _is_daemon(client.pid):
        if time.monotonic() > deadline:
            raise DeviceError(f"The daemon with pid {client.pid} does not end")
        time.sleep(_POLL_S)


def _is_daemon(pid: int) -> bool:
    """Return whether this process looks like another daemon.

    If the daemon is in another PID namespace, such as a container's, its number may belong to anything here,
    also to this process, which often has number 1 there.
    """
    if pid == os.getpid():
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"tincd" in words or b"pytinc" in words  # or python -m pytinc.daemon

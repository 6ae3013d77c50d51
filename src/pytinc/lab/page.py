"""The page of `pytinc view` on the demo's network: its listening socket, and the program that serves it.

Without root, the lab has a network of its own, and a browser outside cannot reach it. So the socket is made
first, where the browser is, and is handed down to the program.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pytinc.lab.namespaces import LabError
from pytinc.lab.node import PATIENCE_S, Kind, Node

DESCRIPTOR: Final = "PYTINC_LAB_PAGE"
"""The variable with the number of the socket, for the program that takes the place of this one."""
PORTS: Final = (6550, 0)
"""The one of the manual, or any."""


def make_socket() -> None:
    """Make the socket and note its number, unless the program before this one has."""
    if DESCRIPTOR in os.environ:
        return
    for port in PORTS:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(("127.0.0.1", port))
            made.listen()
        except OSError as error:
            made.close()
            reason = error.strerror
            continue
        made.set_inheritable(True)
        os.environ[DESCRIPTOR] = str(made.detach())
        return
    raise LabError(f"no port for the page: {reason}")


@contextmanager
def served(node: Node) -> Iterator[str]:
    """Serve the page of a node while the block runs; yields its URL. Raises LabError if it cannot be served.

    `make_socket` must have been called.
    """
    descriptor = os.environ[DESCRIPTOR]
    # Ours also for a node that runs tincd.
    process = subprocess.Popen(
        [Kind.PY.programs()[0], *node.globals, "view", "--socket", descriptor],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[int(descriptor)],
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise LabError(f"the page cannot be served: {process.communicate(timeout=PATIENCE_S)[1].strip()}")
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)

"""A client that does nothing but open TCP connections, many at a time, and reset each once it is established.

    python connect.py ADDRESS PORT SECONDS MANY

Prints how many were established in that time. A reset leaves nothing behind (no TIME_WAIT), so that the ports
of the client last.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import sys
import time
from typing import Final

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of 0: close() sends a reset."""
WAITING: Final = (0, errno.EINPROGRESS)


def count(address: str, port: int, seconds: float, many: int) -> int:
    """Return how many connections were established within the time. Raises OSError if one fails."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    established = 0
    with selectors.EpollSelector() as selector:

        def begin() -> None:
            client = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            selector.register(client, selectors.EVENT_WRITE)
            check(client.connect_ex((address, port)))

        try:
            for _ in range(many):
                begin()
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                for client in [key.fileobj for key, _ in selector.select(left)]:
                    assert isinstance(client, socket.socket)
                    check(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                    selector.unregister(client)
                    client.close()
                    established += 1
                    begin()
        finally:
            for client in [key.fileobj for key in selector.get_map().values()]:
                assert isinstance(client, socket.socket)
                client.close()
    return established


def check(error: int) -> None:
    """Raise OSError unless a connection is being made."""
    if error not in WAITING:
        raise OSError(error, os.strerror(error))


if __name__ == "__main__":
    print(count(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))

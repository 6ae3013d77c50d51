"""A client that keeps many HTTP connections open, and tells which server each has and which broke.

    python connections.py ADDRESS COUNT

It opens the connections, asks each one once, and prints a line of JSON: how many each server has. For every
line on its standard input it asks all of them again and prints ``{"alive": {SERVER: N}, "broken": {SERVER:
N}, "elsewhere": N}``: those that are answered by the same server as before, those that are not, and those
that another server has answered, which must not happen.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Final

TIMEOUT_S: Final = 5.0


class Connection:
    """One connection to port 80."""

    def __init__(self) -> None:
        self.server = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self, address: str) -> None:
        """Connect."""
        async with asyncio.timeout(TIMEOUT_S):
            self._streams = await asyncio.open_connection(address, 80)

    async def ask(self) -> str:
        """Return the server's name; empty if the connection is broken."""
        if self._streams is None:
            return ""
        reader, writer = self._streams
        try:
            async with asyncio.timeout(TIMEOUT_S):
                writer.write(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n")
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(
                    int(line[15:]) for line in head.lower().splitlines() if line[:15] == b"content-length:"
                )
                return (await reader.readexactly(size)).decode().strip()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            writer.close()
            self._streams = None
            return ""


async def main(address: str, count: int) -> None:
    """Open the connections, and ask them again for every line that is read."""
    connections = [Connection() for _ in range(count)]
    for connection in connections:
        await connection.open(address)
        connection.server = await connection.ask()
    print(json.dumps(Counter(connection.server for connection in connections)), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        answers = await asyncio.gather(*(connection.ask() for connection in connections))
        pairs = [(connection.server, answer) for connection, answer in zip(connections, answers, strict=True)]
        alive = Counter(server for server, answer in pairs if answer == server)
        broken = Counter(server for server, answer in pairs if not answer)
        elsewhere = sum(answer not in ("", server) for server, answer in pairs)
        print(json.dumps({"alive": alive, "broken": broken, "elsewhere": elsewhere}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

"""Following the daemon's stream of events while somebody watches the page (docs/json.md, "events")."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from pytinc.control.client import ControlClient
from pytinc.control.events import parse_event, parse_ring
from pytinc.control.messages import Request
from pytinc.errors import PytincError
from pytinc.view.hub import Hub

RETRY_S: Final = 1.0
"""Seconds from the end of a stream to the next attempt."""
RETRY_UNKNOWN_S: Final = 30.0
"""The same for a daemon that has no events: another one may take its place."""


async def follow(hub: Hub, connect: Callable[[], ControlClient], *, retry: float = RETRY_S) -> None:
    """Hand each event to the hub while somebody watches, until cancelled."""
    while True:
        await hub.wanted()
        known: bool | None = None
        with contextlib.suppress(PytincError, OSError):
            client = await asyncio.to_thread(connect)
            try:
                known = await _follow(hub, client)
            finally:
                client.close()
        await hub.events_known(known)
        delay = retry if known is not False else RETRY_UNKNOWN_S
        with contextlib.suppress(TimeoutError):
            # A later watcher need not wait for the end of the delay.
            async with asyncio.timeout(delay):
                await hub.unwanted()


async def _follow(hub: Hub, client: ControlClient) -> bool | None:
    """Follow one stream to its end; False if the daemon has no events, None if the stream has ended."""
    rows = await asyncio.to_thread(client.follow, Request.EVENTS, hub.last_seq, 1)
    if rows is None:
        return False
    if hub.begin_events(parse_ring(next(rows))["started"]):
        return None  # its numbers are new ones: begin again with all of them
    await hub.events_known(True)
    loop = asyncio.get_running_loop()

    def read(rows: Iterator[str]) -> None:
        for row in rows:
            asyncio.run_coroutine_threadsafe(hub.event(parse_event(row)), loop).result()

    reading = asyncio.ensure_future(asyncio.to_thread(read, rows))
    leaving = asyncio.ensure_future(hub.unwanted())
    try:
        await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        client.interrupt()
        with contextlib.suppress(PytincError, OSError):
            await reading
    return None

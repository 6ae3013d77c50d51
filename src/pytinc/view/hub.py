"""One source for all watchers: the picture of the moment, its last difference, and the latest events.

A watcher has no queue. It keeps the number of the picture that it has, and of the last event; when it is
woken, it takes the last difference if it has the picture before, else the whole picture. So a slow browser
costs nothing but its own delay. While nobody watches, the daemon is not asked.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pytinc.cli.events import describe
from pytinc.errors import PytincError
from pytinc.view.asking import Answers, Asker
from pytinc.view.picture import Json, difference, picture

MAX_WATCHERS: Final = 16
MAX_EVENTS: Final = 1000
"""Events kept for watchers that come later. The daemon itself keeps some hundreds of each kind."""
INTERVAL_S: Final = 1.0
"""The daemon is asked at most this often, and watchers hear something at least this often."""
RECENT_S: Final = 5.0
"""An event that is not older changes the picture at once."""
ENDINGS: Final = ("answers", "cleared", "node-down")
"""Kinds of events after which a silent node is not silent any more."""


class Hub:
    """Asks while somebody watches, and wakes the watchers."""

    def __init__(
        self,
        asker: Asker,
        clock: Callable[[], float],
        netname: str = "",
        *,
        interval: float = INTERVAL_S,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` is that of ``asker``; ``wall_clock`` that of events, seconds since 1970."""
        self._asker = asker
        self._clock = clock
        self._wall_clock = wall_clock
        self._netname = netname
        self._interval = interval
        self._answers: Answers | None = None
        self._before: Answers | None = None
        """The answers before these: rates are what has come since."""
        self._picture: Json | None = None
        self._difference: Json | None = None
        self._version = 0
        """The number of the picture."""
        self._events: deque[Json] = deque(maxlen=MAX_EVENTS)
        self._first_event = 0
        """The number of the oldest event kept, counted by this hub: the daemon's begin anew with it."""
        self._events_known: bool | None = None
        self._started: float | None = None
        self.last_seq = 0
        """The daemon's number of the last event taken."""
        self._silent: set[str] = set()
        self._heard_at: float | None = None
        self._problem = ""
        self._watchers = 0
        self._anyone = asyncio.Event()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._news = asyncio.Condition()
        self._closed = False
        self.asked = 0
        """How often the daemon was asked, for tests."""

    # -- the side of the daemon --

    async def run(self) -> None:
        """Ask once a second while somebody watches, until cancelled."""
        try:
            await self._run()
        finally:
            self._asker.close()

    async def _run(self) -> None:
        while True:
            await self._anyone.wait()
            began = self._clock()
            answering = asyncio.ensure_future(asyncio.to_thread(self._asker.ask))
            try:
                while not (await asyncio.wait([answering], timeout=self._interval))[0]:
                    await self._wake()  # a silent daemon must not make us silent as well
                await self._take(answering)
            finally:
                if not answering.done():  # we are cancelled: do not leave the thread with the connection
                    self._asker.interrupt()
                    await asyncio.wait([answering])
                    answering.exception()
            await asyncio.sleep(max(self._interval - (self._clock() - began), 0.0))
            if not self._watchers:
                self._asker.close()
                self._answers = None

    async def _take(self, answering: asyncio.Future[Answers]) -> None:
        self.asked += 1
        try:
            self._show(answering.result())
        except (PytincError, OSError) as error:  # it is gone, or says what nobody understands
            self._problem = str(error)
            self._answers = None
        else:
            self._problem = ""
            self._heard_at = self._clock()
        await self._wake()

    def _show(self, answers: Answers) -> None:
        if self._answers is not None and self._answers.pid != answers.pid:
            self._silent.clear()
        if answers is not self._answers:
            self._before, self._answers = self._answers, answers
        new = picture(answers, self._before, self._silent, self._netname)
        self._difference = None if self._picture is None else difference(self._picture, new)
        self._picture = new
        self._version += 1

    async def event(self, told: Json) -> None:
        """Take an event of the daemon (`pytinc.control.events`), and tell the watchers at once."""
        if (lost := told["seq"] - self.last_seq - 1) > 0 and self.last_seq:
            self._keep({"seq": told["seq"] - 1, "time": told["time"], "kind": "gap", "lost": lost})
        self.last_seq = told["seq"]
        self._keep(told)
        node = told.get("node")
        if told.get("kind") == "silent":
            behind = told.get("behind")
            self._silent.update(map(str, behind if isinstance(behind, list) and behind else [node]))
        elif told.get("kind") in ENDINGS:
            self._silent.discard(str(node))
        # Those of long ago, which come when the stream begins, can wait for the next answers.
        is_news = abs(self._wall_clock() - told["time"]) < RECENT_S
        if is_news and told.get("kind") in ("silent", *ENDINGS) and self._answers is not None:
            self._show(self._answers)
        await self._wake()

    def _keep(self, told: Json) -> None:
        if len(self._events) == MAX_EVENTS:
            self._first_event += 1
        self._events.append({**told, "text": _text(told)})

    def begin_events(self, started: float) -> bool:
        """Note since when the daemon counts events; return whether that is a new count.

        The events of the run before stay listed.
        """
        is_new = self._started not in (None, started)
        self._started = started
        if is_new:
            self.last_seq = 0
            self._silent.clear()
        return is_new

    async def events_known(self, known: bool | None) -> None:
        """Note whether the daemon tells events at all; None while it is not connected."""
        self._events_known = known
        await self._wake()

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def close(self) -> None:
        """End all streams."""
        self._closed = True
        await self._wake()

    async def wanted(self) -> None:
        """Return as soon as somebody watches."""
        await self._anyone.wait()

    async def unwanted(self) -> None:
        """Return as soon as nobody watches."""
        await self._nobody.wait()

    @property
    def watchers(self) -> int:
        """How many watch."""
        return self._watchers

    # -- the side of the watchers --

    @contextmanager
    def watching(self) -> Iterator[bool]:
        """Count a watcher while the block runs; yields False if there are too many."""
        if self._watchers >= MAX_WATCHERS:
            yield False
            return
        self._watchers += 1
        self._anyone.set()
        self._nobody.clear()
        try:
            yield True
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._anyone.clear()
                self._nobody.set()

    async def stream(self) -> AsyncIterator[tuple[str, Any]]:
        """Yield ``(kind, document)`` for a watcher until the hub is closed.

        ``picture`` is whole, ``change`` a difference to the picture before, ``events`` a list, and ``state``
        says whether the daemon answers. Something comes at least every second.
        """
        version, next_event = 0, self._first_event
        while not self._closed:
            if self._picture is not None and version != self._version:
                before, version = version, self._version  # a new one may come during the yield
                if before == version - 1 and before > 0 and self._difference is not None:
                    yield "change", self._difference
                else:
                    yield "picture", self._picture
            end = self._first_event + len(self._events)
            if next_event < end:
                skip = max(next_event - self._first_event, 0)
                yield "events", list(self._events)[skip:]
                next_event = end
            yield "state", self.state()
            await self._next(version, next_event)

    async def _next(self, version: int, next_event: int) -> None:
        """Wait for news, or until a watcher must hear that we live."""

        def is_new() -> bool:
            return (
                self._closed
                or version != self._version
                or next_event != self._first_event + len(self._events)
            )

        try:
            async with asyncio.timeout(self._interval), self._news:
                await self._news.wait_for(is_new)
        except TimeoutError:
            return

    def state(self) -> Json:
        """Return whether the daemon answers, for how long it has not, and whether it tells events."""
        now = self._clock()
        return {
            "heard_ms": None if self._heard_at is None else round((now - self._heard_at) * 1000),
            "problem": self._problem,
            "events": self._events_known,
            "watchers": self._watchers,
        }


def _text(event: Json) -> str:
    if event["kind"] == "gap":
        return f"{event['lost']} events are missing here: there were more than the daemon remembers"
    return describe(event)


def sse(kind: str, document: Any) -> str:
    """Return a server-sent event. JSON has no line breaks, so that it is one line of data."""
    return f"event: {kind}\ndata: {json.dumps(document, separators=(',', ':'))}\n\n"

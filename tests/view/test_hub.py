from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from pytinc.control.messages import Request
from pytinc.errors import ControlError
from pytinc.view.asking import Asker
from pytinc.view.hub import MAX_EVENTS, MAX_WATCHERS, Hub, sse
from view.conftest import Connect
from view.fake_daemon import FakeMesh

PATIENCE_S = 60.0
INTERVAL_S = 0.05


def event(seq: int, kind: str = "reload", **fields: Any) -> dict[str, Any]:
    return {"seq": seq, "time": time.time(), "kind": kind, **fields}


@asynccontextmanager
async def running(connect: Connect, interval: float = INTERVAL_S) -> AsyncIterator[Hub]:
    hub = Hub(Asker(connect, time.monotonic), time.monotonic, "net", interval=interval)
    task = asyncio.ensure_future(hub.run())
    try:
        yield hub
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(INTERVAL_S)


async def first(hub: Hub, kind: str, *, such: Any = lambda document: True) -> Any:
    """Watch until a document of this kind comes."""
    with hub.watching() as room:
        assert room
        async with asyncio.timeout(PATIENCE_S):
            async for name, document in hub.stream():
                if name == kind and such(document):
                    return document
    raise AssertionError("the stream has ended")


async def test_a_watcher_gets_the_picture_and_then_what_changes(connect: Connect) -> None:
    kinds = []
    async with running(connect) as hub, asyncio.timeout(PATIENCE_S):
        with hub.watching():
            async for name, _ in hub.stream():
                kinds.append(name)
                if name == "change":
                    break
    assert [kind for kind in kinds if kind != "state"] == ["picture", "change"]


async def test_nothing_is_asked_while_nobody_watches(connect: Connect, mesh: FakeMesh) -> None:
    async with running(connect) as hub:
        await asyncio.sleep(5 * INTERVAL_S)
        assert mesh.asked == []
        await first(hub, "picture")
        await until(lambda: hub._asker._client is None)  # it is closed after the last round
        before = len(mesh.asked)
        await asyncio.sleep(5 * INTERVAL_S)
        assert len(mesh.asked) == before


async def test_however_many_watch_the_daemon_is_asked_once_a_second(connect: Connect, mesh: FakeMesh) -> None:
    async with running(connect, interval=0.3) as hub:
        begin = time.monotonic()
        await asyncio.gather(*(first(hub, "change") for _ in range(MAX_WATCHERS)))
        took = time.monotonic() - begin
    assert mesh.asked.count(Request.DUMP_NODES) <= took / 0.3 + 2


async def test_there_is_a_limit_of_watchers(connect: Connect) -> None:
    hub = Hub(Asker(connect, time.monotonic), time.monotonic)
    with ExitStack() as stack:
        assert all(stack.enter_context(hub.watching()) for _ in range(MAX_WATCHERS))
        with hub.watching() as room:
            assert not room
        assert hub.watchers == MAX_WATCHERS
    with hub.watching() as room:
        assert room


async def test_a_watcher_that_was_away_gets_the_whole_picture(connect: Connect) -> None:
    async with running(connect) as hub, asyncio.timeout(PATIENCE_S):
        with hub.watching():
            stream = hub.stream()
            while (await anext(stream))[0] != "picture":
                pass
            begin = hub._version
            await until(lambda: hub._version >= begin + 3)
            while (got := await anext(stream))[0] == "state":
                pass
            assert got[0] == "picture"
            await stream.aclose()  # type: ignore[attr-defined]


async def test_a_silent_daemon_does_not_make_the_server_silent(connect: Connect, mesh: FakeMesh) -> None:
    async with running(connect) as hub:
        await first(hub, "picture")
        mesh.hangs.set()
        try:
            state = await first(
                hub, "state", such=lambda state: (state["heard_ms"] or 0) > 20 * 1000 * INTERVAL_S
            )
        finally:
            mesh.hangs.clear()
        assert state["problem"] == ""
        await first(hub, "state", such=lambda state: state["heard_ms"] < 10 * 1000 * INTERVAL_S)


async def test_a_daemon_that_is_gone_is_told_with_the_reason() -> None:
    def connect() -> Any:
        raise ControlError("nobody is there")

    async with running(connect) as hub:
        state = await first(hub, "state", such=lambda state: state["problem"])
    assert state["problem"] == "nobody is there"
    assert state["heard_ms"] is None


async def test_an_answer_that_cannot_be_shown_ends_nothing(connect: Connect, mesh: FakeMesh) -> None:
    def subnets() -> list[str]:
        return ["18 5 a/subnet/of/tomorrow node_1"]

    mesh.subnets = subnets  # type: ignore[method-assign]
    async with running(connect) as hub:
        await first(hub, "state", such=lambda state: state["problem"])
        del mesh.subnets
        hub._asker.close()
        await first(hub, "picture")


async def test_events_come_at_once_with_words_for_people(connect: Connect) -> None:
    async with running(connect, interval=30) as hub:
        watching = asyncio.ensure_future(first(hub, "events"))
        await asyncio.sleep(0)
        await hub.event(event(1, "node-down", node="b"))
        (told,) = await watching
    assert told["kind"] == "node-down"
    assert "b" in told["text"]


async def test_who_comes_later_gets_the_events_before(connect: Connect) -> None:
    hub = Hub(Asker(connect, time.monotonic), time.monotonic)
    for seq in range(1, MAX_EVENTS + 11):
        await hub.event(event(seq))
    told = await first(hub, "events")
    assert [each["seq"] for each in told] == list(range(11, MAX_EVENTS + 11))


async def test_lost_events_leave_a_mark(connect: Connect) -> None:
    hub = Hub(Asker(connect, time.monotonic), time.monotonic)
    await hub.event(event(41))
    await hub.event(event(45))
    told = await first(hub, "events")
    assert [(each["seq"], each["kind"]) for each in told] == [(41, "reload"), (44, "gap"), (45, "reload")]
    assert told[1]["lost"] == 3


def rate(hub: Hub) -> Any:
    return None if hub._picture is None else hub._picture["nodes"]["node_1"]["rx_rate"]


async def test_an_event_between_two_answers_leaves_the_rates(connect: Connect) -> None:
    async with running(connect) as hub:
        with hub.watching():
            await until(lambda: rate(hub) is not None)
    before = hub._version, rate(hub)
    hub._answers = hub._answers or pytest.fail("there are answers")
    await hub.event(event(1, "silent", node="node_3", silence_ms=1, detection_ms=2, behind=["node_3"]))
    assert (hub._version, rate(hub)) == (before[0] + 1, before[1])


async def test_events_of_long_ago_wait_for_the_next_answers(connect: Connect) -> None:
    async with running(connect, interval=30) as hub:
        await first(hub, "picture")
        before = hub._version
        told = event(1, "silent", node="node_3", silence_ms=1, detection_ms=2, behind=["node_3"])
        await hub.event({**told, "time": time.time() - 60})
        assert hub._version == before


@pytest.mark.parametrize("ending", ["answers", "node-down"])
async def test_a_silent_node_is_shown_at_once_until_it_answers_or_leaves(
    connect: Connect, ending: str
) -> None:
    async with running(connect, interval=30) as hub:
        await first(hub, "picture")

        def is_silent(silent: bool) -> Any:
            return lambda picture: picture["nodes"]["node_3"]["silent"] is silent

        await hub.event(event(1, "silent", node="node_3", silence_ms=1, detection_ms=2, behind=["node_3"]))
        await first(hub, "picture", such=is_silent(True))
        more = {"after_ms": 9} if ending == "answers" else {}
        await hub.event(event(2, ending, node="node_3", **more))
        await first(hub, "picture", such=is_silent(False))


async def test_a_new_count_of_events_begins_with_a_new_daemon(connect: Connect) -> None:
    hub = Hub(Asker(connect, time.monotonic), time.monotonic)
    assert not hub.begin_events(5.0)
    await hub.event(event(7))
    assert not hub.begin_events(5.0)
    assert hub.last_seq == 7
    assert hub.begin_events(6.0)
    assert hub.last_seq == 0


async def test_streams_end_when_the_hub_is_closed(connect: Connect) -> None:
    hub = Hub(Asker(connect, time.monotonic), time.monotonic)
    watching = asyncio.ensure_future(first(hub, "picture"))
    await asyncio.sleep(0)
    await hub.close()
    with pytest.raises(AssertionError, match="ended"):
        await watching


def test_a_message_is_one_line_of_data_whatever_is_in_it() -> None:
    text = sse("events", [{"text": "a\nb\r\u2028<script>"}])
    kind, data, *rest = text.split("\n")
    assert (kind, rest) == ("event: events", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == [{"text": "a\nb\r\u2028<script>"}]
    assert "\r" not in text

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pytinc.control.client import ControlClient
from pytinc.view.asking import Asker
from pytinc.view.follow import follow
from pytinc.view.hub import Hub
from view.conftest import Connect
from view.fake_daemon import FakeDaemon, FakeMesh
from view.test_hub import PATIENCE_S, first, until


async def events_up_to(hub: Hub, seq: int, kind: str = "reload") -> list[dict[str, Any]]:
    """Watch until an event comes; return all that a watcher gets."""
    told: list[dict[str, Any]] = []

    def is_there(events: list[dict[str, Any]]) -> bool:
        told.extend(events)
        return (told[-1]["seq"], told[-1]["kind"]) == (seq, kind)

    await first(hub, "events", such=is_there)
    return told


@asynccontextmanager
async def following(connect: Connect) -> AsyncIterator[Hub]:
    hub = Hub(Asker(connect, time.monotonic), time.monotonic, interval=0.05)
    task = asyncio.ensure_future(follow(hub, connect, retry=0.05))
    try:
        yield hub
    finally:
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(task, return_exceptions=True)


async def test_events_of_before_and_of_now_come(connect: Connect, mesh: FakeMesh) -> None:
    mesh.tell("reload")
    async with following(connect) as hub:
        with hub.watching():
            assert [event["seq"] for event in await first(hub, "events")] == [1]
            mesh.tell("node-down", node="node_1")
            told = await first(hub, "events", such=lambda events: events[-1]["seq"] == 2)
            assert told[-1]["node"] == "node_1"
            assert hub.state()["events"] is True


async def test_the_daemon_is_left_alone_while_nobody_watches(connect: Connect, mesh: FakeMesh) -> None:
    mesh.tell("reload")
    async with following(connect) as hub:
        await asyncio.sleep(0.2)
        assert hub.last_seq == 0
        await first(hub, "events")
        await until(lambda: hub.state()["events"] is None)
        # What was missed in between comes with the next watcher, and nothing comes twice.
        mesh.tell("reload")
        told = await events_up_to(hub, 2)
        assert [event["seq"] for event in told] == [1, 2]


async def test_tincd_has_no_events(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, FakeMesh(3, tincd=True)) as daemon:
        async with following(lambda: ControlClient.connect(str(daemon.pidfile), str(daemon.socket))) as hub:
            await first(hub, "state", such=lambda state: state["events"] is False)


async def test_another_daemon_in_its_place_is_followed_from_its_first_event(tmp_path: Path) -> None:
    old, new = FakeMesh(3), FakeMesh(3)
    new.began = old.began + 5
    for _ in range(4):
        old.tell("reload")
    for _ in range(6):
        new.tell("node-down", node="b")

    def connect() -> ControlClient:
        return ControlClient.connect(str(tmp_path / "pid"), str(tmp_path / "pid.socket"))

    with FakeDaemon(tmp_path, old):
        async with following(connect) as hub:
            with hub.watching():
                await first(hub, "events", such=lambda events: events[-1]["seq"] == 4)
        assert hub.last_seq == 4
    with FakeDaemon(tmp_path, new):
        task = asyncio.ensure_future(follow(hub, connect, retry=0.05))
        told = await events_up_to(hub, 6, "node-down")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [event["seq"] for event in told if event["kind"] == "node-down"] == [1, 2, 3, 4, 5, 6]
    assert "gap" not in {event["kind"] for event in told}

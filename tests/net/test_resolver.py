from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import pytest

from pytinc.net import resolver
from pytinc.net.resolver import MAX_LOOKUPS, Resolver, look_up
from pytinc.wire.address import Address


async def until(condition: Callable[[], object]) -> None:
    """Wait for something the test cannot be told of."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def test_a_numeric_host_is_its_own_answer() -> None:
    assert look_up("127.0.0.1", "655", socket.AF_UNSPEC) == (Address("127.0.0.1", "655"),)


def test_a_service_name_becomes_its_port() -> None:
    assert look_up("127.0.0.1", "http", socket.AF_UNSPEC) == (Address("127.0.0.1", "80"),)


@pytest.mark.parametrize("host", ["no such host", "x" * 300, "..", "\udcff"])
def test_what_cannot_be_looked_up_gives_no_addresses(host: str) -> None:
    assert look_up(host, "655", socket.AF_UNSPEC) == ()


def test_a_family_limits_the_answer() -> None:
    assert look_up("127.0.0.1", "655", socket.AF_INET6) == ()


def test_answers_come_on_the_loop(on_loop) -> None:
    async def main() -> None:
        answer: asyncio.Future[tuple[Address, ...]] = asyncio.get_running_loop().create_future()
        Resolver(asyncio.get_running_loop()).resolve("::1", "655", socket.AF_UNSPEC, answer.set_result)
        assert not answer.done()
        assert await answer == (Address("::1", "655"),)

    on_loop(main)


def test_only_so_many_look_ups_run_at_once(on_loop, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    lock, release = threading.Lock(), threading.Event()

    def slow(host: str, port: str, family: int) -> tuple[Address, ...]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        release.wait(60)
        with lock:
            running -= 1
        return ()

    monkeypatch.setattr(resolver, "look_up", slow)

    async def main() -> None:
        answers: list[tuple[Address, ...]] = []
        lookups = Resolver(asyncio.get_running_loop())
        for _ in range(3 * MAX_LOOKUPS):
            lookups.resolve("host", "1", socket.AF_UNSPEC, answers.append)
        await asyncio.sleep(0.1)
        release.set()
        await until(lambda: len(answers) >= 3 * MAX_LOOKUPS)

    on_loop(main)
    assert most == MAX_LOOKUPS


def test_beyond_the_queue_a_look_up_fails_at_once(on_loop, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def slow(host: str, port: str, family: int) -> tuple[Address, ...]:
        release.wait(60)
        return ()

    monkeypatch.setattr(resolver, "look_up", slow)
    monkeypatch.setattr(resolver, "MAX_WAITING", 2)

    async def main() -> None:
        answers: list[int] = []
        lookups = Resolver(asyncio.get_running_loop())
        for number in range(MAX_LOOKUPS + 3):
            lookups.resolve(
                "host", "1", socket.AF_UNSPEC, lambda found, number=number: answers.append(number)
            )
        await until(lambda: answers)
        assert answers == [MAX_LOOKUPS + 2]
        release.set()
        await until(lambda: len(answers) >= MAX_LOOKUPS + 3)

    on_loop(main)

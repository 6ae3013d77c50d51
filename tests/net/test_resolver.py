from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytinc.net import resolver
from pytinc.net.resolver import MAX_LOOKUPS, Resolver, look_up
from pytinc.wire.address import Address

if TYPE_CHECKING:
    from net.conftest import OnLoop


async def until(condition: Callable[[], object]) -> None:
    """Poll for a condition that has no event."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def test_a_numeric_host_resolves_to_itself() -> None:
    assert look_up("127.0.0.1", "655", socket.AF_UNSPEC) == (Address("127.0.0.1", "655"),)


def test_a_service_name_becomes_its_port() -> None:
    assert look_up("127.0.0.1", "http", socket.AF_UNSPEC) == (Address("127.0.0.1", "80"),)


@pytest.mark.parametrize("host", ["no such host", "x" * 300, "..", "\udcff"])
def test_an_unknown_name_gives_no_addresses(host: str) -> None:
    assert look_up(host, "655", socket.AF_UNSPEC) == ()


def test_the_family_limits_the_answer() -> None:
    assert look_up("127.0.0.1", "655", socket.AF_INET6) == ()


def test_answers_arrive_on_the_loop(on_loop: OnLoop) -> None:
    async def main() -> None:
        answer: asyncio.Future[tuple[Address, ...]] = asyncio.get_running_loop().create_future()
        Resolver(asyncio.get_running_loop()).resolve("::1", "655", socket.AF_UNSPEC, answer.set_result)
        assert not answer.done()
        assert await answer == (Address("::1", "655"),)

    on_loop(main)


def test_the_number_of_look_ups_at_once_is_bounded(on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch) -> None:
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
        await until(lambda: most >= MAX_LOOKUPS)
        await asyncio.sleep(0.1)  # time for one too many
        release.set()
        await until(lambda: len(answers) >= 3 * MAX_LOOKUPS)

    on_loop(main)
    assert most == MAX_LOOKUPS


def test_a_look_up_fails_at_once_if_the_queue_is_full(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def slow(host: str, port: str, family: int) -> tuple[Address, ...]:
        release.wait(60)
        return ()

    monkeypatch.setattr(resolver, "look_up", slow)
    monkeypatch.setattr(resolver, "MAX_WAITING", 2)

    async def main() -> None:
        answers: list[int] = []

        def note(number: int, found: tuple[Address, ...]) -> None:
            answers.append(number)

        lookups = Resolver(asyncio.get_running_loop())
        for number in range(MAX_LOOKUPS + 3):
            lookups.resolve("host", "1", socket.AF_UNSPEC, partial(note, number))
        await until(lambda: answers)
        assert answers == [MAX_LOOKUPS + 2]
        release.set()
        await until(lambda: len(answers) >= MAX_LOOKUPS + 3)

    on_loop(main)

"""Names of addresses in logs and dumps: nothing waits for them, they are remembered, and they are checked."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytinc.net import hostnames
from pytinc.net.hostnames import FRESH, MAX_LOOKUPS, RETRY, HostNames, look_up
from pytinc.wire.address import UNKNOWN, Address

if TYPE_CHECKING:
    from net.conftest import OnLoop


async def until(condition: Callable[[], object]) -> None:
    """Poll for a condition that has no event."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


class Service:
    """A name service that records its questions, and answers when the test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: dict[str, str]) -> None:
        self.asked: list[str] = []
        self.names = names
        self.go = threading.Event()
        self.go.set()
        monkeypatch.setattr(hostnames, "look_up", self.answer)

    def answer(self, host: str) -> str | None:
        self.asked.append(host)
        self.go.wait(60)
        return self.names.get(host)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


LINE = "Connection with a (192.0.2.7 port 655) and b (2001:db8::1 port 1) at 12:30:01"


def test_an_address_is_a_number_until_its_name_is_known(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        service = Service(monkeypatch, {"192.0.2.7": "seven.example", "2001:db8::1": "one.example."})
        service.go.clear()
        names = HostNames(asyncio.get_running_loop(), Clock())
        address = Address("192.0.2.7", "655")
        assert names.of(address) == address  # without waiting
        assert names.in_text(LINE) == LINE
        service.go.set()
        await until(lambda: names.of(address).host == "seven.example")
        await until(lambda: "one.example" in names.in_text(LINE))
        shown = "Connection with a (seven.example port 655) and b (one.example. port 1) at 12:30:01"
        assert names.in_text(LINE) == shown
        assert sorted(service.asked) == ["192.0.2.7", "2001:db8::1"]  # each once

    on_loop(main)


@pytest.mark.parametrize(("name", "interval"), [("seven.example", FRESH), (None, RETRY)])
def test_an_answer_is_valid_for_a_while(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch, name: str | None, interval: float
) -> None:
    async def main() -> None:
        service = Service(monkeypatch, {} if name is None else {"192.0.2.7": name})
        clock = Clock()
        names = HostNames(asyncio.get_running_loop(), clock)
        address = Address("192.0.2.7", "655")
        names.of(address)
        await until(lambda: not names._pending)
        expected = name or "192.0.2.7"
        clock.now += interval - 1
        assert names.of(address).host == expected
        assert len(service.asked) == 1
        clock.now += 1
        assert names.of(address).host == expected  # the old name, until there is a new one
        await until(lambda: len(service.asked) == 2 and not names._pending)

    on_loop(main)


def test_text_that_is_not_a_numeric_address_is_unchanged(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        service = Service(monkeypatch, {})
        names = HostNames(asyncio.get_running_loop(), Clock())
        for address in (
            UNKNOWN,
            Address("MYSELF", "655"),
            Address("a.example", "655"),
            Address("1.2.3", "1"),
        ):
            assert names.of(address) is address
        text = "Listening on port 655: abc port 5, 1.2.3.4 port 99999, ::: port 5"
        assert names.in_text(text) == text
        assert service.asked == []

    on_loop(main)


def test_threads_queue_and_memory_are_bounded(on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(hostnames, "MAX_WAITING", 5)
        monkeypatch.setattr(hostnames, "MAX_KNOWN", 3)
        service = Service(monkeypatch, {})
        service.go.clear()
        names = HostNames(asyncio.get_running_loop(), Clock())
        for number in range(100):
            names.of(Address(f"192.0.2.{number}", "655"))
        await until(lambda: len(service.asked) == MAX_LOOKUPS)
        assert len(names._pending) == MAX_LOOKUPS + 5
        service.go.set()
        await until(lambda: not names._pending)
        assert len(service.asked) == MAX_LOOKUPS + 5
        assert len(names._known) == 3

    on_loop(main)


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ("seven.example", "seven.example"),
        ("host_1-a.example.", "host_1-a.example."),
        ("10.0.0.1", None),  # an owner that poses as another host
        ("10.0.0.1.", None),
        ("2001:db8::1", None),
        ("a b", None),
        ("a\x1b[31m", None),
        ("a\nb", None),
        ("a\n", None),
        ("", None),
        ("a..b", None),
        ("x" * 254, None),
    ],
)
def test_only_a_valid_name_is_shown(monkeypatch: pytest.MonkeyPatch, found: str, shown: str | None) -> None:
    monkeypatch.setattr(socket, "getnameinfo", lambda address, flags: (found, "0"))
    assert look_up("192.0.2.7") == shown


def test_an_invalid_address_has_no_name() -> None:
    assert look_up("not an address") is None

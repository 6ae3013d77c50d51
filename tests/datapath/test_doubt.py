"""The datagrams that are still checked during a flood in the name of a node."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from datapath.four_nodes import NEAR, NOW, OWN, STRANGER, World, frame
from pytinc.datapath.doubt import FAR, FROM_ALL, FROM_SOURCE, LASTING, TRUSTED, Doubt
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.replay import ReplayWindow
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import NULL_ID, PREFIX_SIZE, TYPE_MAC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BATCH = 64
SPOOFED = ("192.0.2.1", 655)
"""Where b is."""


def datagram(number: int) -> bytes:
    return bytes(PREFIX_SIZE) + number.to_bytes(4, "big") + bytes(40)


def numbers(datagrams: Iterable[bytes]) -> list[int]:
    return [int.from_bytes(each[PREFIX_SIZE : PREFIX_SIZE + 4], "big") for each in datagrams]


def sift(doubt: Doubt, found: Sequence[int], stranger: SockAddr | None = None, now: float = NOW) -> list[int]:
    chosen = doubt.sift([datagram(each) for each in found], ReplayWindow(16, 1000), stranger, now)
    assert isinstance(chosen, list)
    return numbers(chosen)


# -- the choice --


def test_numbers_near_the_next_one_are_all_checked_and_a_few_others_in_each_second() -> None:
    doubt = Doubt(NOW)
    near, far = [1000 - 128, 1000, 1500, 9000], [2**31 + n for n in range(100)]
    assert sift(doubt, near + far) == near + far[:FAR]
    assert sift(doubt, far + near, now=NOW + 0.9) == near
    assert sift(doubt, far, now=NOW + 1.0) == far[:FAR]


def test_addresses_that_send_nothing_good_are_not_listened_to_until_the_next_second() -> None:
    doubt, other = Doubt(NOW), ("198.51.100.2", 9)
    doubt.note(FROM_SOURCE, STRANGER, NOW)
    assert sift(doubt, [1000], STRANGER) == []
    assert sift(doubt, [1000], other) == [1000]
    doubt.note(FROM_ALL, other, NOW)
    assert sift(doubt, [1000], ("198.51.100.3", 9)) == []
    assert sift(doubt, [1000]) == [1000]  # where the node is
    assert sift(doubt, [1000], STRANGER, NOW + 1.0) == [1000]


def test_doubt_ends_after_a_while_without_anything_bad() -> None:
    doubt = Doubt(NOW)
    doubt.note_skipped(NOW + 5.0)
    assert not doubt.is_over(NOW + LASTING + 4.9)
    assert doubt.is_over(NOW + LASTING + 5.0)


# -- on the way in --


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many datagrams are checked in each batch."""
    checked: list[int] = []
    open_batch = DatagramSession.open_batch

    def count(
        session: DatagramSession, datagrams: Sequence[bytes], offset: int
    ) -> list[tuple[int, bytes] | None]:
        checked.append(len(datagrams))
        return open_batch(session, datagrams, offset)

    monkeypatch.setattr(DatagramSession, "open_batch", count)
    return checked


def good(world: World, count: int = 1) -> list[bytes]:
    return world.far["b"].seal_batch(NULL_ID + world.b.id, TYPE_MAC, [frame(OWN, NEAR)] * count)


def flood(world: World, addresses: Sequence[SockAddr], now: float = NOW, batches: int = 100) -> None:
    """Take batches of forged datagrams of b."""
    rng = random.Random(7)
    for n in range(batches):
        forged = [NULL_ID + world.b.id + rng.randbytes(60) for _ in range(BATCH)]
        sources = [addresses[(n * BATCH + k) % len(addresses)] for k in range(BATCH)]
        world.inbound.datagrams(forged, sources, 0, now, world.out)


@pytest.mark.parametrize(
    "addresses",
    [[SPOOFED], [STRANGER], [(f"198.51.{n // 256}.{n % 256}", 9) for n in range(BATCH * 100)]],
    ids=["the node's own address", "a stranger", "many strangers"],
)
def test_next_to_nothing_of_a_flood_is_checked_and_the_node_is_still_heard(
    world: World, checks: list[int], addresses: list[SockAddr]
) -> None:
    flood(world, addresses)
    assert sum(checks) <= TRUSTED + BATCH + FAR + 10
    assert world.table.total_drops().not_authentic == 100 * BATCH

    world.take(*good(world), address=SPOOFED)
    assert len(world.out.frames) == 1
    # It moves, to an address that it has never had.
    world.take(*good(world), address=("203.0.113.5", 655))
    assert len(world.out.frames) == 2
    assert world.out.upcalls.moved == {world.b: (("203.0.113.5", 655), 0)}


def test_the_node_is_heard_after_a_long_gap(world: World, checks: list[int]) -> None:
    flood(world, [STRANGER])
    world.far["b"]._out_seqno += 2**24
    for second in range(2, 4):
        flood(world, [STRANGER], now=NOW + second, batches=1)
        for each in good(world, 3):
            world.inbound.datagrams([each], [SPOOFED], 0, NOW + second + 1, world.out)
    assert world.out.frames


def test_failures_are_reported_once_a_second(world: World) -> None:
    flood(world, [SPOOFED])
    reports = []
    for now in (NOW + 0.5, NOW + 0.6, NOW + 1.5, NOW + 1.6):
        world.out.upcalls.failed.clear()
        flood(world, [SPOOFED], now=now, batches=1)
        reports.append(len(world.out.upcalls.failed))
    assert reports == [0, 0, 1, 0]


def test_after_the_flood_everything_is_checked_again(world: World, checks: list[int]) -> None:
    flood(world, [STRANGER])
    assert world.b.doubt is not None
    checks.clear()
    flood(world, [STRANGER], now=NOW + LASTING, batches=1)
    assert checks == [BATCH]
    assert world.b.doubt is None


def test_few_failures_do_not_make_us_doubt(world: World, checks: list[int]) -> None:
    for second in range(10):
        world.inbound.datagrams(
            [NULL_ID + world.b.id + bytes(60)] * TRUSTED, [STRANGER] * TRUSTED, 0, NOW + second, world.out
        )
    assert sum(checks) == 10 * TRUSTED
    assert world.b.doubt is None


def test_what_is_for_others_is_not_judged_by_our_numbers(world: World) -> None:
    flood(world, [SPOOFED])
    for number in range(3):
        far = (2**30 + number).to_bytes(4, "big")
        world.take(world.c.id + world.b.id + far + bytes(60), address=SPOOFED)
    assert sum(len(datagrams) for _, datagrams in world.out.datagrams) == 3

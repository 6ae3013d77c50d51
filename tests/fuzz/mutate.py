"""A small mutator: seeds with a few changes, the same in every run. It sees no coverage."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from fuzz.registry import MAX_SEED, Target

_MAX_CHANGES: Final = 4
_TELLING: Final = (
    *(b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff", bytes(4), b"\xff" * 4, bytes(16)),
    *(b" ", b"\n", b"=", b"#", b"/", b":", b'"', b"%", b"-1", b"0", b"65536", b"2147483648", b"9" * 20),
    *("é".encode(), "\u2028".encode(), b"\xed\xa0\x80"),
)

_Change = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def _part(rng: random.Random, data: bytearray) -> slice:
    start = rng.randint(0, len(data))
    return slice(start, rng.randint(start, min(len(data), start + 32)))


def _flip(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _delete(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    del data[_part(rng, data)]


def _repeat(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    part = _part(rng, data)
    data[part] = data[part] * rng.choice((2, 3, 20))


def _insert(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    data[_part(rng, data)] = rng.choice(_TELLING)


def _splice(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = bytearray(rng.choice(seeds))
    data[_part(rng, data)] = other[_part(rng, other)]


_CHANGES: Final[tuple[_Change, ...]] = (_flip, _set, _delete, _repeat, _insert, _splice)


def mutations(target: Target, rng: random.Random) -> Iterator[bytes]:
    """Yield the seeds of a target, in any order, and then changed seeds without end."""
    seeds = target.seeds()
    yield from rng.sample(seeds, len(seeds))
    while True:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, _MAX_CHANGES)):
            rng.choice(_CHANGES)(rng, data, seeds)
        yield bytes(data[:MAX_SEED])

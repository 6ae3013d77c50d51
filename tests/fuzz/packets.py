"""Targets: the data path both ways, compared with its plain twins.

The packets of the first targets are whatever comes. Those of the others are made by the strategies of the
tests, which an input steers (hypothesis: ``fuzz_one_input``): whole tables of peers and batches of everything
that a node can meet, super-frames and their pieces among them.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from unittest import mock

from datapath import test_coalesce, test_segment, test_super_frames, test_twin
from datapath.super_frames import super_frame
from datapath.test_coalesce import checked, resealed, wire_frames
from datapath.test_twin import (
    ADDRESSES,
    GROUPS,
    MACS,
    NEVER,
    SUBNETS,
    DatagramSpec,
    PeerPlan,
    Plan,
    World,
    assert_same,
    push,
)
from fuzz.registry import target
from fuzz.sessions import END_OF_STEP, script, steps
from pytinc.datapath import inbound
from pytinc.datapath.compression import compress, expand, usable
from pytinc.datapath.segment import gather, segment
from pytinc.datapath.super_frames import Assembly, SuperFrame
from pytinc.datapath.super_frames_reference import frames_in
from pytinc.errors import DecodeError
from pytinc.wire.datagram import MTU_MAX, NULL_ID
from pytinc.wire.super_frame import HEAD, MAX_SUPER_FRAME, SUPER_FRAME_ID
from pytinc.wire.virtio import HEADER


def super_frames() -> list[bytes]:
    """Return what a kernel hands over: virtio-net header and frame."""
    made = [
        super_frame(is_ipv4=is_ipv4, is_tcp=is_tcp, tags=tags, payload=bytes(900), gso_size=300)
        for is_ipv4 in (True, False)
        for is_tcp in (True, False)
        for tags in (b"", b"\x81\x00\x00\x05")
    ]
    return [header + frame for header, frame in made]


@target("datapath/test_segment.py", super_frames)
def cuts(data: bytes) -> None:
    """A virtio-net header and a frame of the kernel, cut up."""
    header, frame = data[: HEADER.size].ljust(HEADER.size, b"\0"), data[HEADER.size :]
    with suppress(DecodeError):
        frames = segment(header, frame)
        assert sum(map(len, frames)) <= 200 * (len(frame) + 1)
    with suppress(DecodeError):
        gather([header + frame] * 3)


def plaintexts() -> list[bytes]:
    """Return the plaintexts of super-frames."""
    return [HEAD.pack(1, 300, 34) + data[HEADER.size :] for data in super_frames()]


@target(plaintexts)
def opened_super_frames(data: bytes) -> None:
    """The plaintext of a super-frame from another node."""
    try:
        made = SuperFrame(bytearray(data))
    except DecodeError:
        assert frames_in(data) is None
        return
    plain, transport = frames_in(data), HEAD.unpack_from(data)[2]
    assert plain is not None
    # The fast way trusts the sum of the pseudo header that it gets.
    zeroed = functools.partial(test_super_frames.zeroed, transport=transport)
    assert list(map(zeroed, made.frames())) == list(map(zeroed, plain))
    assert len(plain) == len(made)


@target(lambda: [SUPER_FRAME_ID + bytes(9) + b"\1\0\3" + bytes(100)])
def pieces(data: bytes) -> None:
    """Pieces of super-frames, in any order."""
    assembly = Assembly()
    for piece in data.split(END_OF_STEP):
        assembly.add([SUPER_FRAME_ID + piece.ljust(12, b"\0")])
        assert assembly._size <= MAX_SUPER_FRAME + 16 + len(data)


def chains() -> list[bytes]:
    """Return batches with frames of a TCP flow."""
    flows = [wire_frames(9, size=60, is_ipv4=is_ipv4, last=20) for is_ipv4 in (True, False)]
    return [script(*(b"c" + frame for frame in frames)) for frames in flows]


@target("datapath/test_coalesce.py", chains)
def joins(data: bytes) -> None:
    """A batch of frames for the device, joined where possible; cut again they are what they were."""
    checked([resealed(frame) if kind == "c" and len(frame) >= 54 else frame for kind, frame in steps(data)])


def packed() -> list[bytes]:
    """Return packets of all levels of compression."""
    return [bytes((level,)) + (compress(level, bytes(500)) or b"") for level in range(1, 13) if usable(level)]


@target("datapath/test_compression.py", packed)
def compressed(data: bytes) -> None:
    """A compressed packet."""
    if data:
        payload = expand(data[0] % 13, data[1:], MTU_MAX)
        assert payload is None or len(payload) <= MTU_MAX


def noise() -> Iterator[bytes]:
    """Yield random bytes, enough to steer a strategy to its end."""
    rng = random.Random(5)
    yield from (rng.randbytes(size) for size in (500, 1000, 2000, 4000) for _ in range(5))


def steered(test: Any) -> Callable[[bytes], object]:
    """Return what runs a test of hypothesis with the example that an input stands for."""
    run: Callable[[bytes], object] = test.hypothesis.fuzz_one_input
    return run


def checking_all(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Let a target check every record, as the twin does, however many are bad."""
    return functools.wraps(run)(mock.patch.object(inbound, "TRUSTED", 1_000_000)(run))


CUT: Final = steered(test_segment.test_the_fast_cut_and_its_plain_twin_agree)
TAKEN: Final = steered(test_super_frames.test_the_plain_twin_takes_and_refuses_the_same)
JOINED: Final = steered(test_coalesce.test_cut_again_it_is_the_same_and_the_twin_agrees)
TABLES: Final = steered(test_twin.test_fast_and_plain_code_do_the_same)
RUNS: Final = steered(test_twin.test_runs_come_out_as_their_frames_one_by_one)
GUARDED: Final = steered(test_twin.test_what_is_done_for_the_guard_is_the_same_in_both)
SHARED: Final = steered(test_twin.test_flows_go_to_the_same_members_in_both)


@target(noise, smoke=25)
def twin_cuts(data: bytes) -> None:
    """Sound super-frames, cut as the plain twin cuts them, and taken whole where it takes them."""
    CUT(data)
    TAKEN(data)


@target(noise, smoke=25)
def twin_joins(data: bytes) -> None:
    """Batches of nearly sound TCP frames, joined as the plain twin joins them."""
    JOINED(data)


@target(noise, smoke=8)
@checking_all
def twin_tables(data: bytes) -> None:
    """Any packets in any direction under any table: the data path does what its plain twin does."""
    TABLES(data)


@target(noise, smoke=8)
@checking_all
def twin_runs(data: bytes) -> None:
    """Runs and super-frames that mostly go whole: the same, and the same replay window."""
    RUNS(data)


@target(noise, smoke=8)
@checking_all
def twin_guard(data: bytes) -> None:
    """ARP and neighbour discovery past a guard of shared addresses: the same in both."""
    GUARDED(data)


@target(noise, smoke=8)
@checking_all
def twin_flows(data: bytes) -> None:
    """Flows that the members of a virtual IP share: the same in both."""
    SHARED(data)


PEER: Final = PeerPlan(
    reachable=True,
    session=True,
    neighbour=True,
    via="b",
    nexthop="b",
    minmtu=1400,
    mtu=1518,
    tcp_only=False,
    address=True,
    confirmed=True,
    clamp=True,
    upkeep_due=NEVER,
    socket=0,
    fast_tag=True,
    super_frames=True,
    aes=True,
    compression=1,
)


def plan(choice: int) -> Plan:
    """Return one of the tables that the bits of a number stand for."""
    router, ttl, kernel, direct, hub = (bool(choice >> bit & 1) for bit in range(5))
    rules = {"router": router, "decrement_ttl": ttl, "kernel": kernel, "direct_only": direct, "hub": hub}
    other = replace(PEER, session=False, neighbour=False)
    return Plan(
        peers={"b": PEER, "c": other, "d": replace(other, reachable=False)},
        rules=rules | {"compression": choice % 3},
        clamp=True,
        macs={MACS[1]: "b", MACS[2]: "c", MACS[3]: "d"},
        own_macs={MACS[0]},
        subnets=set(zip(SUBNETS, "abcabcd", strict=True)),
        hwaddr=MACS[0],
        tree=["b"],
        direct=["b"],
        capture=False,
    )


def tables() -> list[bytes]:
    """Return scripts with frames of all kinds in both directions."""
    made = [data[HEADER.size :] for data in super_frames()]
    made += [to + MACS[1] + frame[12:] for frame in made for to in (MACS[1], GROUPS[0])]
    return [
        script(
            bytes((choice,)), b"d" + frame, b"u\2" + frame, b"u\0" + frame[14:], b"g" + frame, b"p" + frame
        )
        for choice in (0, 1, 6)
        for frame in made
    ]


@target("datapath/test_router.py", "datapath/test_clamp.py", "datapath/test_icmp.py", tables, smoke=200)
@checking_all
def frames(data: bytes) -> None:
    """Whatever frames and records come, under one of a few tables: the data path does what its twin does."""
    first, *rest = steps(data)
    one = plan(ord(first[0] or "\0"))
    fast, plain, errors = World(one), World(one), [Counter[str](), Counter[str]()]
    for number, (kind, payload) in enumerate(rest[:20]):
        spec = DatagramSpec("record", "b", None, NULL_ID, 0, b"", ADDRESSES["b"])
        match kind:
            case "d":
                push(fast, plain, "device", [payload] * 3, 1.0 + number)
            case "p":
                push(fast, plain, "packet", [payload], 1.0 + number)
            case "u" if payload:
                sealed = replace(spec, type_=payload[0] % 128, body=payload[1:])
                push(fast, plain, "udp", [sealed], 1.0 + number)
            case "g":
                push(fast, plain, "udp", [replace(spec, kind="garbage", body=payload)], 1.0 + number)
                push(fast, plain, "sptps", [replace(spec, kind="garbage", body=payload)], 1.0 + number)
        assert_same(fast, plain, errors)

"""Frames as the kernel hands them over with its offloads on, for the tests of what cuts and joins them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from pytinc.datapath.runs import LEAD, FrameRun
from pytinc.wire.ip import checksum
from pytinc.wire.virtio import GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, HEADER, NEEDS_CSUM


class Super(NamedTuple):
    """What the kernel hands over."""

    header: bytes
    frame: bytes


def super_frame(
    *,
    tags: bytes = b"",
    is_ipv4: bool = True,
    is_tcp: bool = True,
    ip_options: bytes = b"",
    extensions: tuple[tuple[int, bytes], ...] = (),
    tcp_options: bytes = b"",
    flags: int = 0x18,
    identification: int = 7,
    sequence: int = 1000,
    payload: bytes = b"",
    gso_size: int = 0,
    hdr_len: int = 0,
    addresses: bytes = bytes(range(1, 33)),
) -> Super:
    """A frame as the kernel hands it over: the checksum field holds the sum of the pseudo header."""
    protocol = 6 if is_tcp else 17
    if is_tcp:
        size = 20 + len(tcp_options)
        transport = struct.pack("!HHIIBBHHH", 4000, 80, sequence, 99, size // 4 << 4, flags, 512, 0, 0)
        transport += tcp_options
    else:
        size = 8
        transport = struct.pack("!HHHH", 4000, 53, 8 + len(payload), 0)
    if is_ipv4:
        addresses = addresses[:8]
        length = 20 + len(ip_options) + size + len(payload)
        network = struct.pack(
            "!BBHHHBBH", 0x45 + len(ip_options) // 4, 0, length, identification, 0x4000, 64, protocol, 0
        )
        network += addresses + ip_options
        network = network[:10] + checksum(network).to_bytes(2, "big") + network[12:]
    else:
        numbers = [number for number, _ in extensions] + [protocol]
        chain = b"".join(
            bytes((following, len(body) // 8)) + body
            for (_, body), following in zip(extensions, numbers[1:], strict=True)
        )
        length = len(chain) + size + len(payload)
        network = struct.pack("!IHBB", 0x60012345, length, numbers[0], 64) + addresses + chain
    pseudo = addresses + (size + len(payload)).to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    field = 16 if is_tcp else 6
    filled = transport[:field] + (~checksum(pseudo) & 0xFFFF).to_bytes(2, "big") + transport[field + 2 :]
    top = bytes(12) + tags + (b"\x08\x00" if is_ipv4 else b"\x86\xdd") + network
    kind = GSO_NONE
    if gso_size:
        kind = (GSO_TCPV4 if is_ipv4 else GSO_TCPV6) if is_tcp else GSO_UDP_L4
    if kind in (GSO_TCPV4, GSO_TCPV6) and flags & 0x80:
        kind |= GSO_ECN
    return Super(HEADER.pack(NEEDS_CSUM, kind, hdr_len, gso_size, len(top), field), top + filled + payload)


TAGS = st.sampled_from((b"", b"\x81\x00\x00\x05", b"\x88\xa8\x00\x07\x81\x00\x20\x05"))


@st.composite
def super_frames(draw: st.DrawFn) -> Super:
    payload = draw(st.binary(max_size=300)) * draw(st.integers(1, 40))
    extension = st.tuples(st.sampled_from((0, 60)), st.sampled_from((bytes(6), bytes(14))))
    return super_frame(
        tags=draw(TAGS),
        is_ipv4=draw(st.booleans()),
        is_tcp=draw(st.booleans()),
        ip_options=draw(st.sampled_from((b"", b"\x94\x04\x00\x00", bytes(40)))),
        extensions=tuple(draw(st.lists(extension, max_size=2))),
        tcp_options=draw(st.integers(0, 10)) * b"\x01\x01\x08\x0a",
        flags=draw(st.integers(0, 255)),
        identification=draw(st.integers(0, 0xFFFF)),
        sequence=draw(st.integers(0, 2**32 - 1)),
        payload=payload,
        gso_size=draw(st.integers(0, 1500)),
        hdr_len=draw(st.integers(0, 0xFFFF)),
        addresses=draw(st.binary(min_size=32, max_size=32)),
    )


def frame_run(frames: Sequence[bytes]) -> FrameRun:
    """Return frames of one length and header (the last may be shorter) as `segment_run` does."""
    size, last = len(frames[0]), len(frames[-1])
    rows = np.zeros((len(frames), LEAD + size + -(LEAD + size) % 4), np.uint8)
    for row, frame in zip(rows, frames, strict=True):
        row[LEAD : LEAD + len(frame)] = np.frombuffer(frame, np.uint8)
    return FrameRun(rows, size, last)


def possible_runs(frames: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut frames into what can stand in one run."""
    start = 0
    while start < len(frames):
        first, end = frames[start], start + 1
        while end < len(frames) and len(frames[end]) == len(first) and frames[end][:14] == first[:14]:
            end += 1
        if end < len(frames) and 14 <= len(frames[end]) < len(first) and frames[end][:14] == first[:14]:
            end += 1
        if len(first) >= 14:
            yield frames[start:end]
        start = end

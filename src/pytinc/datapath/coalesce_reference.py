"""The plain twin of `coalesce`: one frame at a time, every field by its own line.

Not used by the daemon. Tests push the same batches through both and compare
(`tests/datapath/test_coalesce.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pytinc.datapath.coalesce import MAX_IP_SIZE, MIN_CHAIN, MIN_SIZE
from pytinc.wire.ip import checksum
from pytinc.wire.virtio import GSO_TCPV4, GSO_TCPV6, HEADER, NEEDS_CSUM, NULL_HEADER

_TAGS = (0x8100, 0x88A8)
_ACK, _PSH, _ECE = 0x10, 0x08, 0x40


class _Tcp(NamedTuple):
    """A valid TCP frame that may be part of a chain."""

    frame: bytes
    network: int
    transport: int
    payload: int
    is_ipv4: bool

    @property
    def same(self) -> tuple[object, ...]:
        """Everything that all frames of a chain have in common."""
        frame, network, transport = self.frame, self.network, self.transport
        if self.is_ipv4:
            top = frame[: network + 2] + frame[network + 6 : network + 10] + frame[network + 12 : transport]
        else:
            top = frame[: network + 4] + frame[network + 6 : transport]
        tcp = frame[transport : transport + 4] + frame[transport + 8 : transport + 13]
        tcp += frame[transport + 14 : transport + 16] + frame[transport + 18 : self.payload]
        return top, tcp, self.flags & ~_PSH

    @property
    def flags(self) -> int:
        return self.frame[self.transport + 13]

    @property
    def sequence(self) -> int:
        return int.from_bytes(self.frame[self.transport + 4 : self.transport + 8], "big")

    @property
    def identification(self) -> int:
        return int.from_bytes(self.frame[self.network + 4 : self.network + 6], "big")

    @property
    def size(self) -> int:
        return len(self.frame) - self.payload


def coalesce(frames: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Return virtio-net header and frame for each write to the device, in order."""
    out: list[tuple[bytes, bytes]] = []
    chain: list[_Tcp] = []
    for frame in frames:
        tcp = _parse(frame)
        while chain and (tcp is None or not _continues(chain, tcp)):
            chain = _finish(chain, out)
        if tcp is None:
            out.append((NULL_HEADER, frame))
        else:
            chain.append(tcp)
    while chain:
        chain = _finish(chain, out)
    return out


def _parse(frame: bytes) -> _Tcp | None:
    network, tags = 14, 0
    if len(frame) < 14:
        return None
    while int.from_bytes(frame[network - 2 : network], "big") in _TAGS and tags < 2:
        network, tags = network + 4, tags + 1
    is_ipv4 = frame[network - 2 : network] == b"\x08\x00"
    transport = network + (20 if is_ipv4 else 40)
    if len(frame) <= transport + 20:
        return None
    if is_ipv4:
        addresses = frame[network + 12 : network + 20]
        if frame[network] != 0x45 or int.from_bytes(frame[network + 6 : network + 8], "big") & ~0x4000:
            return None
        if int.from_bytes(frame[network + 2 : network + 4], "big") != len(frame) - network:
            return None
        if frame[network + 9] != 6 or not _is_sound(frame[network:transport], 10):
            return None
    else:
        addresses = frame[network + 8 : network + 40]
        if frame[network - 2 : network] != b"\x86\xdd" or frame[network] >> 4 != 6 or frame[network + 6] != 6:
            return None
        if int.from_bytes(frame[network + 4 : network + 6], "big") != len(frame) - transport:
            return None
    payload = transport + (frame[transport + 12] >> 4) * 4
    pseudo = addresses + (len(frame) - transport).to_bytes(4, "big") + b"\0\0\0\x06"
    if payload < transport + 20 or payload >= len(frame):
        return None
    if not _is_sound(frame[transport:] + bytes(len(frame[transport:]) % 2) + pseudo, 16):
        return None
    if frame[transport + 13] & ~_PSH not in (_ACK, _ACK | _ECE):
        return None
    return _Tcp(frame, network, transport, payload, is_ipv4)


def _is_sound(data: bytes, at: int) -> bool:
    """Whether the checksum at ``at`` is what we would write there."""
    return checksum(data[:at] + bytes(2) + data[at + 2 :]) == int.from_bytes(data[at : at + 2], "big")


def _continues(chain: list[_Tcp], tcp: _Tcp) -> bool:
    first, last = chain[0], chain[-1]
    most = (MAX_IP_SIZE - (first.payload - first.network)) // first.size
    return (
        len(first.frame) >= MIN_SIZE
        and len(chain) < most
        and tcp.same == last.same
        and last.size == first.size
        and tcp.size <= first.size
        and not last.flags & _PSH
        and tcp.sequence == (last.sequence + last.size) % 2**32
        and (not first.is_ipv4 or tcp.identification == (last.identification + 1) % 2**16)
    )


def _finish(chain: list[_Tcp], out: list[tuple[bytes, bytes]]) -> list[_Tcp]:
    """Append the output for a chain to ``out``; return the chain that continues from there."""
    if len(chain) >= MIN_CHAIN:
        out.append(_joined(chain))
        return []
    # The shorter last one of a chain that is too short may begin the next.
    rest = chain[-1:] if chain[-1].size < chain[0].size else []
    out += [(NULL_HEADER, tcp.frame) for tcp in chain[: len(chain) - len(rest)]]
    return rest


def _joined(chain: list[_Tcp]) -> tuple[bytes, bytes]:
    first = chain[0]
    network, transport = first.network, first.transport
    new = bytearray(first.frame + b"".join(tcp.frame[tcp.payload :] for tcp in chain[1:]))
    new[transport + 13] |= chain[-1].flags & _PSH
    if first.is_ipv4:
        new[network + 2 : network + 4] = (len(new) - network).to_bytes(2, "big")
        new[network + 10 : network + 12] = bytes(2)
        new[network + 10 : network + 12] = checksum(bytes(new[network:transport])).to_bytes(2, "big")
        addresses = new[network + 12 : network + 20]
    else:
        new[network + 4 : network + 6] = (len(new) - transport).to_bytes(2, "big")
        addresses = new[network + 8 : network + 40]
    pseudo = bytes(addresses) + (len(new) - transport).to_bytes(4, "big") + b"\0\0\0\x06"
    new[transport + 16 : transport + 18] = (~checksum(pseudo) & 0xFFFF).to_bytes(2, "big")
    kind = GSO_TCPV4 if first.is_ipv4 else GSO_TCPV6
    header = HEADER.pack(NEEDS_CSUM, kind, first.payload, first.size, transport, 16)
    return header, bytes(new)

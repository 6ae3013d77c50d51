"""The plain twin of `segment`: one frame at a time, every checksum from scratch.

Not used by the daemon. Tests push the same super-frames through both and compare
(`tests/datapath/test_segment.py`). It takes nothing from the virtio-net header but the type and the size of
the pieces, and nothing from the checksum field: it works out the pseudo header itself.
"""

from __future__ import annotations

from pytinc.wire.ip import checksum
from pytinc.wire.virtio import GSO_ECN, GSO_NONE, HEADER, NEEDS_CSUM

_TAGS = (0x8100, 0x88A8)
_TCP = 6


def segment(header: bytes, frame: bytes) -> list[bytes]:
    """Return the frames to send instead of ``frame``, which must be sound."""
    flags, kind, _, gso_size, _, _ = HEADER.unpack(header)
    if not flags & NEEDS_CSUM:
        return [frame]
    network = 14
    while int.from_bytes(frame[network - 2 : network], "big") in _TAGS:
        network += 4
    is_ipv4 = frame[network - 2 : network] == b"\x08\x00"
    transport, protocol = _transport(frame, network, is_ipv4)
    if kind & ~GSO_ECN == GSO_NONE:
        return [_with_checksum(bytearray(frame), network, transport, protocol)]
    payload = transport + ((frame[transport + 12] >> 4) * 4 if protocol == _TCP else 8)
    if len(frame) - payload <= gso_size:
        return [_with_checksum(bytearray(frame), network, transport, protocol)]
    pieces = [frame[at : at + gso_size] for at in range(payload, len(frame), gso_size)]
    cut = []
    for number, piece in enumerate(pieces):
        new = bytearray(frame[:payload] + piece)
        if is_ipv4:
            identification = int.from_bytes(frame[network + 4 : network + 6], "big") + number
            new[network + 2 : network + 4] = (len(new) - network).to_bytes(2, "big")
            new[network + 4 : network + 6] = (identification % 2**16).to_bytes(2, "big")
            new[network + 10 : network + 12] = bytes(2)
            new[network + 10 : network + 12] = checksum(bytes(new[network:transport])).to_bytes(2, "big")
        else:
            new[network + 4 : network + 6] = (len(new) - network - 40).to_bytes(2, "big")
        if protocol == _TCP:
            sequence = int.from_bytes(frame[transport + 4 : transport + 8], "big") + number * gso_size
            new[transport + 4 : transport + 8] = (sequence % 2**32).to_bytes(4, "big")
            if number > 0:
                new[transport + 13] &= 0b01111111  # no CWR
            if number < len(pieces) - 1:
                new[transport + 13] &= 0b11110110  # neither PSH nor FIN
        else:
            new[transport + 4 : transport + 6] = (len(new) - transport).to_bytes(2, "big")
        cut.append(_with_checksum(new, network, transport, protocol, zero=protocol == _TCP))
    return cut


def _transport(frame: bytes, network: int, is_ipv4: bool) -> tuple[int, int]:
    """Return where TCP or UDP begins, and which of them it is."""
    if is_ipv4:
        return network + (frame[network] & 0x0F) * 4, frame[network + 9]
    protocol, position = frame[network + 6], network + 40
    while protocol in (0, 60):
        protocol, position = frame[position], position + 8 + 8 * frame[position + 1]
    return position, protocol


def _with_checksum(
    frame: bytearray, network: int, transport: int, protocol: int, *, zero: bool = False
) -> bytes:
    """Fill in the checksum; 0xffff for a sum of zero unless ``zero`` is allowed."""
    if frame[network - 2 : network] == b"\x08\x00":
        addresses = frame[network + 12 : network + 20]
    else:
        addresses = frame[network + 8 : network + 40]
    field = transport + (16 if protocol == _TCP else 6)
    frame[field : field + 2] = bytes(2)
    length = (len(frame) - transport).to_bytes(4, "big")
    value = checksum(bytes(addresses) + length + bytes((0, 0, 0, protocol)) + bytes(frame[transport:]))
    frame[field : field + 2] = (value if value or zero else 0xFFFF).to_bytes(2, "big")
    return bytes(frame)

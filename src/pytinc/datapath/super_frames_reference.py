"""The plain twin of `super_frames.SuperFrame`: reads a super-frame of a peer, one field after the other.

Not used by the daemon. `pytinc.datapath.reference` reads super-frames with it, and tests push the same
plaintexts through both (`tests/datapath/test_super_frames.py`). docs/protocol.md specifies super-frames.
"""

from __future__ import annotations

from pytinc.datapath.segment_reference import segment
from pytinc.wire.super_frame import HEAD, MAX_PIECES, MAX_SUPER_FRAME
from pytinc.wire.virtio import HEADER, NEEDS_CSUM

_TAGS = (0x8100, 0x88A8)
_TCP = 6
_SYN, _RST, _ACK, _URG = 0x02, 0x04, 0x10, 0x20
_LONGEST_FRAME = 1518
_LEAST_DATA = 256
_CHECKSUM_AT = 16


def frames_in(plain: bytes) -> list[bytes] | None:
    """Return the frames that the plaintext of a record stands for; None if it is not a super-frame."""
    frame = plain[HEAD.size :]
    if len(plain) > MAX_SUPER_FRAME or len(frame) < 14:
        return None
    kind, data_of_each, transport = HEAD.unpack_from(plain)
    network, tags = 14, 0
    while int.from_bytes(frame[network - 2 : network], "big") in _TAGS:
        network, tags = network + 4, tags + 1
    is_ipv4 = frame[network - 2 : network] == b"\x08\x00"
    is_ipv6 = frame[network - 2 : network] == b"\x86\xdd"
    # Bit 7 of the kind tells about the CWR flag.
    if tags > 2 or (is_ipv4, is_ipv6, kind & 0x7F) not in ((True, False, 1), (False, True, 4)):
        return None
    if transport != network + (20 if is_ipv4 else 40) or len(frame) < transport + 20:
        return None
    if not (_is_plain_ipv4 if is_ipv4 else _is_plain_ipv6)(frame[network:]):
        return None
    flags, payload = frame[transport + 13], transport + (frame[transport + 12] >> 4) * 4
    if flags & (_SYN | _RST | _URG) or not flags & _ACK or payload < transport + 20:
        return None
    data = len(frame) - payload
    if not _LEAST_DATA <= data_of_each < data or payload + data_of_each > _LONGEST_FRAME:
        return None
    if data > MAX_PIECES * data_of_each:
        return None
    header = HEADER.pack(NEEDS_CSUM, kind, payload, data_of_each, transport, _CHECKSUM_AT)
    return segment(header, frame)


def _is_plain_ipv4(packet: bytes) -> bool:
    """Tell whether this is unfragmented TCP without IP options, with the length that its header states."""
    is_fragment = int.from_bytes(packet[6:8], "big") & ~0x4000  # all but "don't fragment"
    length = int.from_bytes(packet[2:4], "big")
    return packet[0] == 0x45 and packet[9] == _TCP and length == len(packet) and not is_fragment


def _is_plain_ipv6(packet: bytes) -> bool:
    """Tell whether this is TCP without extension headers, with the length that its header states."""
    return packet[6] == _TCP and int.from_bytes(packet[4:6], "big") == len(packet) - 40

"""The head of a super-frame and its pieces, as docs/protocol.md lays them out."""

from __future__ import annotations

from pytinc.wire.datagram import ID_SIZE, node_id
from pytinc.wire.super_frame import (
    HEAD,
    MAX_PIECES,
    MAX_SUPER_FRAME,
    ONE_CALL_BYTES,
    ONE_CALL_PIECES,
    PIECE_HEAD_SIZE,
    SUPER_FRAME_ID,
)


def test_the_id_of_super_frames_is_one_that_no_name_has_by_chance() -> None:
    assert SUPER_FRAME_ID == b"pytinc"
    assert len(SUPER_FRAME_ID) == ID_SIZE
    assert node_id("pytinc") != SUPER_FRAME_ID


def test_a_piece_begins_with_two_ids_a_number_its_index_and_how_many_there_are() -> None:
    assert PIECE_HEAD_SIZE == 6 + 6 + 4 + 1 + 1


def test_the_head_of_the_plaintext_is_five_bytes_in_network_order() -> None:
    assert HEAD.pack(0x81, 1387, 34) == bytes.fromhex("81 056b 0022")


def test_the_largest_super_frame_fits_in_pieces_and_their_number_in_a_byte() -> None:
    assert HEAD.size + 14 + 8 + 65535 == MAX_SUPER_FRAME
    assert ONE_CALL_PIECES < MAX_PIECES == 0xFF
    assert ONE_CALL_BYTES + 8 + 20 == 0xFFFF, "a UDP packet over IPv4"

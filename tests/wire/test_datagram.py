"""The prefix of UDP packets: docs/protocol-data.md, "Datagrams"; docs/protocol-sptps.md, "Hashes"."""

from __future__ import annotations

import hashlib

import pytest

from pytinc.wire.datagram import (
    DATAGRAM_OVERHEAD,
    ID_SIZE,
    MAX_DATAGRAM_SIZE,
    MAX_PACKET_SIZE,
    MIN_DATAGRAM_SIZE,
    MIN_MTU,
    MTU_MAX,
    NULL_ID,
    PREFIX_SIZE,
    TYPE_COMPRESSED,
    TYPE_HANDSHAKE,
    TYPE_MAC,
    TYPE_PROBE,
    node_id,
)


@pytest.mark.parametrize(("name", "shown"), [("alpha", "ba3ce58667ca"), ("beta", "560c72de72c0")])
def test_a_node_id_is_the_one_that_tinc_shows_in_its_dump(name: str, shown: str) -> None:
    assert node_id(name).hex() == shown
    assert len(node_id(name)) == ID_SIZE


def test_a_node_id_is_the_start_of_the_hash_of_the_name() -> None:
    assert hashlib.sha512(b"gamma").digest().startswith(node_id("gamma"))


def test_the_sizes_add_up_to_those_of_tinc() -> None:
    assert bytes(6) == NULL_ID
    assert PREFIX_SIZE == 12
    assert DATAGRAM_OVERHEAD == 33
    assert MIN_DATAGRAM_SIZE == 33
    assert MAX_DATAGRAM_SIZE == 1551
    assert MIN_MTU < MTU_MAX < MAX_DATAGRAM_SIZE < MAX_PACKET_SIZE


def test_packet_flags_differ_from_probes_and_handshakes() -> None:
    assert (TYPE_COMPRESSED | TYPE_MAC) & TYPE_PROBE == 0
    assert TYPE_COMPRESSED | TYPE_MAC | TYPE_PROBE < TYPE_HANDSHAKE

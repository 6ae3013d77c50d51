"""ARP and neighbour discovery: messages in frames, frames without a message, and the frames of the guard.

The frames here are built by hand from RFC 826, 4861 and 8200, not by the module that reads them.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.wire import neighbour
from pytinc.wire.neighbour import (
    GUARD_ADDRESS,
    GUARD_MAC,
    NO_NOTE,
    NOBODY,
    Kind,
    Message,
    announcement,
    claim,
    ends_of,
    guard_answer,
    parse,
    question,
    with_sender,
    without_sender,
)

BROADCAST = b"\xff" * 6
ASKER, HOLDER, OTHER = (bytes((2, 0, 0, 0, 0, number)) for number in (1, 2, 3))
IP4, VIP4, MORE4 = bytes((10, 1, 1, 1)), bytes((10, 1, 1, 10)), bytes((10, 1, 1, 77))
IP6, VIP6, MORE6 = (bytes.fromhex("fd00") + bytes(13) + bytes((last,)) for last in (1, 10, 77))
ALL_NODES = bytes.fromhex("ff02") + bytes(13) + b"\1"
NOTE = b"node-x"

stations = st.binary(min_size=6, max_size=6).map(lambda mac: bytes((mac[0] & 0xFE,)) + mac[1:])
v4 = st.binary(min_size=4, max_size=4).filter(any)
v6 = st.binary(min_size=15, max_size=15).map(lambda rest: b"\xfd" + rest)
notes = st.binary(min_size=6, max_size=6)


def arp(
    operation: int, mac: bytes, address: bytes, target_mac: bytes, target: bytes, *, to: bytes = BROADCAST
) -> bytes:
    packet = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + address + target_mac + target
    return to + mac + b"\x08\x06" + packet


def ones_complement(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total


def icmpv6(source: bytes, destination: bytes, body: bytes, *, hops: int = 255, wrong: int = 0) -> bytes:
    """An IPv6 packet; bytes 2 and 3 of ``body`` are zero and become the checksum, ``wrong`` added."""
    pseudo = source + destination + struct.pack("!II", len(body), 58)
    sum_ = (0xFFFF ^ ones_complement(pseudo + body)) ^ wrong
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, hops)
    return head + source + destination + body[:2] + struct.pack("!H", sum_) + body[4:]


def option(type_: int, data: bytes) -> bytes:
    return bytes((type_, (len(data) + 2) // 8)) + data


def solicited(target: bytes) -> bytes:
    return bytes.fromhex("ff0200000000000000000001ff") + target[13:]


def solicitation(
    source: bytes,
    target: bytes,
    *options: bytes,
    mac: bytes = ASKER,
    to: bytes | None = None,
    hops: int = 255,
    wrong: int = 0,
) -> bytes:
    body = b"\x87\0\0\0" + bytes(4) + target + b"".join(options)
    to = to or b"\x33\x33" + solicited(target)[12:]
    return to + mac + b"\x86\xdd" + icmpv6(source, solicited(target), body, hops=hops, wrong=wrong)


def advertisement(
    target: bytes, destination: bytes, *options: bytes, mac: bytes = HOLDER, to: bytes = ASKER
) -> bytes:
    body = b"\x88\0\0\0" + b"\x60\0\0\0" + target + b"".join(options)
    return to + mac + b"\x86\xdd" + icmpv6(target, destination, body)


def checksum_is_good(frame: bytes) -> bool:
    length = int.from_bytes(frame[18:20], "big")
    body = frame[54 : 54 + length]
    return ones_complement(frame[22:54] + struct.pack("!II", length, 58) + body) == 0xFFFF


# -- what frames say --


def test_an_arp_request_is_a_question() -> None:
    frame = arp(1, ASKER, IP4, bytes(6), VIP4)
    assert parse(frame) == Message(Kind.QUESTION, ASKER, IP4, VIP4, BROADCAST, NO_NOTE)


def test_an_arp_request_without_a_sender_is_a_probe() -> None:
    assert parse(arp(1, ASKER, bytes(4), bytes(6), VIP4)) == Message(
        Kind.PROBE, ASKER, NOBODY, VIP4, BROADCAST
    )


def test_an_arp_request_of_a_host_for_itself_is_an_announcement() -> None:
    assert parse(arp(1, HOLDER, VIP4, bytes(6), VIP4)) == Message(
        Kind.ANNOUNCEMENT, HOLDER, VIP4, VIP4, BROADCAST
    )


def test_an_arp_reply_to_one_station_is_an_answer() -> None:
    frame = arp(2, HOLDER, VIP4, ASKER, IP4, to=ASKER)
    assert parse(frame) == Message(Kind.ANSWER, HOLDER, VIP4, IP4, ASKER)


@pytest.mark.parametrize(("target", "to"), [(VIP4, BROADCAST), (VIP4, ASKER), (IP4, BROADCAST)])
def test_an_arp_reply_that_nobody_or_everybody_asked_for_is_an_announcement(target: bytes, to: bytes) -> None:
    message = parse(arp(2, HOLDER, VIP4, BROADCAST, target, to=to))
    assert message is not None
    assert (message.kind, message.mac, message.address) == (Kind.ANNOUNCEMENT, HOLDER, VIP4)


def test_the_sender_of_an_arp_message_is_who_it_names_not_who_forwards_it() -> None:
    frame = bytearray(arp(1, ASKER, IP4, bytes(6), VIP4))
    frame[6:12] = OTHER
    message = parse(bytes(frame))
    assert message is not None
    assert message.mac == ASKER


def test_padding_behind_an_arp_packet_does_not_matter() -> None:
    frame = arp(1, ASKER, IP4, bytes(6), VIP4)
    assert parse(frame + bytes(18)) == parse(frame)


def test_a_neighbour_solicitation_is_a_question() -> None:
    frame = solicitation(IP6, VIP6, option(1, ASKER))
    assert parse(frame) == Message(Kind.QUESTION, ASKER, IP6, VIP6, frame[:6])


def test_a_solicitation_without_link_layer_option_says_nothing_about_its_sender() -> None:
    message = parse(solicitation(IP6, VIP6, to=HOLDER))
    assert message == Message(Kind.ENQUIRY, ASKER, IP6, VIP6, HOLDER)


def test_a_question_without_sender_asks_the_same() -> None:
    arp_form = parse(without_sender(question(ASKER, IP4, VIP4)))
    assert arp_form is not None
    assert (arp_form.kind, arp_form.target) == (Kind.PROBE, VIP4)
    frame = without_sender(question(ASKER, IP6, VIP6, note=NOTE))
    message = parse(frame)
    assert message is not None
    assert (message.kind, message.address, message.target) == (Kind.ENQUIRY, IP6, VIP6)
    assert checksum_is_good(frame)


def test_the_link_layer_option_counts_more_than_the_frames_source() -> None:
    message = parse(solicitation(IP6, VIP6, option(1, ASKER), mac=OTHER))
    assert message is not None
    assert message.mac == ASKER


def test_a_solicitation_without_a_source_is_a_probe() -> None:
    frame = solicitation(bytes(16), VIP6, option(14, NOTE))
    assert parse(frame) == Message(Kind.PROBE, ASKER, NOBODY, VIP6, frame[:6], NOTE)


def test_a_neighbour_advertisement_to_one_station_is_an_answer() -> None:
    frame = advertisement(VIP6, IP6, option(2, HOLDER))
    assert parse(frame) == Message(Kind.ANSWER, HOLDER, VIP6, IP6, ASKER)


def test_a_neighbour_advertisement_to_all_is_an_announcement() -> None:
    frame = advertisement(VIP6, ALL_NODES, option(2, HOLDER), to=b"\x33\x33\0\0\0\1")
    message = parse(frame)
    assert message is not None
    assert (message.kind, message.mac, message.address) == (Kind.ANNOUNCEMENT, HOLDER, VIP6)


def test_options_of_other_types_are_skipped() -> None:
    others = option(14, b"nonce!"), option(200, bytes(30)), option(5, bytes(6))
    message = parse(advertisement(VIP6, IP6, *others, option(2, OTHER)))
    assert message is not None
    assert message.mac == OTHER


# -- what is no message --

QUESTIONS = (
    arp(1, ASKER, IP4, bytes(6), VIP4),
    arp(2, HOLDER, VIP4, ASKER, IP4, to=ASKER),
    solicitation(IP6, VIP6, option(1, ASKER)),
    solicitation(bytes(16), VIP6),
    advertisement(VIP6, IP6, option(2, HOLDER)),
)


@pytest.mark.parametrize("frame", QUESTIONS)
def test_a_truncated_frame_is_not_a_message(frame: bytes) -> None:
    assert parse(frame) is not None
    assert [parse(frame[:size]) for size in range(len(frame))] == [None] * len(frame)


@pytest.mark.parametrize("frame", QUESTIONS)
def test_a_tagged_frame_is_ignored(frame: bytes) -> None:
    assert parse(frame[:12] + b"\x81\x00\x00\x05" + frame[12:]) is None


@pytest.mark.parametrize("wrong", [1, 0x8000, 0xFFFE])
def test_a_message_with_a_wrong_checksum_is_ignored(wrong: int) -> None:
    assert parse(solicitation(IP6, VIP6, option(1, ASKER), wrong=wrong)) is None


@pytest.mark.parametrize("hops", [254, 64, 0])
def test_a_neighbour_message_forwarded_by_a_router_is_ignored(hops: int) -> None:
    """RFC 4861, 7.1.1: it may come from outside."""
    assert parse(solicitation(IP6, VIP6, option(1, ASKER), hops=hops)) is None


@pytest.mark.parametrize(
    "options",
    [b"\1\0" + ASKER, b"\1\2" + ASKER, b"\1", option(1, ASKER) + b"\1", option(1, ASKER) + bytes(8)],
)
def test_a_message_with_malformed_options_is_ignored(options: bytes) -> None:
    assert parse(solicitation(IP6, VIP6, options)) is None


def test_a_multicast_address_has_no_holder() -> None:
    assert parse(solicitation(IP6, ALL_NODES, option(1, ASKER))) is None
    assert parse(arp(1, BROADCAST, IP4, bytes(6), VIP4)) is None
    assert parse(solicitation(IP6, VIP6, option(1, BROADCAST))) is None
    assert parse(advertisement(VIP6, IP6, option(2, b"\x33\x33\0\0\0\1"))) is None


@pytest.mark.parametrize(
    "head", [bytes((0, 6, 8, 0, 6, 4)), bytes((0, 1, 0x86, 0xDD, 6, 4)), bytes((0, 1, 8, 0, 8, 4))]
)
def test_arp_of_other_hardware_or_protocols_is_not_understood(head: bytes) -> None:
    frame = arp(1, ASKER, IP4, bytes(6), VIP4)
    assert parse(frame[:14] + head + frame[20:]) is None


def test_an_arp_reply_without_an_address_and_other_operations_are_ignored() -> None:
    assert parse(arp(2, HOLDER, bytes(4), ASKER, IP4, to=ASKER)) is None
    assert parse(arp(3, HOLDER, VIP4, ASKER, IP4)) is None


def test_other_icmpv6_messages_are_ignored() -> None:
    echo = b"\x80\0\0\0" + bytes(4) + VIP6
    assert parse(HOLDER + ASKER + b"\x86\xdd" + icmpv6(IP6, VIP6, echo)) is None


@given(st.binary(max_size=120), st.sampled_from((b"", *(frame[:n] for frame in QUESTIONS for n in (14, 22)))))
def test_random_bytes_never_raise(rest: bytes, head: bytes) -> None:
    message = parse(head + rest)
    assert message is None or len(message.mac) == 6


@given(
    frame=st.sampled_from(QUESTIONS),
    damage=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_messages_never_raise_and_give_whole_addresses(
    frame: bytes, damage: list[tuple[int, int]]
) -> None:
    bad = bytearray(frame)
    for at, value in damage:
        bad[at % len(bad)] = value
    message = parse(bytes(bad))
    if message is not None:
        assert len(message.mac) == len(message.to) == len(message.note) == 6
        assert len(message.target) in (4, 16)
        assert len(message.address) in (0, len(message.target))


# -- frames that are sent --


@given(mac=stations, address=v4 | v6, target=v4 | v6, note=notes, to=st.none() | stations)
def test_a_question_asks_what_it_was_made_for(
    mac: bytes, address: bytes, target: bytes, note: bytes, to: bytes | None
) -> None:
    if len(address) != len(target) or address == target:
        return
    frame = question(mac, address, target, to=to, note=note)
    message = parse(frame)
    assert message is not None
    assert message[:4] == (Kind.QUESTION, mac, address, target)
    assert message.note == note
    assert frame[6:12] == GUARD_MAC
    assert message.to == (to or (BROADCAST if len(target) == 4 else b"\x33\x33\xff" + target[13:]))


@given(target=v4, note=notes)
def test_a_question_from_nobody_is_a_probe_that_changes_no_table(target: bytes, note: bytes) -> None:
    assert parse(question(GUARD_MAC, NOBODY, target, note=note)) == Message(
        Kind.PROBE, GUARD_MAC, NOBODY, target, BROADCAST, note
    )


def test_a_question_is_the_frame_that_a_host_would_send() -> None:
    for made, by_hand in (
        (question(ASKER, IP4, VIP4), arp(1, ASKER, IP4, bytes(6), VIP4)),
        (question(ASKER, IP6, VIP6), solicitation(IP6, VIP6, option(1, ASKER))),
        (
            question(ASKER, IP6, VIP6, to=HOLDER, note=NOTE),
            solicitation(IP6, VIP6, option(1, ASKER), option(14, NOTE), to=HOLDER),
        ),
    ):
        assert made == by_hand[:6] + GUARD_MAC + by_hand[12:]


def test_a_question_without_a_note_carries_none() -> None:
    assert parse(question(ASKER, IP4, VIP4)) == parse(arp(1, ASKER, IP4, bytes(6), VIP4))
    assert b"\x0e\x01" not in question(ASKER, IP6, VIP6)[54 + 24 :]


@given(holder=stations, address=v4 | v6, client_mac=stations, client=v4 | v6)
def test_a_claim_asks_one_client_for_its_own_address(
    holder: bytes, address: bytes, client_mac: bytes, client: bytes
) -> None:
    if len(address) != len(client) or address == client:
        return
    frame = claim(holder, address, client_mac, client)
    assert parse(frame) == Message(Kind.QUESTION, holder, address, client, client_mac)
    assert frame[6:12] == GUARD_MAC
    if len(client) == 16:
        assert ends_of(frame) == (address, client)


def test_the_answer_for_the_guards_address_is_an_advertisement_of_it() -> None:
    frame = guard_answer(ASKER, IP6)
    assert parse(frame) == Message(Kind.ANSWER, GUARD_MAC, GUARD_ADDRESS, IP6, ASKER)
    assert frame[58] & 0xE0 == 0x60  # solicited, override, no router
    assert checksum_is_good(frame)


def test_a_claim_tells_one_client_who_has_the_address() -> None:
    for made, by_hand in (
        (claim(HOLDER, VIP4, ASKER, IP4), arp(1, HOLDER, VIP4, bytes(6), IP4, to=ASKER)),
        (
            claim(HOLDER, VIP6, ASKER, IP6),
            ASKER
            + HOLDER
            + b"\x86\xdd"
            + icmpv6(VIP6, IP6, b"\x87\0\0\0" + bytes(4) + IP6 + option(1, HOLDER)),
        ),
    ):
        assert made == by_hand[:6] + GUARD_MAC + by_hand[12:]


def test_an_announcement_tells_everybody_who_has_the_address() -> None:
    all_nodes = bytes.fromhex("ff02") + bytes(13) + b"\x01"
    for made, by_hand in (
        (announcement(HOLDER, VIP4), arp(1, HOLDER, VIP4, bytes(6), VIP4)),
        (
            announcement(HOLDER, VIP6),
            bytes.fromhex("333300000001")
            + HOLDER
            + b"\x86\xdd"
            + icmpv6(VIP6, all_nodes, b"\x88\0\0\0" + b"\x20\0\0\0" + VIP6 + option(2, HOLDER)),
        ),
    ):
        assert made == by_hand[:6] + GUARD_MAC + by_hand[12:]
        message = parse(made)
        assert message is not None
        assert message[:3] == (Kind.ANNOUNCEMENT, HOLDER, VIP4 if made[12:14] == b"\x08\x06" else VIP6)


# -- another sender --


def test_a_question_is_asked_again_from_another_address() -> None:
    assert with_sender(arp(1, ASKER, IP4, bytes(6), VIP4), MORE4, NOTE) == arp(1, ASKER, MORE4, NOTE, VIP4)
    asked = solicitation(IP6, VIP6, option(1, ASKER)) + b"padding"
    assert with_sender(asked, MORE6, NO_NOTE) == solicitation(MORE6, VIP6, option(1, ASKER)) + b"padding"


@given(mac=stations, address=v4, target=v4, target_mac=notes, other=v4, padding=st.binary(max_size=20))
def test_another_sender_in_an_arp_request_changes_four_bytes_and_the_note(
    mac: bytes, address: bytes, target: bytes, target_mac: bytes, other: bytes, padding: bytes
) -> None:
    frame = arp(1, mac, address, target_mac, target) + padding
    changed = with_sender(frame, other, NOTE)
    assert changed[28:38] == other + NOTE
    assert changed[:28] + changed[38:] == frame[:28] + frame[38:]
    nobody = with_sender(frame, NOBODY, NO_NOTE)
    assert nobody == frame[:28] + bytes(10) + frame[38:]
    message = parse(nobody)
    assert message is not None
    assert (message.kind, message.mac, message.target) == (Kind.PROBE, mac, target)


@given(
    mac=stations,
    address=v6,
    target=v6,
    other=v6,
    options=st.lists(st.sampled_from((option(1, OTHER), option(14, NOTE), option(99, b"x" * 14)))),
    padding=st.binary(max_size=20),
)
def test_another_sender_in_a_solicitation_keeps_all_else_and_its_checksum_is_good(
    mac: bytes, address: bytes, target: bytes, other: bytes, options: list[bytes], padding: bytes
) -> None:
    frame = solicitation(address, target, *options, mac=mac) + padding
    changed = with_sender(frame, other, NO_NOTE)
    assert changed[22:38] == other
    assert changed[:22] + changed[38:56] + changed[58:] == frame[:22] + frame[38:56] + frame[58:]
    assert checksum_is_good(changed)
    before, after = parse(frame), parse(changed)
    assert before is not None
    assert after == before._replace(address=other)


# -- source and destination --


def test_the_addresses_of_a_packet_are_read_from_its_head() -> None:
    v6_frame = solicitation(IP6, VIP6)
    assert ends_of(v6_frame[:54]) == ends_of(v6_frame) == (IP6, solicited(VIP6))
    v4_frame = HOLDER + ASKER + b"\x08\x00" + b"\x45" + bytes(11) + IP4 + VIP4
    assert ends_of(v4_frame) == ends_of(v4_frame + bytes(20)) == (IP4, VIP4)


@pytest.mark.parametrize("size", [0, 13, 14, 33])
def test_a_truncated_head_or_one_without_ip_has_no_addresses(size: int) -> None:
    assert ends_of((HOLDER + ASKER + b"\x08\x00" + b"\x45" + bytes(19))[:size]) is None
    assert ends_of(solicitation(IP6, VIP6)[:53]) is None
    assert ends_of(arp(1, ASKER, IP4, bytes(6), VIP4)) is None


def test_the_guards_mac_is_a_locally_administered_station_address() -> None:
    assert GUARD_MAC[0] & 0b11 == 0b10
    assert len(neighbour.GUARD_ADDRESS) == 16

"""Meta requests: the forms of docs/protocol-meta.md, round trips, and what must be refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire.address import Address
from pytinc.wire.bits import OptionBits, options_version
from pytinc.wire.requests import (
    Ack,
    AddEdge,
    AddSubnet,
    AnsKey,
    DelEdge,
    DelSubnet,
    Id,
    KeyChanged,
    MtuInfo,
    Number,
    Packet,
    Ping,
    Pong,
    ReqKey,
    Request,
    SptpsPacket,
    TermReq,
    UdpInfo,
    decode_line,
    parse_number,
    parse_request,
)
from pytinc.wire.subnet import Subnet, parse_subnet

# Lines as real daemons sent them (docs/protocol-meta.md, "Traces").
TRACES = [
    "0 alpha 17.7",
    "4 655 1 700000c",
    "7",
    "8",
    "9",
    "10 2b39d53c alpha 10.1.0.0/24",
    "10 4ba5649 alpha 8a:e2:32:1e:22:b8",
    "10 45a39701 beta fd00:1::/64#5",
    "11 8ca8fc45 beta 10.9.0.0/16",
    "12 fb6c7b2d alpha beta 10.99.0.2 655 700000c 1 10.99.0.1 655",
    "12 74d41d gamma beta 10.99.0.2 655 700000c 0",
    "13 f0ab5382 beta alpha",
    "14 1 beta",
    "15 gamma alpha 19",
    "15 alpha gamma 20 yvanZ8ct1M6HiRTmmswAlmLHfBL5J2h9ZFluVyc4ycB",
    "16 alpha beta AAAAAAIApgrb5AUteQsKYcgUw5L2jI9366Jb6NOvAlhsNJqFM52e5C -1 -1 -1 0",
    "16 alpha gamma AAAAAAIAmlPk -1 -1 -1 0 10.99.0.1 655",
    "17 18",
    "21 1485",
    "22 alpha gamma 10.99.0.1 655",
    "23 gamma alpha 1439",
]


@pytest.mark.parametrize("line", TRACES)
def test_a_line_of_a_real_daemon_is_read_and_written_back_unchanged(line: str) -> None:
    assert parse_request(line).format() == line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("08", Ping()),
        ("  8", Ping()),
        ("8 surplus words", Ping()),
        ("0 foo 17", Id("foo", 17, 0)),
        ("0 ^cookie 0", Id("^cookie", 0, 0)),
        ("10 1 a 10.0.0.5/8", AddSubnet(1, "a", parse_subnet("10.0.0.5/8"))),
        ("12 1 a b host.example x c -5", AddEdge(1, "a", "b", Address("host.example", "x"), 12, -5, None)),
        ("12 1 a b fd00:0::1 655 c 5", AddEdge(1, "a", "b", Address("fd00::1", "655"), 12, 5, None)),
        ("15 a b", ReqKey("a", "b", 0)),
        ("16 a b K -1 -1 -1 0 10.0.0.1", AnsKey("a", "b", "K", -1, -1, -1, 0)),
        ("17 0", Packet(0)),
        ("21 0", SptpsPacket(0)),
    ],
)
def test_tinc_is_lenient_about(line: str, expected: Request) -> None:
    assert parse_request(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        "x",
        "-8",
        "24",
        "99999999999999999999",
        "1 94 64 0 0 aa",  # METAKEY: the legacy login has no class
        "5",
        "18 3",
        "0 foo",
        "0 foo x",
        "0 foo 170.1",
        "4 655 1",
        "4 655 x c",
        "10 nothex a 10.0.0.0/8",
        "10 1 a-b 10.0.0.0/8",
        "10 1 a 10.0.0.0/33",
        "10 1 a",
        "12 1 a a 10.0.0.1 655 c 1",
        "12 1 a b 10.0.0.1 655 c",
        "12 1 a b 10.0.0.1 655 c 1 10.0.0.2",
        "12 1 a b 10.0.0.1 655 c 99999999999",
        "13 1 a",
        "13 1 a a",
        "14 1",
        "15 a",
        "15 a b -1",
        "16 a b K -1 -1 -1",
        "17",
        "17 -1",
        "17 32768",
        "21 11",
        "22 a b 10.0.0.1",
        "23 a b 511",
        "15 a b 15 " + "A" * 2049,
    ],
)
def test_a_malformed_line_is_refused(line: str) -> None:
    with pytest.raises(DecodeError):
        parse_request(line)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_one_error_type(text: str) -> None:
    with contextlib.suppress(DecodeError):
        parse_request(text)


@given(st.sampled_from(TRACES), st.integers(0, 100), st.binary(max_size=8))
def test_a_damaged_line_is_read_or_refused_with_one_error_type(line: str, at: int, junk: bytes) -> None:
    raw = line.encode()
    damaged = raw[: at % (len(raw) + 1)] + junk + raw[at % (len(raw) + 1) + len(junk) :]
    with contextlib.suppress(DecodeError):
        parse_request(decode_line(damaged))


names = st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True)
nonces = st.integers(0, 2**32 - 1)
addresses = st.builds(
    lambda ip, port: Address(str(ip), str(port)), st.ip_addresses(), st.integers(1, 65535)
).filter(lambda address: "." not in address.host or ":" not in address.host)
subnets = st.builds(Subnet.mac, st.binary(min_size=6, max_size=6))


@given(
    st.one_of(
        st.builds(AddSubnet, nonces, names, subnets),
        st.builds(DelSubnet, nonces, names, subnets),
        st.builds(KeyChanged, nonces, names),
        st.builds(UdpInfo, names, names, addresses),
        st.builds(MtuInfo, names, names, st.integers(512, 2**31 - 1)),
        st.builds(Ack, st.integers(0, 65535).map(str), st.integers(-(2**31), 2**31 - 1), nonces),
        st.sampled_from([TermReq(), Ping(), Pong()]),
        st.builds(ReqKey, names, names, st.sampled_from([15, 19, 20, 21]), st.just("abc")),
    )
)
def test_written_values_are_read_back(request_: Request) -> None:
    assert parse_request(request_.format()) == request_


@given(names, names, nonces, addresses, nonces, st.integers(-1000, 1000), st.none() | addresses)
def test_an_edge_is_read_back(
    source: str, target: str, nonce: int, address: Address, options: int, weight: int, local: Address | None
) -> None:
    edge = AddEdge(nonce, source, target, address, options, weight, local)
    if source == target:
        with pytest.raises(DecodeError):
            AddEdge.parse(edge.format())
        with pytest.raises(DecodeError):
            DelEdge.parse(DelEdge(nonce, source, target).format())
    else:
        assert AddEdge.parse(edge.format()) == edge


def test_one_newline_is_removed_and_text_must_be_ascii() -> None:
    assert decode_line(b"8\n") == "8"
    with pytest.raises(DecodeError):
        decode_line(b"8 \xff\n")
    with pytest.raises(DecodeError):
        decode_line(b"8" * 3000)
    with pytest.raises(DecodeError):
        decode_line(b"8 \x1b\n")


def test_the_top_byte_of_options_is_the_version() -> None:
    assert options_version(0x0700000C) == 7
    assert options_version(OptionBits.CLAMP_MSS) == 0


def test_numbers_are_those_of_tinc() -> None:
    assert parse_number("22 a") is Number.UDP_INFO

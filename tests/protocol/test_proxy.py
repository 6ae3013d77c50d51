"""Requests to proxies, byte for byte: RFC 1928, RFC 1929, RFC 9110 9.3.6.

See docs/protocol-meta.md, "Proxies".
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import ProtocolError
from pytinc.protocol import proxy as proxy_module
from pytinc.protocol.proxy import MAX_HTTP_ANSWER, ProxyHandshake
from pytinc.wire.address import Address

V4 = Address("192.0.2.1", "655")
V6 = Address("2001:db8::1", "655")
PACKED_V6 = bytes.fromhex("20010db8000000000000000000000001")
BEHIND = b"0 peer 17.7\n"


class Case:
    """A proxy kind, our messages, and the answers of a willing proxy to each."""

    def __init__(self, kind: str, target: Address, turns: list[tuple[bytes, bytes]], *user: str) -> None:
        self.kind = kind
        self.target = target
        self.turns = turns
        self.user = user

    def new(self) -> ProxyHandshake:
        return ProxyHandshake(self.kind, self.target, *self.user)


CASES = [
    Case("socks4", V4, [(b"\x04\x01\x02\x8f\xc0\x00\x02\x01me\0", b"\x00\x5a\0\0\0\0\0\0")], "me"),
    Case("socks4a", V4, [(b"\x04\x01\x02\x8f\xc0\x00\x02\x01\0", b"\x00\x5a\0\0\0\0\0\0")]),
    Case(
        "socks5",
        V4,
        [
            (b"\x05\x01\x00", b"\x05\x00"),
            (b"\x05\x01\x00\x01\xc0\x00\x02\x01\x02\x8f", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"),
        ],
    ),
    Case(
        "socks5",
        V6,
        [
            (b"\x05\x01\x02", b"\x05\x02"),
            (b"\x01\x02me\x06secret", b"\x01\x00"),
            (b"\x05\x01\x00\x04" + PACKED_V6 + b"\x02\x8f", b"\x05\x00\x00\x03\x05proxy\x00\x50"),
        ],
        "me",
        "secret",
    ),
    # A user without a password counts as no user: tinc then asks for no authentication.
    Case(
        "socks5",
        V4,
        [
            (b"\x05\x01\x00", b"\x05\x00"),
            (b"\x05\x01\x00\x01\xc0\x00\x02\x01\x02\x8f", b"\x05\x00\x00\x01" + bytes(6)),
        ],
        "me",
    ),
    # Bytes of the configuration that are not UTF-8 reach the proxy as they are.
    Case(
        "socks5",
        V4,
        [
            (b"\x05\x01\x02", b"\x05\x02"),
            (b"\x01\x02m\xfc\x01\xff", b"\x01\x00"),
            (b"\x05\x01\x00\x01\xc0\x00\x02\x01\x02\x8f", b"\x05\x00\x00\x01" + bytes(6)),
        ],
        "m\udcfc",
        "\udcff",
    ),
    Case(
        "http",
        V4,
        [
            (
                b"CONNECT 192.0.2.1:655 HTTP/1.1\r\nHost: 192.0.2.1:655\r\n\r\n",
                b"HTTP/1.0 200 OK\nServer: x\n\n",
            )
        ],
    ),
    Case(
        "http",
        V4,
        [
            (
                b"CONNECT 192.0.2.1:655 HTTP/1.1\r\nHost: 192.0.2.1:655\r\n\r\n",
                b"HTTP/1.1 200 Connection established\r\nServer: x\r\n\r\n",
            )
        ],
    ),
    Case(
        "http",
        V6,
        [
            (
                b"CONNECT [2001:db8::1]:655 HTTP/1.1\r\nHost: [2001:db8::1]:655\r\n\r\n",
                b"HTTP/1.0 200\r\n\r\n",
            )
        ],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.target.family}")
@pytest.mark.parametrize("step", [1, 2, 7, 60])
def test_a_willing_proxy_gets_the_right_requests_however_its_answers_are_cut(case: Case, step: int) -> None:
    proxy = case.new()
    said = proxy.start()
    for number, (expected, answer) in enumerate(case.turns):
        assert said == expected
        is_last = number == len(case.turns) - 1
        data = answer + BEHIND if is_last else answer
        said, rest = b"", None
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            if rest is None:
                more, rest = proxy.feed(piece)
                said += more
            else:
                rest += piece
        assert (rest == BEHIND) is is_last
    assert said == b""


@pytest.mark.parametrize(
    ("kind", "answer", "complaint"),
    [
        ("socks4", b"\x00\x5b" + bytes(6), "rejected or failed"),
        ("socks4", b"\x00\x77" + bytes(6), "code 119"),
        ("socks4", b"HTTP/1.1", "does not speak SOCKS 4"),
        ("socks5", b"\x05\xff", "another authentication method"),
        ("socks5", b"\x05\x02", "another authentication method"),
        ("socks5", b"HT", "does not speak SOCKS 5"),
        ("socks5", b"\x05\x00\x05\x02\x00\x01\0", "not allowed by the rules"),
        ("socks5", b"\x05\x00\x05\x05\x00\x01\0", "connection refused"),
        ("socks5", b"\x05\x00\x05\x63\x00\x01\0", "code 99"),
        ("socks5", b"\x05\x00\x04\x00\x00\x01\0", "does not speak SOCKS 5"),
        ("socks5", b"\x05\x00\x05\x00\x00\x09\0", "unknown kind of address"),
        ("http", b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        ("http", b"HTTP/1.1 407\r\nA: b\r\n\r\n", "407"),
        ("http", b"HTTP/1.1 2000\r\n\r\n", "does not speak HTTP"),
        # A server that greets first sends no empty line that could be waited for.
        ("http", b"SSH-2.0-x\r\n", "does not speak HTTP"),
        ("http", b"\x05", "does not speak HTTP"),
        ("http", b"\x1b[2J\r\n\r\n", "does not speak HTTP"),
        ("http", b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HTTP_ANSWER, "too long"),
    ],
)
def test_a_refusal_is_reported_in_words(kind: str, answer: bytes, complaint: str) -> None:
    proxy = ProxyHandshake(kind, V4)
    proxy.start()
    with pytest.raises(ProtocolError, match=complaint):
        proxy.feed(answer)


def test_headers_that_come_byte_by_byte_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = 0
    pattern = proxy_module._END_OF_HEADERS

    class Counting:
        def search(self, data: bytearray, start: int = 0) -> re.Match[bytes] | None:
            nonlocal searched
            searched += len(data) - start
            return pattern.search(data, start)

    monkeypatch.setattr(proxy_module, "_END_OF_HEADERS", Counting())
    answer = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10000 + b"\r\n\r\n"
    proxy = ProxyHandshake("http", V4)
    proxy.start()
    for byte in answer[:-1]:
        assert proxy.feed(bytes((byte,)))[1] is None
    assert proxy.feed(answer[-1:])[1] == b""
    assert searched < 5 * len(answer)


def test_the_error_for_wrong_credentials_does_not_contain_them() -> None:
    proxy = ProxyHandshake("socks5", V4, "me", "secret")
    proxy.start()
    proxy.feed(b"\x05\x02")
    with pytest.raises(ProtocolError) as refusal:
        proxy.feed(b"\x01\x01")
    assert "secret" not in str(refusal.value)


def test_a_target_that_a_kind_of_proxy_cannot_reach_is_refused_at_once() -> None:
    with pytest.raises(ProtocolError, match="IPv4"):
        ProxyHandshake("socks4", V6)
    with pytest.raises(ProtocolError, match="too long"):
        ProxyHandshake("socks5", V4, "u" * 256, "p")


@given(st.sampled_from(["socks4", "socks5", "http"]), st.lists(st.binary(max_size=40), max_size=20))
def test_nonsense_is_refused_or_waited_out(kind: str, pieces: list[bytes]) -> None:
    proxy = ProxyHandshake(kind, V4)
    proxy.start()
    try:
        for piece in pieces:
            if proxy.feed(piece)[1] is not None:
                return
    except ProtocolError:
        pass

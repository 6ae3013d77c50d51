"""Single values: docs/tinc-program.md, "Values"; docs/protocol-meta.md, "Subnets"."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.config.settings import HostPort, MulticastGroup, ProxySettings
from pytinc.config.values import (
    parse_boolean,
    parse_configured_subnet,
    parse_host_port,
    parse_integer,
    parse_listen,
    parse_multicast,
    parse_proxy,
)
from pytinc.errors import DecodeError
from pytinc.wire.address import Address


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", True), ("YES", True), ("no", False), ("No", False), ("true", None), ("1", None), ("yes!", None)],
)
def test_only_yes_and_no_are_booleans(text: str, value: bool | None) -> None:
    assert parse_boolean(text) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        (" 7", 7),
        ("5x", 5),
        ("0x10", 0),
        ("99999999999", 2**31 - 1),
        ("-99999999999", -(2**31)),
        ("x5", None),
        ("", None),
        ("-", None),
        ("٣", None),
    ],
)
def test_an_integer_ends_where_the_digits_end(text: str, value: int | None) -> None:
    assert parse_integer(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("example.org", HostPort("example.org")),
        ("example.org 1655", HostPort("example.org", "1655")),
        ("example.org \t http", HostPort("example.org", "http")),
        ("* 655", HostPort("*", "655")),
        ("fd00::1 655 # main", HostPort("fd00::1", "655")),
    ],
)
def test_an_address_is_a_host_with_an_optional_port(text: str, value: HostPort) -> None:
    assert parse_host_port(text) == value


def test_a_configured_subnet_has_no_host_bits() -> None:
    assert str(parse_configured_subnet("10.0.0.0/8#3")) == "10.0.0.0/8#3"
    with pytest.raises(DecodeError, match=r"Network address and prefix length do not match: 10\.0\.0\.1/8"):
        parse_configured_subnet("10.0.0.1/8")
    with pytest.raises(DecodeError, match="Malformed subnet definition"):
        parse_configured_subnet("10.0.0/8")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("none", ProxySettings()),
        ("NONE", ProxySettings()),
        ("socks4 proxy 1080", ProxySettings("socks4", "proxy", "1080")),
        ("socks4 proxy 1080 me", ProxySettings("socks4", "proxy", "1080", "me")),
        ("socks4a proxy 1080", ProxySettings("socks4a", "proxy", "1080")),
        ("socks5 proxy 1080 me secret", ProxySettings("socks5", "proxy", "1080", "me", "secret")),
        ("http proxy 3128", ProxySettings("http", "proxy", "3128")),
        ("exec ssh gw  nc $REMOTEADDRESS", ProxySettings("exec", command="ssh gw  nc $REMOTEADDRESS")),
    ],
)
def test_a_proxy_line_is_understood(text: str, value: ProxySettings) -> None:
    assert parse_proxy(text) == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("exec", "Argument expected for proxy type exec!"),
        ("socks5", "Host and port argument expected for proxy!"),
        ("socks5 host", "Host and port argument expected for proxy!"),
        ("http  host 80", "Host and port argument expected for proxy!"),
        ("carrier pigeon", "Unknown proxy type carrier!"),
    ],
)
def test_a_bad_proxy_line_is_refused_in_tincs_words(text: str, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        parse_proxy(text)


@pytest.mark.parametrize("text", ["socks5\thost\t1080\tme\tsecret", "http://me:secret@host:3128"])
def test_an_invalid_line_is_refused_without_repeating_a_password(text: str) -> None:
    with pytest.raises(DecodeError, match=r"Unknown proxy type (socks5|http)!") as refusal:
        parse_proxy(text)
    assert "secret" not in str(refusal.value)


def test_the_password_of_a_proxy_is_not_shown() -> None:
    assert "secret" not in repr(parse_proxy("socks5 proxy 1080 me secret"))


@given(st.text(min_size=1))
def test_any_value_raises_nothing_but_decode_error(text: str) -> None:
    parse_boolean(text)
    parse_integer(text)
    parse_host_port(text)
    for parse in (parse_proxy, parse_configured_subnet):
        with contextlib.suppress(DecodeError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9655", "127.0.0.1", "9655"),
        ("0.0.0.0:0", "0.0.0.0", "0"),
        ("[::1]:9655", "::1", "9655"),
    ],
)
def test_where_to_listen_is_a_numeric_address_with_a_port(text: str, host: str, port: str) -> None:
    assert parse_listen(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["9655", ":9655", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1",
     "localhost:9655", "::1:9655", "[127.0.0.1]:9655", "[::1]", "[]:1", "*:9655", "127.0.0.1:9 655"],
)  # fmt: skip
def test_anything_else_is_not_an_address_to_listen_on(text: str) -> None:
    with pytest.raises(DecodeError, match="is not ADDRESS:PORT"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("239.1.2.3 5000", MulticastGroup("239.1.2.3", "5000")),
        ("ff02::7  5000\t0", MulticastGroup("ff02::7", "5000", 0)),
        ("group.example tinc 255", MulticastGroup("group.example", "tinc", 255)),
    ],
)
def test_a_multicast_group_has_an_address_a_port_and_an_optional_ttl(
    text: str, group: MulticastGroup
) -> None:
    assert parse_multicast(text) == group


@pytest.mark.parametrize(
    "text", ["239.1.2.3", "239.1.2.3 5 256", "239.1.2.3 5 -1", "239.1.2.3 5 x", "a b 1 2"]
)
def test_another_multicast_group_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="is not ADDRESS PORT"):
        parse_multicast(text)

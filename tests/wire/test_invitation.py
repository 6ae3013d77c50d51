"""The URL of an invitation: docs/protocol-invitations.md, "Inviting" and "Trace of an invitation"."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire import b64
from pytinc.wire.invitation import COOKIE_SIZE, LABEL, SEPARATOR, InvitationUrl, parse_url

HASH = "wE45Nf153qZjlVDD_oHRpmwh"
COOKIE = "tasU-rTGw7nhXAcwtwBbrJYZ"
SECRET = HASH + COOKIE


def test_the_url_of_the_trace_is_read_and_written_back() -> None:
    url = parse_url(f"10.99.0.2:6655/{SECRET}")
    assert url == InvitationUrl("10.99.0.2", "6655", b64.decode(HASH), b64.decode(COOKIE))
    assert url.text() == f"10.99.0.2:6655/{SECRET}"
    assert len(url.cookie) == len(url.key_hash) == COOKIE_SIZE


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("example.org", "example.org", None),
        ("example.org:655", "example.org", "655"),
        ("[fe80::1%eth0]", "fe80::1%eth0", None),
        ("[2001:db8::1]:6655", "2001:db8::1", "6655"),
        ("[192.0.2.1]:1", "192.0.2.1", "1"),
    ],
)
def test_hosts_and_ports_in_all_forms(address: str, host: str, port: str | None) -> None:
    url = parse_url(f"{address}/{SECRET}")
    assert (url.host, url.port) == (host, port)
    assert parse_url(url.text()) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        SECRET,
        f"/{SECRET}",
        f":655/{SECRET}",
        f"a:/{SECRET}",
        f"a:1:2/{SECRET}",
        f"2001:db8::1/{SECRET}",
        f"[::1/{SECRET}",
        f"[]/{SECRET}",
        f"[::1]x/{SECRET}",
        f"a/{SECRET}=",
        f"a/{SECRET[:-1]}",
        f"a/{SECRET[:-1]}.",
        f"a/{SECRET[:-1]}\0",
        f"a/{SECRET[:-1]}ä",
        f"a/b/{SECRET}",
        f"http://a/{SECRET}",
    ],
)
def test_a_malformed_url_is_refused_without_repeating_the_secret(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_url(text)
    assert SECRET[:-1] not in str(caught.value)


def test_no_repr_contains_the_cookie() -> None:
    shown = repr(parse_url(f"a/{SECRET}"))
    assert repr(b64.decode(COOKIE)) not in shown
    assert COOKIE not in shown


def test_the_constants_of_the_protocol() -> None:
    assert len(LABEL) == 15
    assert SEPARATOR == "#" + "-" * 63 + "#"


@given(st.text())
def test_any_text_is_a_url_or_a_decode_error(text: str) -> None:
    for candidate in (text, f"{text}/{SECRET}"):
        with contextlib.suppress(DecodeError):
            parse_url(candidate)


@given(st.binary(min_size=18, max_size=18), st.binary(min_size=18, max_size=18))
def test_written_values_are_read_back(key_hash: bytes, cookie: bytes) -> None:
    url = InvitationUrl("::1", "1", key_hash, cookie)
    assert parse_url(url.text()) == url

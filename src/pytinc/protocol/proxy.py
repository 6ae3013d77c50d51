"""Asking a proxy for a connection: SOCKS 4, SOCKS 5 (RFC 1928, 1929) and HTTP CONNECT.

See docs/protocol-meta.md, "Proxies".

`pytinc.net.meta` makes one `ProxyHandshake` for each connection that goes through a proxy, and carries bytes
until it is done. Departures from tinc: the greeting waits for the proxy's answer; HTTP headers, HTTP version
1.0 and a SOCKS 5 answer with an address of another kind than ours are accepted.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

from pytinc.errors import DecodeError, ProtocolError
from pytinc.wire.address import Address

MAX_HTTP_ANSWER: Final = 16384
"""Bytes; a proxy's status line and headers take some hundred."""
MAX_FIELD: Final = 255
"""Bytes of a user name or password in SOCKS 5, whose length is one byte."""

_SOCKS4_GRANTED: Final = 0x5A
_SOCKS4_REASONS: Final = {
    0x5B: "request rejected or failed",
    0x5C: "the proxy cannot reach our identd",
    0x5D: "identd names another user",
}
_NO_AUTHENTICATION: Final = 0
_USER_AND_PASSWORD: Final = 2
_SOCKS5_REASONS: Final = (
    "succeeded",
    "general failure",
    "not allowed by the rules",
    "network unreachable",
    "host unreachable",
    "connection refused",
    "time to live expired",
    "command not supported",
    "kind of address not supported",
)
_IPV4, _NAME, _IPV6 = 1, 3, 4
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?![^ \r\n])(?: ([ -~]{0,100}))?")
_HTTP: Final = b"HTTP/"
_END_OF_HEADERS: Final = re.compile(rb"\r?\n\r?\n")
_LONGEST_END: Final = b"\r\n\r\n"

Steps: TypeAlias = Generator[tuple[bytes, int], bytes, None]
"""Yields what to send and how many bytes of answer to wait for (0: up to an empty line); receives the
answer."""


class ProxyHandshake:
    """One request to a proxy. ``kind`` is that of `pytinc.config.settings.ProxySettings`.

    Raises `ProtocolError` for a target that this kind of proxy cannot reach.
    """

    def __init__(self, kind: str, target: Address, user: str = "", password: str = "") -> None:
        self._input = bytearray()
        self._searched = 0
        """Bytes of the input in which there is no end of headers."""
        self._steps = _KINDS[kind](target, _bytes(user), _bytes(password))
        self._send, self._wanted = next(self._steps)

    def start(self) -> bytes:
        """Return what to send first."""
        return self._send

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Handle bytes from the proxy; return the bytes to send, and the bytes that came from the target.

        The latter is None until the connection is established. Raises `ProtocolError` if the proxy refuses or
        does not speak the protocol.
        """
        self._input += data
        output = b""
        while (answer := self._take()) is not None:
            try:
                send, self._wanted = self._steps.send(answer)
            except StopIteration:
                return output, bytes(self._input)
            output += send
        return output, None

    def _take(self) -> bytes | None:
        size = self._wanted or self._end_of_headers()
        if size is None or len(self._input) < size:
            return None
        answer = bytes(self._input[:size])
        del self._input[:size]
        return answer

    def _end_of_headers(self) -> int | None:
        data = self._input
        # A server that greets first, as SSH does, never sends the empty line, so do not wait for it.
        if not data.startswith(_HTTP[: len(data)]):
            raise DecodeError("the proxy does not speak HTTP")
        end = _END_OF_HEADERS.search(data, self._searched)
        if end is not None:
            return end.end()
        if len(data) > MAX_HTTP_ANSWER:
            raise DecodeError("the proxy's answer is too long")
        self._searched = max(0, len(data) - len(_LONGEST_END) + 1)
        return None


def _bytes(text: str) -> bytes:
    """Return a word of the configuration as it stands in the file, including bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _socks4(target: Address, user: bytes, password: bytes) -> Steps:
    if target.family != 4:
        raise ProtocolError("a SOCKS 4 proxy reaches IPv4 addresses only")
    request = b"\x04\x01" + _port(target) + ipaddress.ip_address(target.host).packed + user + b"\0"
    answer = yield request, 8
    if answer[0] != 0:
        raise DecodeError("the proxy does not speak SOCKS 4")
    if answer[1] != _SOCKS4_GRANTED:
        raise ProtocolError(f"the proxy says: {_SOCKS4_REASONS.get(answer[1], f'code {answer[1]}')}")


def _socks5(target: Address, user: bytes, password: bytes) -> Steps:
    if max(len(user), len(password)) > MAX_FIELD:
        raise ProtocolError("user name or password is too long for SOCKS 5")
    method = _USER_AND_PASSWORD if user and password else _NO_AUTHENTICATION
    answer = yield bytes((5, 1, method)), 2
    if answer[0] != 5:
        raise DecodeError("the proxy does not speak SOCKS 5")
    if answer[1] != method:
        raise ProtocolError("the proxy wants another authentication method")
    if method == _USER_AND_PASSWORD:
        fields = bytes((1, len(user))) + user + bytes((len(password),)) + password
        answer = yield fields, 2
        if answer[1] != 0:
            raise ProtocolError("the proxy refuses user name or password")
    host = ipaddress.ip_address(target.host).packed
    kind = _IPV4 if target.family == 4 else _IPV6
    answer = yield bytes((5, 1, 0, kind)) + host + _port(target), 5
    if answer[0] != 5:
        raise DecodeError("the proxy does not speak SOCKS 5")
    if answer[1] != 0:
        reason = _SOCKS5_REASONS[answer[1]] if answer[1] < len(_SOCKS5_REASONS) else f"code {answer[1]}"
        raise ProtocolError(f"the proxy says: {reason}")
    # The first byte of the address has arrived already: for a name it is the length.
    rest = {_IPV4: 3, _IPV6: 15, _NAME: answer[4]}.get(answer[3])
    if rest is None:
        raise DecodeError("the proxy answers with an unknown kind of address")
    yield b"", rest + 2


def _http(target: Address, user: bytes, password: bytes) -> Steps:
    # tinc writes IPv6 addresses without brackets, which proxies do not understand (RFC 9110, 9.3.6).
    host = f"[{target.host}]" if target.family == 6 else target.host
    where = f"{host}:{target.port}"
    answer = yield f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode("ascii"), 0
    status = _STATUS.match(answer)
    if status is None:
        raise DecodeError("the proxy does not speak HTTP")
    if not status[1].startswith(b"2"):
        raise ProtocolError(f"the proxy says: {b' '.join(filter(None, status.groups())).decode('ascii')}")


def _port(target: Address) -> bytes:
    return int(target.port).to_bytes(2, "big")


_KINDS: Final[dict[str, Callable[[Address, bytes, bytes], Steps]]] = {
    "socks4": _socks4,
    # With a numeric address, which is all we have, it is the same.
    "socks4a": _socks4,
    "socks5": _socks5,
    "http": _http,
}

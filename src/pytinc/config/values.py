"""Single values of configuration variables: text in, typed value out.

See docs/tinc-program.md, "Values"; docs/protocol-meta.md, "Subnets".

`pytinc.config.reader` calls these functions; it knows files and lines, and turns the `DecodeError` raised
here into a message that names them.
"""

from __future__ import annotations

import re
from typing import Final

from pytinc.config.settings import HostPort, MulticastGroup, ProxySettings
from pytinc.errors import DecodeError
from pytinc.wire.address import Address
from pytinc.wire.subnet import Subnet, parse_subnet

_BOOLEANS: Final = {"yes": True, "no": False}
_LEADING_INTEGER: Final = re.compile(r"[ \t]*([+-]?[0-9]+)", re.ASCII)
_BLANKS: Final = re.compile(r"[ \t]+")
_INT_MIN: Final = -(2**31)
_INT_MAX: Final = 2**31 - 1
_MAX_TTL: Final = 255


def parse_boolean(text: str) -> bool | None:
    """Read ``yes`` or ``no`` in any case; None for anything else."""
    return _BOOLEANS.get(text.lower())


def parse_integer(text: str) -> int | None:
    """Read the integer at the beginning of ``text``; the rest is ignored. None if there are no digits.

    A number beyond 32 bits, the width of tinc's variables, becomes the nearest one that fits.
    """
    match = _LEADING_INTEGER.match(text)
    if match is None:
        return None
    return min(max(int(match[1]), _INT_MIN), _INT_MAX)


def parse_host_port(text: str) -> HostPort:
    """Read ``HOST [PORT]``, separated by blanks; further words are ignored. ``text`` must not be empty."""
    words = _BLANKS.split(text)
    return HostPort(words[0], words[1] if len(words) > 1 else None)


def parse_listen(text: str) -> Address:
    """Read ``ADDRESS:PORT`` with a numeric address; IPv6 in brackets. Raises `DecodeError`.

    Names are not resolved: their meaning can change, and then more would be published than intended.
    """
    host, colon, port = text.rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    address = Address(host[1:-1] if in_brackets else host, port)
    if not colon or address.family != (6 if in_brackets else 4):
        raise DecodeError(f"{text} is not ADDRESS:PORT with a numeric address, such as 127.0.0.1:9655")
    return address


def parse_multicast(text: str) -> MulticastGroup:
    """Read ``ADDRESS PORT [TTL]``, the multicast group of a device. Raises `DecodeError`.

    See docs/protocol-data.md, "Devices".
    """
    words = text.split()
    if len(words) < 2:
        raise DecodeError(f"Port number required for multicast socket: {text} is not ADDRESS PORT [TTL]")
    ttl = parse_integer(words[2]) if len(words) == 3 else 1
    if len(words) > 3 or ttl is None or not 0 <= ttl <= _MAX_TTL:
        raise DecodeError(f"{text} is not ADDRESS PORT [TTL] with a TTL from 0 to {_MAX_TTL}")
    return MulticastGroup(words[0], words[1], ttl)


def parse_configured_subnet(text: str) -> Subnet:
    """Read a subnet of a configuration file, which must have no host bits. Raises `DecodeError`."""
    try:
        subnet = parse_subnet(text)
    except DecodeError:
        raise DecodeError(f"Malformed subnet definition {text}") from None
    if subnet.has_host_bits:
        raise DecodeError(f"Network address and prefix length do not match: {text}")
    return subnet


def parse_proxy(text: str) -> ProxySettings:
    """Read the value of Proxy. Raises `DecodeError`, which never quotes a password.

    See docs/tinc-program.md, "Values".
    """
    kind_text, _, rest = text.partition(" ")
    kind = kind_text.lower()
    if kind == "none":
        return ProxySettings()
    if kind == "exec":
        if not rest.strip(" "):
            raise DecodeError("Argument expected for proxy type exec!")
        return ProxySettings(kind, command=rest)
    if kind not in ("socks4", "socks4a", "socks5", "http"):
        # With tabs instead of spaces, or with a URL, the rest of the word may hold the password.
        raise DecodeError(f"Unknown proxy type {re.split('[^A-Za-z0-9_-]', kind_text)[0]}!")
    host, port, user, password, *_ = [*rest.split(" "), "", "", "", ""]
    if not host or not port:
        raise DecodeError("Host and port argument expected for proxy!")
    return ProxySettings(kind, host, port, user, password)

"""`VirtualIP`: what a member's configuration says about one virtual address, and its health checks.

A value without a state. The configuration reads it, `pytinc.vip` decides by it, and `pytinc.net.checks` runs
its checks. See docs/virtual-ip.md, "Virtual IPs by policy".

The text form has one line for each address. Blanks separate words; a value with blanks stands in quotes:

    line   = ADDRESS ["/" PREFIX] { key "=" value | check }
    key    = "node" | "priority" | "preempt" | ...
    check  = "check=" ( "tcp:" [HOST ":"] PORT | URL { option } | "exec:" SCRIPT )
    option = "status=" LOWEST ["-" HIGHEST] | "text=" TEXT | "verify=" ( "yes" | "no" )

An option belongs to the last check before it. In TEXT, a quote and a backslash have a backslash in front.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from pytinc.errors import DecodeError
from pytinc.wire.names import is_valid_name

DEFAULT_PRIORITY: Final = 100
MAX_PRIORITY: Final = 254
DEFAULT_WEIGHT: Final = 10
MAX_WEIGHT: Final = 255
DEFAULT_RISE: Final = 2
DEFAULT_FALL: Final = 3
DEFAULT_INTERVAL: Final = 1.0
DEFAULT_TIMEOUT: Final = 1.0
MAX_VIRTUAL_IPS: Final = 64
"""Of one node."""
MAX_CHECKS: Final = 8
"""Of one address."""
PREEMPT_DELAYS: Final = (0.0, 86400.0)
"""The shortest and the longest, as in the following; in seconds."""
INTERVALS: Final = (0.1, 3600.0)
TIMEOUTS: Final = (0.1, 60.0)
MAX_COUNT: Final = 100
"""For ``rise`` and ``fall``."""
STATUSES: Final = (100, 599)
DEFAULT_STATUS: Final = (200, 399)
MAX_URL: Final = 512
MAX_TEXT: Final = 256
MAX_NAME: Final = 253
"""Characters of a host's name (RFC 1035), and of the path of a script."""


class Balance(enum.IntEnum):
    """How the members of an address share its clients; the numbers are those of member records."""

    FAILOVER = 0
    """One member serves all."""
    CLIENT = 1
    """Each client gets a member."""
    FLOW = 2
    """Each TCP connection or UDP flow of a client gets a member, where the client's node is pytinc; other
    clients get one member each."""

    @property
    def word(self) -> str:
        """The word of the configuration."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """A TCP connection is accepted. ``host`` None: at the virtual address itself, which the host has."""

    port: int
    host: str | None = None

    def __str__(self) -> str:
        """Return the form of the configuration."""
        if self.host is None:
            return f"tcp:{self.port}"
        return f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """An HTTP request (GET) is answered with an expected status, and a body with an expected text."""

    url: str
    status: tuple[int, int] = DEFAULT_STATUS
    """The lowest and the highest status that are well."""
    text: str | None = None
    verify: bool = False
    """Check the certificate of https."""

    def __str__(self) -> str:
        """Return the URL."""
        return self.url


@dataclass(frozen=True, slots=True)
class ExecCheck:
    """A script of the configuration directory ends with status 0 (well), 2 (drain) or another (not well)."""

    script: str

    def __str__(self) -> str:
        """Return the form of the configuration."""
        return f"exec:{self.script}"


Check: TypeAlias = TcpCheck | HttpCheck | ExecCheck


@dataclass(frozen=True, slots=True)
class VirtualIP:
    """One line ``VirtualIP`` of ``tinc.conf``: this node may serve the address, or its ward may.

    Times are in seconds.
    """

    address: bytes
    """4 or 16 bytes."""
    prefix: int
    """Prefix length; that of a single address by default."""
    priority: int = DEFAULT_PRIORITY
    """1 to 254; the highest of the members that are well serves, when a new one is needed."""
    preempt: float | None = None
    """How long this node must have been well until it takes the address back from a member of lower priority;
    None: it does not."""
    checks: tuple[Check, ...] = ()
    """All must be well."""
    interval: float = DEFAULT_INTERVAL
    timeout: float = DEFAULT_TIMEOUT
    rise: int = DEFAULT_RISE
    """Good results in a row that make a check well, after it was not."""
    fall: int = DEFAULT_FALL
    """Bad results in a row that make it unwell."""
    manage: bool = False
    """The daemon puts the address on its interface; otherwise ``tinc-up`` does."""
    balance: Balance = Balance.FAILOVER
    weight: int = DEFAULT_WEIGHT
    """1 to 255: the share of clients or flows of this node, relative to the others."""
    node: str | None = None
    """The ward: a node that runs tinc's daemon, for which this node speaks as its guardian. None: this node
    itself."""

    @property
    def key(self) -> tuple[bytes, str | None]:
        """What no two lines have in common."""
        return self.address, self.node

    @property
    def address_text(self) -> str:
        """The address without its prefix length, in the usual form."""
        return str(ipaddress.ip_address(self.address))

    def __str__(self) -> str:
        """Return the form of the configuration, without defaults. Times are rounded to milliseconds."""
        return " ".join(_words_of(self))


# -- text out --


def quote(text: str) -> str:
    """Return a value in quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _words_of(virtual_ip: VirtualIP) -> Iterator[str]:
    full = virtual_ip.prefix == 8 * len(virtual_ip.address)
    yield virtual_ip.address_text + ("" if full else f"/{virtual_ip.prefix}")
    if virtual_ip.node is not None:
        yield f"node={virtual_ip.node}"
    if virtual_ip.priority != DEFAULT_PRIORITY:
        yield f"priority={virtual_ip.priority}"
    if virtual_ip.preempt is not None:
        yield f"preempt={_format_seconds(virtual_ip.preempt)}"
    if virtual_ip.balance is not Balance.FAILOVER:
        yield f"balance={virtual_ip.balance.word}"
    if virtual_ip.weight != DEFAULT_WEIGHT:
        yield f"weight={virtual_ip.weight}"
    if virtual_ip.interval != DEFAULT_INTERVAL:
        yield f"interval={_format_seconds(virtual_ip.interval)}"
    if virtual_ip.timeout != DEFAULT_TIMEOUT:
        yield f"timeout={_format_seconds(virtual_ip.timeout)}"
    if virtual_ip.rise != DEFAULT_RISE:
        yield f"rise={virtual_ip.rise}"
    if virtual_ip.fall != DEFAULT_FALL:
        yield f"fall={virtual_ip.fall}"
    if virtual_ip.manage:
        yield "manage=yes"
    for check in virtual_ip.checks:
        yield f"check={check}"
        if isinstance(check, HttpCheck):
            yield from _options_of(check)


def _options_of(check: HttpCheck) -> Iterator[str]:
    lowest, highest = check.status
    if check.status != DEFAULT_STATUS:
        yield f"status={lowest}" if lowest == highest else f"status={lowest}-{highest}"
    if check.text is not None:
        yield f"text={quote(check.text)}"
    if check.verify:
        yield "verify=yes"


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


# -- text in --

_BLANKS: Final = re.compile(r"[ \t]+")
_ASSIGNMENT: Final = re.compile(r'([A-Za-z_-]+)=("(?:[^"\\]|\\["\\])*"|[^ \t"]+)(?:[ \t]+|$)', re.ASCII)
_ESCAPED: Final = re.compile(r"\\(.)")
_COUNT: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?", re.ASCII)
_STATUS: Final = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?", re.ASCII)
_TCP: Final = re.compile(r"tcp:(?:(\[[^][%]*\]|[^][:]+):)?([0-9]{1,5})", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", re.ASCII)
_URL: Final = re.compile(r"https?://[!#-\[\]-~]+", re.ASCII)
_EXEC: Final = re.compile(r"exec:([A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*)", re.ASCII)


def parse_virtual_ip(text: str) -> VirtualIP:
    """Read a line of ``tinc.conf``. Raises `DecodeError`."""
    first, *rest = _BLANKS.split(text, maxsplit=1)
    virtual_ip = VirtualIP(*_parse_place(first))
    seen: set[str] = set()
    for key, value in _assignments(rest[0] if rest else ""):
        read = _KEYS.get(key)
        if read is None:
            raise DecodeError(f"{key} is not a key of a virtual IP{_suggestion(key)}")
        if key in seen:
            raise DecodeError(f"{key} occurs twice")
        if key == "check":
            seen -= _OPTIONS
        else:
            seen.add(key)
        virtual_ip = read(virtual_ip, value)
    if virtual_ip.node is not None:
        _check_ward(virtual_ip)
    return virtual_ip


def _check_ward(virtual_ip: VirtualIP) -> None:
    """Refuse settings that are impossible for another node."""
    if virtual_ip.manage:
        raise DecodeError("manage=yes sets an address on this host, and not on that of another node")
    for check in virtual_ip.checks:
        host = _host_of(check)
        if not isinstance(check, ExecCheck) and (host is None or host == virtual_ip.address):
            raise DecodeError(
                f"check={check} would check the member that serves the address: name an address of "
                f"{virtual_ip.node} itself"
            )


def _host_of(check: Check) -> str | bytes | None:
    """Return the host that a check connects to: a name, or a packed address."""
    from urllib.parse import urlsplit  # seldom needed

    match check:
        case TcpCheck(_, host):
            text = host
        case HttpCheck(url):
            text = urlsplit(url).hostname
        case _:
            return None
    try:
        return ipaddress.ip_address(text or "").packed
    except ValueError:
        return text


def line_key(line: str) -> tuple[bytes, str | None]:
    """Return the address and the node of a line, whatever else is in it; see `VirtualIP.key`.

    Raises `DecodeError` if the line has no address.
    """
    first, *rest = _BLANKS.split(line, maxsplit=1)
    node = None
    with suppress(DecodeError):
        for key, value in _assignments(rest[0] if rest else ""):
            node = value if key == "node" else node
    return _parse_place(first)[0], node


def parse_address(text: str) -> bytes:
    """Read a line of a host file, an address without anything else. Raises `DecodeError`."""
    if len(_BLANKS.split(text)) != 1 or "/" in text:
        raise DecodeError(f"{text} is more than an address: a host file has neither prefix length nor keys")
    return _parse_place(text)[0]


def _parse_place(text: str) -> tuple[bytes, int]:
    """Read ``ADDRESS[/PREFIX]``."""
    address_text, slash, prefix_text = text.partition("/")
    try:
        address = ipaddress.ip_address(address_text)
    except ValueError:
        raise DecodeError(f"{text} is not ADDRESS[/PREFIX]") from None
    if "%" in address_text or not _can_be_shared(address):
        raise DecodeError(
            f"{address_text} cannot be a virtual IP: it is link-local, loopback, multicast or reserved"
        )
    bits = address.max_prefixlen
    prefix = _integer("the prefix length", prefix_text, 1, bits) if slash else bits
    below = (1 << bits - prefix) - 1
    if below > 1 and int(address) & below == 0:
        raise DecodeError(f"{text} is a network, and not an address in it")
    if below > 1 and int(address) & below == below and address.version == 4:
        raise DecodeError(f"{text} is the broadcast address of its network")
    return address.packed, prefix


def _can_be_shared(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    special = address.is_loopback or address.is_link_local or address.is_multicast
    # 0.0.0.0/8; ::/8 with its forms of IPv4 addresses; 240.0.0.0/4.
    return not (special or address.packed[0] == 0 or (address.version == 4 and address.is_reserved))


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield each key, in lower case, and its value without quotes."""
    position = 0
    while position < len(text):
        match = _ASSIGNMENT.match(text, position)
        if match is None:
            raise DecodeError(_why_no_assignment(text[position:]))
        value = match[2]
        if value.startswith('"'):
            value = _ESCAPED.sub(r"\1", value[1:-1])
        yield match[1].lower(), value
        position = match.end()


def _why_no_assignment(text: str) -> str:
    word = _BLANKS.split(text, maxsplit=1)[0]
    key, equals, value = word.partition("=")
    if equals and '"' in value:
        return f'the quotes in {word} do not match: write {key}="some words", and \\" for a quote in them'
    if equals and key and not value:
        return f"{key} has no value"
    return f'{word} is not KEY=VALUE; a value with blanks stands in quotes, as in text="all is well"'


def _suggestion(key: str) -> str:
    from difflib import get_close_matches  # seldom needed

    nearest = get_close_matches(key, KEYS, n=1, cutoff=0.6)
    return f", did you mean {nearest[0]}?" if nearest else f"; the keys are {', '.join(KEYS)}"


def _integer(what: str, text: str, lowest: int, highest: int) -> int:
    if _COUNT.fullmatch(text) is None or not lowest <= int(text) <= highest:
        raise DecodeError(f"{what} is a number from {lowest} to {highest}, not {text or 'nothing'}")
    return int(text)


def _seconds(what: str, text: str, bounds: tuple[float, float]) -> float:
    lowest, highest = bounds
    if _SECONDS.fullmatch(text) is None or not lowest <= float(text) <= highest:
        raise DecodeError(f"{what} is {lowest:g} to {highest:g} seconds, not {text}")
    return float(text)


def _boolean(what: str, text: str) -> bool:
    word = text.lower()
    if word not in ("yes", "no"):
        raise DecodeError(f"{what} is yes or no, not {text}")
    return word == "yes"


def _preempt(text: str) -> float | None:
    if text.lower() == "no":
        return None
    if _SECONDS.fullmatch(text) is None:
        raise DecodeError(
            f"preempt is no, or for how many seconds this node must have been well first, not {text}"
        )
    return _seconds("preempt", text, PREEMPT_DELAYS)


def _balance(text: str) -> Balance:
    balance = next((each for each in Balance if each.word == text.lower()), None)
    if balance is None:
        raise DecodeError(f"balance is {', '.join(each.word for each in Balance)}, not {text}")
    return balance


# -- checks --


def _node(text: str) -> str:
    if not is_valid_name(text):
        raise DecodeError(f"node is the name of a node, not {text}")
    return text


def _with_check(virtual_ip: VirtualIP, text: str) -> VirtualIP:
    check = _parse_check(text)
    if any(str(check) == str(other) for other in virtual_ip.checks):
        raise DecodeError(f"check={text} occurs twice")
    if len(virtual_ip.checks) == MAX_CHECKS:
        raise DecodeError(f"an address has at most {MAX_CHECKS} checks")
    return replace(virtual_ip, checks=(*virtual_ip.checks, check))


def _parse_check(text: str) -> Check:
    if text.startswith("tcp:"):
        return _parse_tcp(text)
    if text.startswith(("http:", "https:")):
        return HttpCheck(_checked_url(text))
    if text.startswith("exec:"):
        return _parse_exec(text)
    raise DecodeError(
        f"check is tcp:PORT, tcp:HOST:PORT, http://HOST/PATH, https://HOST/PATH or exec:SCRIPT, not {text}"
    )


def _parse_tcp(text: str) -> TcpCheck:
    match = _TCP.fullmatch(text)
    if match is None:
        raise DecodeError(f"{text} is not tcp:PORT, tcp:HOST:PORT or tcp:[IPV6]:PORT")
    host = match[1]
    if host is not None:
        host = _checked_host(host, text)
    return TcpCheck(_integer("the port", match[2], 1, 65535), host)


def _checked_host(text: str, check: str) -> str:
    """Return an address (IPv6 without its brackets) or a name."""
    try:
        if text.startswith("["):
            return str(ipaddress.IPv6Address(text[1:-1]))
        if re.fullmatch(r"[0-9.]+", text, re.ASCII):
            return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise DecodeError(f"{text} in {check} is not an address") from None
    if len(text) > MAX_NAME or _NAME.fullmatch(text) is None:
        raise DecodeError(f"{text} in {check} is not the name of a host")
    return text


def _checked_url(text: str) -> str:
    from urllib.parse import urlsplit  # seldom needed

    try:
        url = urlsplit(text)
        fine = bool(url.hostname) and url.port != 0 and url.username is None and not url.fragment
    except ValueError:  # brackets that do not match; a port that is none
        fine = False
    if not fine or _URL.fullmatch(text) is None:
        raise DecodeError(
            f"{text} is not a URL such as http://10.1.1.10:8080/health, without user and fragment"
        )
    if len(text) > MAX_URL:
        raise DecodeError(f"a URL has at most {MAX_URL} characters")
    return text


def _parse_exec(text: str) -> ExecCheck:
    match = _EXEC.fullmatch(text)
    if match is None or len(match[1]) > MAX_NAME or {".", ".."} & set(match[1].split("/")):
        raise DecodeError(
            f"{text} is not exec:SCRIPT, a file of the configuration directory; the name has letters, digits "
            "and any of . _ - /, and the script gets no arguments"
        )
    return ExecCheck(match[1])


def _last_http(virtual_ip: VirtualIP, key: str) -> HttpCheck:
    last = virtual_ip.checks[-1] if virtual_ip.checks else None
    if not isinstance(last, HttpCheck):
        raise DecodeError(
            f"{key} must follow a check=http://... or check=https://..., and there is none before it"
        )
    return last


def _with_last(virtual_ip: VirtualIP, check: Check) -> VirtualIP:
    return replace(virtual_ip, checks=(*virtual_ip.checks[:-1], check))


def _with_status(virtual_ip: VirtualIP, text: str) -> VirtualIP:
    check = _last_http(virtual_ip, "status")
    match = _STATUS.fullmatch(text)
    lowest, highest = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not STATUSES[0] <= lowest <= highest <= STATUSES[1]:
        raise DecodeError(f"status is a number such as 200 or a range such as 200-299, not {text}")
    return _with_last(virtual_ip, replace(check, status=(lowest, highest)))


def _with_text(virtual_ip: VirtualIP, text: str) -> VirtualIP:
    check = _last_http(virtual_ip, "text")
    if not 1 <= len(text) <= MAX_TEXT or not text.isprintable():
        raise DecodeError(f"text is 1 to {MAX_TEXT} printable characters")
    return _with_last(virtual_ip, replace(check, text=text))


def _with_verify(virtual_ip: VirtualIP, text: str) -> VirtualIP:
    check = _last_http(virtual_ip, "verify")
    if not check.url.startswith("https:"):
        raise DecodeError("verify is for https://... only: plain http has no certificate")
    return _with_last(virtual_ip, replace(check, verify=_boolean("verify", text)))


_KEYS: Final[dict[str, Callable[[VirtualIP, str], VirtualIP]]] = {
    "node": lambda ip, text: replace(ip, node=_node(text)),
    "priority": lambda ip, text: replace(ip, priority=_integer("priority", text, 1, MAX_PRIORITY)),
    "preempt": lambda ip, text: replace(ip, preempt=_preempt(text)),
    "balance": lambda ip, text: replace(ip, balance=_balance(text)),
    "weight": lambda ip, text: replace(ip, weight=_integer("weight", text, 1, MAX_WEIGHT)),
    "check": _with_check,
    "status": _with_status,
    "text": _with_text,
    "verify": _with_verify,
    "interval": lambda ip, text: replace(ip, interval=_seconds("interval", text, INTERVALS)),
    "timeout": lambda ip, text: replace(ip, timeout=_seconds("timeout", text, TIMEOUTS)),
    "rise": lambda ip, text: replace(ip, rise=_integer("rise", text, 1, MAX_COUNT)),
    "fall": lambda ip, text: replace(ip, fall=_integer("fall", text, 1, MAX_COUNT)),
    "manage": lambda ip, text: replace(ip, manage=_boolean("manage", text)),
}
KEYS: Final = tuple(_KEYS)
"""The keys of a line."""
_OPTIONS: Final = frozenset({"status", "text", "verify"})
"""Keys that belong to one check, and so may come again after the next."""

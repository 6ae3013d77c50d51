"""UDP discovery and path MTU search of one peer (tinc: try_udp(), try_mtu()).

See docs/protocol-data.md, "Tunnel upkeep".

Both use the same *probes*: the peer answers a request of some length with an 18-byte reply that names this
length. A reply proves that UDP works (``confirmed``) and that this length passes (``minmtu``).

The node calls `upkeep` when it has traffic for the peer and sends the probes that this returns; `next_upkeep`
returns the earliest useful time for the next call. Field names are tinc's. All MTUs count record payload
bytes, that is the Ethernet frame.

Probes also carry a pytinc node's capabilities (`pytinc.wire.capabilities`), in bytes that a C node does not
read; the capabilities do not change a probe's size.

The search is a state machine, `Search` (tinc keeps all of it in one number, mtuprobes)::

    from                what happens                                      to
    FRESH               the first probe is sent                           SEARCHING
    SEARCHING           enough was tried, or both bounds meet             FIXED
    FIXED               a check is sent                                   UNANSWERED
    UNANSWERED          the check is answered                             FIXED
    UNANSWERED          three checks were not answered                    FRESH
    FIXED, UNANSWERED   the kernel refuses a size that should pass        FRESH
    any                 more passes than was thought: search upwards      SEARCHING
    any                 the address changed, or UDP broke                 FRESH
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, assert_never

from pytinc.wire.capabilities import (
    BLOCK_SIZE,
    IN_REQUEST,
    IN_SHORT_REPLY,
    Capability,
    format_block,
    parse_block,
)
from pytinc.wire.datagram import MIN_MTU, MTU_MAX

MIN_PROBE_SIZE: Final = 18
REQUEST: Final = 0
REPLY_FULL: Final = 1
"""A reply of the request's own length, to peers older than 17.3."""
REPLY_SHORT: Final = 2
"""A reply of 18 bytes that names the request's length."""
SHORT_REPLY_VERSION: Final = 3
SEARCH_INTERVAL: Final = 1 / 3
LOST_CHECK_INTERVAL: Final = 1.0
SEARCH_PROBES: Final = 20
UNANSWERED_CHECKS: Final = 3
"""After this many unanswered checks in a row the path has shrunk, and the search starts again."""
PROBES_PER_CYCLE: Final = 8
WITHHELD_FIRST: Final = 10.0
"""Seconds for which super-frames are not announced after a piece was lost: on such a path a record in 42
pieces is lost 42 times as often as a record in one datagram. Each further loss doubles the time."""
WITHHELD_LONGEST: Final = 640.0
"""The longest such time; after the same time without a loss, the next one is short again."""
_HEADER: Final = 14
"""Zero bytes at the start of a request, in the place of a frame's MACs and ethertype."""


@dataclass(frozen=True, slots=True)
class PathSettings:
    """The configuration variables that govern probes; times in seconds."""

    udp_discovery: bool = True
    interval: float = 2
    keepalive_interval: float = 10
    timeout: float = 30
    local_discovery: bool = True
    ping_interval: float = 60
    capabilities: Capability = Capability.NONE
    """The capabilities that our probes announce."""


class ProbeOut(NamedTuple):
    """A probe to send."""

    payload: bytes
    local: bool = False
    """Send it to the peer's address in its own network, instead of the address in its edges."""


class ProbeResult(NamedTuple):
    """The result of a received probe."""

    reply: bytes | None = None
    """To be sent to the source of the request."""
    confirmed: bool = False
    """This reply is the first one: UDP with the peer works."""
    capabilities: Capability | None = None
    """The capabilities that the peer announces; None if a probe of this kind carries none."""


class Search(enum.Enum):
    """The states of the search for the path MTU."""

    FRESH = enum.auto()
    """Nothing was tried yet: start with the size that the kernel reports."""
    SEARCHING = enum.auto()
    """Three probes a second go out, until `SEARCH_PROBES` were tried or both bounds meet."""
    FIXED = enum.auto()
    """The MTU is found. Every PingInterval it is checked, and one byte more is tried."""
    UNANSWERED = enum.auto()
    """A check was sent; it is repeated every second until one is answered."""


class UdpFacts(Protocol):
    """What probes have found out about direct UDP to one peer; kept in the peer's slot, for the data path.

    `PathMtu` sets them; `maxrecentlen` is raised by received frames as well.
    """

    confirmed: bool
    """A reply arrived: UDP works (tinc: udp_confirmed)."""
    minmtu: int
    """Longest payload proved to pass."""
    mtu: int
    """The MTU used for fragmenting and clamping."""
    maxrecentlen: int
    """Longest frame or probe received by UDP since the last unrequested reply."""


class PathMtu:
    """Finds out about the UDP path to one peer, and sets its ``facts``."""

    __slots__ = (
        "_again",
        "_may_search",
        "_sends_replies",
        "_timeout_at",
        "_tried",
        "_unanswered",
        "_withheld_for",
        "_withheld_until",
        "_withholds",
        "facts",
        "maxmtu",
        "mtu_ping_sent",
        "ping_sent",
        "search",
        "settings",
        "udp_ping_rtt",
        "udp_ping_sent",
        "udp_reply_sent",
    )

    def __init__(self, settings: PathSettings, facts: UdpFacts) -> None:
        self.settings = settings
        self.facts = facts
        self._withholds = False
        self._withheld_until = -math.inf
        """Our probes do not announce super-frames before this time."""
        self._withheld_for = WITHHELD_FIRST
        self.udp_ping_sent = -math.inf
        self.ping_sent = False
        """A request was sent and is not answered yet."""
        self.udp_ping_rtt = -1
        """Microseconds; -1 if unknown."""
        self.udp_reply_sent = -math.inf
        self.maxmtu = MTU_MAX
        """Longest payload that is not disproved."""
        self.search = Search.FRESH
        self._tried = 0
        """Probes of the present search."""
        self._unanswered = 0
        """Checks without an answer so far."""
        self.mtu_ping_sent = -math.inf
        self._again = False
        """The kernel refused the last search probe: the same step must be repeated at once."""
        # The arguments of the last `upkeep`, for `next_upkeep`.
        self._may_search = True
        self._sends_replies = True
        self._timeout_at = math.inf

    # -- resets --

    def reset_path(self) -> None:
        """Forget everything that was proved, because the address changed. ``mtu`` stays.

        See docs/protocol-data.md, "Address of a node".
        """
        self.facts.confirmed = False
        self._begin_search()
        self.facts.maxrecentlen = 0
        self.maxmtu = MTU_MAX
        self._again = False
        self._timeout_at = math.inf

    def reset(self) -> None:
        """Start afresh: the peer became reachable or unreachable."""
        self.reset_path()
        self.ping_sent = False
        self.udp_ping_rtt = -1
        self.udp_ping_sent = self.udp_reply_sent = self.mtu_ping_sent = -math.inf

    def limit_mtu(self, limit: int) -> None:
        """Lower ``mtu`` to a configured bound (variable PMTU)."""
        self.facts.mtu = min(self.facts.mtu, limit)

    @property
    def is_searching(self) -> bool:
        """A search has begun and is not over; the next `upkeep` continues it."""
        return self.facts.confirmed and self.search is Search.SEARCHING

    @property
    def _is_over(self) -> bool:
        return self.search in (Search.FIXED, Search.UNANSWERED)

    @property
    def is_fixed(self) -> bool:
        """The search is over and has found an MTU worth reporting to others."""
        return self.facts.minmtu == self.maxmtu and self.facts.minmtu >= MIN_MTU

    # -- timeout of UDP --

    def next_deadline(self) -> float:
        """Return the time at which UDP counts as broken if no reply arrives first."""
        return self._timeout_at

    def timeout(self, now: float) -> bool:
        """Give UDP up and return True if the deadline has passed."""
        if now < self._timeout_at:
            return False
        self.reset_path()
        self.udp_ping_rtt = -1
        return True

    # -- sending --

    def next_upkeep(self, now: float) -> float:
        """Return the earliest time, ``now`` or later, at which `upkeep` may have something to send."""
        due = math.inf
        if self.settings.udp_discovery:
            due = self.udp_ping_sent + self._request_interval()
            if self.facts.confirmed and self._sends_replies:
                due = min(due, self.udp_reply_sent + self.settings.keepalive_interval - 1)
        if self._may_search and (self.facts.confirmed or not self.settings.udp_discovery):
            due = min(due, self.mtu_ping_sent + self._search_interval())
        return max(due, now)

    def upkeep(
        self,
        now: float,
        *,
        search_mtu: bool,
        pmtu_option: bool,
        version: int,
        random_bytes: Callable[[int], bytes],
        initial_maximum: Callable[[], int | None],
        has_local_edge: bool,
    ) -> list[ProbeOut]:
        """Return the probes that are due.

        ``version`` is the peer's protocol minor, ``pmtu_option`` its PMTU_DISCOVERY bit; ``initial_maximum``
        returns the largest size that passes according to the kernel, None if the kernel does not tell.
        """
        self._may_search = pmtu_option
        self._sends_replies = version >= SHORT_REPLY_VERSION
        if now >= self._withheld_until:
            self._withholds = False
        probes: list[ProbeOut] = []
        if self.settings.udp_discovery:
            probes += self._discover(now, random_bytes, has_local_edge)
        if search_mtu and pmtu_option:
            probes += self._search(now, random_bytes, initial_maximum)
        return probes

    def _discover(
        self, now: float, random_bytes: Callable[[int], bytes], has_local_edge: bool
    ) -> list[ProbeOut]:
        probes: list[ProbeOut] = []
        settings = self.settings
        if (
            self.facts.confirmed
            and self._sends_replies
            and now - self.udp_reply_sent >= settings.keepalive_interval - 1
        ):
            self.udp_reply_sent = now
            if self.facts.maxrecentlen > 0:
                reply = self._short_reply(self.facts.maxrecentlen, bytes(11) + random_bytes(4))
                probes.append(ProbeOut(reply))
                self.facts.maxrecentlen = 0
        if now - self.udp_ping_sent >= self._request_interval():
            self.udp_ping_sent = now
            self.ping_sent = True
            probes.append(ProbeOut(self.make_request(random_bytes)))
            if settings.local_discovery and not self.facts.confirmed and has_local_edge:
                probes.append(ProbeOut(self.make_request(random_bytes), local=True))
        return probes

    def _request_interval(self) -> float:
        return self.settings.keepalive_interval if self.facts.confirmed else self.settings.interval

    def make_request(self, random_bytes: Callable[[int], bytes], size: int = MIN_PROBE_SIZE) -> bytes:
        """Return a request of ``size`` bytes."""
        request = bytes(_HEADER) + random_bytes(max(size, MIN_PROBE_SIZE) - _HEADER)
        return self._announce(request, IN_REQUEST)

    @property
    def capabilities(self) -> Capability:
        """Return the capabilities that our probes announce to this peer now."""
        wanted = self.settings.capabilities
        # Pieces count only from an address that is proved to us (`pytinc.datapath.inbound`).
        if self._withholds or not self.facts.confirmed:
            return wanted & ~Capability.SUPER_FRAMES
        return wanted

    def withhold_super_frames(self, now: float) -> None:
        """Stop announcing super-frames for a while, each time for longer: the path loses pieces of them."""
        if self._withholds:
            return  # the peer has not been told yet
        if now > self._withheld_until + WITHHELD_LONGEST:
            self._withheld_for = WITHHELD_FIRST
        self._withholds, self._withheld_until = True, now + self._withheld_for
        self._withheld_for = min(2 * self._withheld_for, WITHHELD_LONGEST)

    def _announce(self, probe: bytes, offset: int) -> bytes:
        """Return the probe with our capability block at ``offset``, if there is anything to announce."""
        capabilities = self.capabilities
        if not capabilities:
            return probe
        return probe[:offset] + format_block(capabilities) + probe[offset + BLOCK_SIZE :]

    # -- the search --

    def _search_interval(self) -> float:
        match self.search:
            case Search.FRESH:
                return 0.0
            case Search.SEARCHING:
                return SEARCH_INTERVAL
            case Search.FIXED:
                return self.settings.ping_interval
            case Search.UNANSWERED:
                return LOST_CHECK_INTERVAL
            case _ as unreachable:
                assert_never(unreachable)

    def _search(
        self,
        now: float,
        random_bytes: Callable[[int], bytes],
        initial_maximum: Callable[[], int | None],
    ) -> list[ProbeOut]:
        if self.settings.udp_discovery and not self.facts.confirmed:
            self._begin_search()
            self.facts.maxrecentlen = 0
            self.maxmtu = MTU_MAX
            self._again = False
            return []
        if now - self.mtu_ping_sent < self._search_interval():
            return []
        again, self._again = self._again, False
        self.mtu_ping_sent = now
        if self._fix_mtu() and self.facts.minmtu < MIN_MTU:
            # tinc immediately finds that one byte more passes, and searches without end.
            return []
        if self._unanswered >= UNANSWERED_CHECKS:
            self._begin_search()
        if self._is_over:
            sizes = self._check_sizes()
            self.search = Search.UNANSWERED
            self._unanswered += 1
        else:
            if self.search is Search.FRESH and not again:
                self.maxmtu = min(initial_maximum() or MTU_MAX, MTU_MAX)
                if self.maxmtu < MIN_MTU:
                    self.maxmtu = MTU_MAX
                self.facts.minmtu = min(self.facts.minmtu, self.maxmtu)
            sizes = [self._search_size()]
            self.search = Search.SEARCHING
            self._tried += 1
        return [ProbeOut(self.make_request(random_bytes, size)) for size in sizes]

    def _begin_search(self) -> None:
        """Start a new search with nothing proved."""
        self.search = Search.FRESH
        self._tried = self._unanswered = 0
        self.facts.minmtu = 0

    def _fix(self) -> None:
        self.search = Search.FIXED
        self._tried = self._unanswered = 0

    def _check_sizes(self) -> list[int]:
        """Return the lengths that check a fixed MTU, and whether the path has grown."""
        if self.search is Search.FIXED and self.maxmtu + 1 < MTU_MAX:
            return [self.maxmtu, self.maxmtu + 1]
        return [self.maxmtu]

    def _search_size(self) -> int:
        """Return the next length to try: first near the maximum, then exponentially smaller."""
        base = max(self.facts.minmtu, MIN_MTU)
        interval = self.maxmtu - base
        if interval <= 0:
            return base
        multiplier = 0.97 if self.maxmtu == MTU_MAX else 1.0
        step = (PROBES_PER_CYCLE - 1) - self._tried % PROBES_PER_CYCLE
        exponent = multiplier * step / (PROBES_PER_CYCLE - 1)
        return base + round(math.pow(interval, exponent))

    def _fix_mtu(self) -> bool:
        """End the search if both bounds meet or enough was tried (tinc: fix_mtu()); True if it ended."""
        if self._is_over:
            return False
        if self._tried < SEARCH_PROBES and self.facts.minmtu < self.maxmtu:
            return False
        self.maxmtu = self.facts.minmtu
        # A search without a useful result says nothing about TCP, which then carries the frames.
        self.facts.mtu = self.facts.minmtu if self.facts.minmtu >= MIN_MTU else MTU_MAX
        self._fix()
        return True

    def too_big(self, size: int, now: float) -> None:
        """The kernel refused a payload of ``size`` bytes: less fits (tinc: reduce_mtu()).

        During the search the step is repeated with the new bound. If the MTU was fixed, a new search starts
        and TCP carries large frames meanwhile (tinc loses them for up to a minute).
        """
        bound = max(size - 1, MIN_MTU)
        self.facts.mtu = min(self.facts.mtu, bound)
        if bound >= self.maxmtu:
            return
        self.maxmtu = bound
        if self._is_over:
            self._begin_search()
        else:
            self.facts.minmtu = min(self.facts.minmtu, bound)
            self._tried = max(self._tried - 1, 0)
            self.search = Search.SEARCHING if self._tried else Search.FRESH
            self._again = True
        self.mtu_ping_sent = -math.inf

    # -- receiving --

    def on_probe(self, payload: bytes, now: float, version: int, *, timed: bool = True) -> ProbeResult:
        """Handle a probe: answer a request, learn from a reply. A probe that is too short is ignored.

        ``timed``: the reply may belong to the request of the last `upkeep` and so give the round trip time.
        """
        self.facts.maxrecentlen = min(max(self.facts.maxrecentlen, len(payload)), MTU_MAX)
        if not payload:
            return ProbeResult()
        if payload[0] == REQUEST:
            capabilities = parse_block(payload, IN_REQUEST)
            return ProbeResult(reply=self._reply_to(payload, version), capabilities=capabilities)
        if payload[0] == REPLY_SHORT:
            if len(payload) < 3:
                return ProbeResult()
            confirmed = self._on_reply(int.from_bytes(payload[1:3], "big"), now, timed=timed)
            return ProbeResult(confirmed=confirmed, capabilities=parse_block(payload, IN_SHORT_REPLY))
        # The whole request came back, including our own block.
        return ProbeResult(confirmed=self._on_reply(len(payload), now, timed=timed))

    def _reply_to(self, request: bytes, version: int) -> bytes:
        if version < SHORT_REPLY_VERSION:
            return bytes((REPLY_FULL,)) + request[1:]
        rest = request[3:MIN_PROBE_SIZE].ljust(MIN_PROBE_SIZE - 3, b"\0")
        return self._short_reply(len(request), rest)

    def _short_reply(self, length: int, rest: bytes) -> bytes:
        return self._announce(bytes((REPLY_SHORT,)) + length.to_bytes(2, "big") + rest, IN_SHORT_REPLY)

    def _on_reply(self, length: int, now: float, *, timed: bool) -> bool:
        """Handle a reply to a request of ``length`` bytes; True if it is the first (tinc: udp_probe_h())."""
        length = min(length, MTU_MAX)
        if self.ping_sent and timed:
            self.udp_ping_rtt = round((now - self.udp_ping_sent) * 1_000_000)
            self.ping_sent = False
        first = not self.facts.confirmed
        self.facts.confirmed = True
        if self.settings.udp_discovery:
            self._timeout_at = now + self.settings.timeout
        if length > self.maxmtu:
            # The path has grown: search upwards.
            self.facts.minmtu, self.maxmtu = length, MTU_MAX
            self.search, self._tried, self._unanswered = Search.SEARCHING, 1, 0
            return first
        if self._is_over and length == self.maxmtu:
            self._fix()
            if length >= MIN_MTU:
                # Without this check every ping would postpone the next search.
                self.mtu_ping_sent = now
        if self.facts.minmtu < length:
            self.facts.minmtu = length
            self._fix_mtu()
        return first

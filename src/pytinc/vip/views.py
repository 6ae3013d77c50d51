"""A picture of the guard for those who watch it: numbers, names and words, nothing that refers to live state.

`pytinc.vip.guard.Guard.view` takes it; `pytinc.net.shell` hands it on to the control socket and the metrics.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from pytinc.wire.virtual_ip import DEFAULT_WEIGHT, Balance


class HolderState(enum.Enum):
    """What the guard knows of the node behind a holder of an address."""

    OWN = "own"
    """The holder is behind this node's own device."""
    ALIVE = "alive"
    """Watched, and it answers."""
    SUSPECT = "suspect"
    """Watched; probes are missing, a burst is on its way."""
    SILENT = "silent"
    """Watched; neither probes nor the burst were answered."""
    UNREACHABLE = "unreachable"
    """The node has left the mesh, or nobody owns the MAC address."""
    UNWATCHED = "unwatched"
    """Reachable; nobody here needs to know more."""


@dataclass(frozen=True, slots=True)
class HolderView:
    """A MAC address that answers for an address."""

    mac: str
    node: str | None
    """The node that owns the MAC address; None if nobody does now."""
    state: HolderState
    rtt_s: float | None
    """Smoothed round trip time of probes to the node; None if it is not watched."""
    answered_s: float
    """Seconds since the holder last answered for the address, as far as this node saw."""


@dataclass(frozen=True, slots=True)
class ClientView:
    """A station that uses an address."""

    mac: str
    address: str | None
    """Its own address of the same family; None if it never said."""
    node: str | None
    """The node behind which it stands."""
    holder: str | None
    """The MAC address of the holder that it uses, where this node can know."""
    idle_s: float
    """Seconds since this node last saw it use the address."""


@dataclass(frozen=True, slots=True)
class FailoverView:
    """The last time the clients of an address were led to another holder."""

    ago_s: float
    """Seconds since it began."""
    reason: str
    """``silent``, ``unreachable``, ``withdrawn``, ``removed``, or ``moved`` by the members of the address."""
    from_node: str
    to_node: str | None
    """The node that was seen to answer, or was asked for; None if there was none."""
    silent_s: float
    """How long the old holder had been silent when the clients' questions were asked."""
    seconds: float | None
    """From the last sign of life of the old holder to the first sign of the new one; None: none was seen (the
    answers for clients behind other nodes pass elsewhere)."""
    clients: int
    """In whose names questions were asked."""


@dataclass(frozen=True, slots=True)
class AddressView:
    """An address that somebody uses."""

    address: str
    shared: bool
    """It has holders behind more than one node: the guard can do something."""
    holders: tuple[HolderView, ...]
    clients: tuple[ClientView, ...]
    """The latest ones; there may be thousands."""
    clients_total: int
    failover: FailoverView | None


@dataclass(frozen=True, slots=True)
class GuardCounters:
    """Counts since the start."""

    failovers: int = 0
    suspicions: int = 0
    false_suspicions: int = 0
    """Suspicions after which the node answered."""
    stalls: int = 0
    """How often this node itself was late, and therefore suspected nobody for a while."""
    probes: int = 0
    probe_bytes: int = 0
    """UDP payload."""
    questions: int = 0
    """Asked in clients' names."""
    lone_questions: int = 0
    """Asked in our own name, to know the holders."""
    notices: int = 0
    """Clients that other guards were told of."""
    corrections: int = 0
    """Clients told again where they were after another holder had led them away."""
    rewritten: int = 0
    """ARP requests whose sender would have led clients away."""
    withheld: int = 0
    """Answers for a shared address that were not let out while withdrawing."""


@dataclass(frozen=True, slots=True)
class GuardSummary:
    """The guard in numbers, without the addresses: what is asked for often."""

    watched: int
    """Peers that are being probed now."""
    shared: int
    """Addresses that are shared."""
    last_failover_s: float | None
    """As in `GuardView`."""
    counters: GuardCounters


@dataclass(frozen=True, slots=True)
class GuardView:
    """Everything that is told."""

    enabled: bool
    interval_s: float
    watched: int
    """Peers that are being probed now."""
    last_failover_s: float | None
    """`FailoverView.seconds` of the latest one of all addresses, or ``silent_s`` where that is all we
    know."""
    counters: GuardCounters
    addresses: tuple[AddressView, ...]
    """Shared ones first, then by address."""


# -- virtual IPs by policy --


class MemberState(enum.Enum):
    """What a member does with a virtual address."""

    INIT = "init"
    """It has started just now, and listens to the others."""
    FAULT = "fault"
    """Its checks fail."""
    BACKUP = "backup"
    """It is well, and another one serves."""
    ACTIVE = "active"
    """It serves."""
    DRAIN = "drain"
    """An operator or a check wants it to serve no more."""
    ABSENT = "absent"
    """Its host does not have the address."""


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member of a virtual address, as this node knows it."""

    node: str
    state: MemberState
    priority: int
    heard_s: float | None
    """Seconds since its last record came; None: the own node."""
    alive: bool
    """Its records count: it can be reached and is not silent."""
    balance: str = Balance.FAILOVER.word
    """How its configuration wants the clients to be shared."""
    weight: int = DEFAULT_WEIGHT
    """Its share."""
    clients: int | None = None
    """How many clients it has, if they are shared and this node is a member."""
    flows: int | None = None
    """How many flows of this node's own stations it has, if flows are shared."""
    guardian: str | None = None
    """The node that speaks for it; None: it speaks for itself."""


@dataclass(frozen=True, slots=True)
class CheckView:
    """A health check that this node runs."""

    text: str
    """As configured."""
    well: bool | None
    """None: there was no result yet."""
    detail: str
    """What the last run found, for people."""
    seconds: float | None
    """How long the last run took."""
    since_s: float | None
    """Seconds since the result changed last."""
    node: str | None = None
    """The ward that it looks at; None: the own node."""


@dataclass(frozen=True, slots=True)
class TransitionView:
    """A change of the owner, with the own state at that time."""

    ago_s: float
    state: MemberState | None
    """The own state afterwards; None: this node is no member."""
    owner: str | None
    reason: str
    """For people, for example ``node_2 is silent`` or ``check tcp:80 failed``."""


@dataclass(frozen=True, slots=True)
class VirtualIpView:
    """A virtual address that this node is a member of, or knows from others."""

    address: str
    owner: str | None
    """The node that serves it, as this node sees it; None: nobody does."""
    state: MemberState | None
    """The own state; None: this node is no member."""
    term: int
    """The number of the present claim: it grows with each take-over, freeze and thaw."""
    frozen: bool
    """The owner keeps it whatever its checks and the priorities say."""
    preempt_s: float | None
    members: tuple[MemberView, ...]
    """Highest priority first."""
    checks: tuple[CheckView, ...]
    clients: int
    """Stations that use it, as far as this node knows."""
    transitions: tuple[TransitionView, ...]
    """Latest first, at most 16."""
    transition_counts: tuple[tuple[str, int], ...] = ()
    """Transitions since the start by the kind of reason, for the metrics: a few fixed words such as
    ``silent``, ``fault``, ``drain``, and how often."""
    balance: str = Balance.FAILOVER.word
    """How the clients are shared: as the owner is configured."""
    held_s: float = 0.0
    """Seconds for which this node preempts nobody, because it has done so too often."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """All virtual addresses with members."""

    draining: bool
    """The own node was told to serve nothing."""
    addresses: tuple[VirtualIpView, ...]
    flows: int = 0
    """Flows of this node's own stations that are known, to all addresses whose flows are shared."""
    flows_evicted: int = 0
    """Flows that were forgotten although they were not over, since the start."""

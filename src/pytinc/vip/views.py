"""Views of the guard for commands and metrics: plain values without references to live state.

`pytinc.vip.picture` and `pytinc.vip.policy_picture` make them; `pytinc.net.shell` passes them to
the control socket and the metrics.
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
    """Watched; answers are missing, and a burst of probes is on its way."""
    SILENT = "silent"
    """Watched; neither probes nor the burst were answered."""
    UNREACHABLE = "unreachable"
    """The node has left the mesh, or nobody owns the MAC address."""
    UNWATCHED = "unwatched"
    """Reachable; this node does not watch it, as nothing here depends on it."""


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
    """Its own address of the same family; None if it never showed one."""
    node: str | None
    """The node that it is behind."""
    holder: str | None
    """The MAC address of the holder that it uses, if this node can know it."""
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
    """The node that was seen to answer, or else the one that was asked; None if there was none."""
    silent_s: float
    """How long the old holder had been silent when the clients' questions were asked."""
    seconds: float | None
    """From the last sign of life of the old holder to the first sign of the new one; None: no sign was seen
    (answers for clients behind other nodes do not pass here)."""
    clients: int
    """The clients in whose names questions were asked."""


@dataclass(frozen=True, slots=True)
class AddressView:
    """An address that somebody uses."""

    address: str
    shared: bool
    """It has holders behind more than one node, so the guard can lead clients from one to another."""
    holders: tuple[HolderView, ...]
    clients: tuple[ClientView, ...]
    """The clients that asked last; there may be thousands more."""
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
    """How often this node itself was late and therefore suspected no peer for a while."""
    probes: int = 0
    probe_bytes: int = 0
    """Bytes of UDP payload."""
    questions: int = 0
    """Questions asked in clients' names."""
    lone_questions: int = 0
    """Questions asked in the guard's own name, to know the holders."""
    notices: int = 0
    """Clients that were reported to other guards."""
    corrections: int = 0
    """Clients that were led back to their holder after another one had led them away."""
    rewritten: int = 0
    """ARP requests whose sender would have led clients away."""
    withheld: int = 0
    """Answers for a shared address that were not let out while withdrawing."""


@dataclass(frozen=True, slots=True)
class GuardSummary:
    """The numbers of the guard without the addresses, for frequent requests."""

    watched: int
    """Peers that are being probed now."""
    shared: int
    """Addresses that are shared."""
    last_failover_s: float | None
    """As in `GuardView`."""
    counters: GuardCounters


@dataclass(frozen=True, slots=True)
class GuardView:
    """The whole view."""

    enabled: bool
    interval_s: float
    watched: int
    """Peers that are being probed now."""
    last_failover_s: float | None
    """`FailoverView.seconds` of the latest one of all addresses, or ``silent_s`` if only that is known."""
    counters: GuardCounters
    addresses: tuple[AddressView, ...]
    """Shared ones first, then by address."""


# -- virtual IPs by policy --


class MemberState(enum.Enum):
    """What a member does with a virtual address."""

    INIT = "init"
    """It has just started, and listens to the others."""
    FAULT = "fault"
    """Its checks fail."""
    BACKUP = "backup"
    """It is well, and another member serves."""
    ACTIVE = "active"
    """It serves."""
    DRAIN = "drain"
    """An operator or a check wants it to stop serving."""
    ABSENT = "absent"
    """Its host does not have the address."""


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member of a virtual address, as this node knows it."""

    node: str
    state: MemberState
    priority: int
    heard_s: float | None
    """Seconds since its last record came; None for the own node."""
    alive: bool
    """Its records count: it can be reached and is not silent."""
    balance: str = Balance.FAILOVER.word
    """How its configuration wants the clients to be shared."""
    weight: int = DEFAULT_WEIGHT
    """Its weight, which sets its share of the clients."""
    clients: int | None = None
    """The number of its clients, if they are shared and this node is a member."""
    flows: int | None = None
    """The number of its flows from this node's own stations, if flows are shared."""
    guardian: str | None = None
    """The node that speaks for it; None: it speaks for itself."""


@dataclass(frozen=True, slots=True)
class CheckView:
    """A health check that this node runs."""

    text: str
    """As configured."""
    well: bool | None
    """None: there is no result yet."""
    detail: str
    """The finding of the last run, for people."""
    seconds: float | None
    """How long the last run took."""
    since_s: float | None
    """Seconds since the result last changed."""
    node: str | None = None
    """The ward that it checks; None: the own node."""


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
    """A virtual address that this node is a member of, or knows from other nodes."""

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
    """Flows that were forgotten before they ended, since the start."""

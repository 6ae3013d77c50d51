"""Frozen, typed settings for the program. In the daemon only `pytinc.config.building` makes them.

Each variable (docs/tinc-program.md, "Variables") has a field with its name in snake_case. `Settings` is the
pool "own settings" (server configuration plus own host file); `HostSettings` is the host file of one peer.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from pytinc.wire.address import Address
from pytinc.wire.records import SptpsCipher
from pytinc.wire.subnet import Subnet
from pytinc.wire.virtual_ip import VirtualIP


class Mode(enum.Enum):
    """Routing mode (variable ``Mode``)."""

    ROUTER = "router"
    SWITCH = "switch"
    HUB = "hub"


class Broadcast(enum.Enum):
    """How broadcast packets travel (variable ``Broadcast``; ``yes`` means ``mst``)."""

    NO = "no"
    MST = "mst"
    DIRECT = "direct"


class Forwarding(enum.Enum):
    """What happens to packets for others (variable ``Forwarding``)."""

    OFF = "off"
    INTERNAL = "internal"
    KERNEL = "kernel"


class AddressFamily(enum.Enum):
    """Which address families are used (variable ``AddressFamily``)."""

    ANY = "any"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True)
class HostPort:
    """``HOST [PORT]`` as written in Address, BindToAddress and ListenAddress; ``*`` is the wildcard."""

    host: str
    port: str | None = None


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Variable ``Proxy``. ``kind`` is one of none, socks4, socks4a, socks5, http, exec.

    See docs/tinc-program.md, "Values".
    """

    kind: str = "none"
    host: str = ""
    port: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    command: str = ""


@dataclass(frozen=True, slots=True)
class MulticastGroup:
    """Variable ``Device`` with ``DeviceType = multicast``: where frames are sent.

    See docs/protocol-data.md, "Devices".
    """

    address: str
    """As written; a name is resolved when the device is opened."""
    port: str
    """A number or a service name."""
    ttl: int = 1
    """The number of routers that a datagram may pass, plus one."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """The host configuration of one node. ``None``: the variable is not in the file."""

    name: str
    addresses: tuple[HostPort, ...] = ()
    port: str | None = None
    subnets: tuple[Subnet, ...] = ()
    public_key: bytes | None = None
    """32 bytes: Ed25519PublicKey, else the key file, else a PEM block in the host file.

    See docs/protocol-sptps.md, "Where keys are kept".
    """
    clamp_mss: bool | None = None
    compression: int | None = None
    indirect_data: bool | None = None
    pmtu: int | None = None
    pmtu_discovery: bool | None = None
    sptps_cipher: SptpsCipher = SptpsCipher.CHACHA20_POLY1305
    tcp_only: bool | None = None
    weight: int | None = None
    virtual_ips: tuple[bytes, ...] = ()
    """Addresses (4 or 16 bytes) that the node may hold; at most `MAX_VIRTUAL_IPS`."""
    warnings: tuple[str, ...] = ()
    """Errors that leave the file usable: wrong types, unknown variables, bad subnets and addresses."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Own settings, with tinc's defaults, in seconds and bytes unless a field says otherwise."""

    name: str
    ed25519_private_key_file: str | None = None
    """As configured; `pytinc.config.store.ConfigTree.private_key_path` returns the actual file."""
    # Where and how to listen and to connect.
    port: str = "655"
    address_family: AddressFamily = AddressFamily.ANY
    bind_to_address: tuple[HostPort, ...] = ()
    listen_address: tuple[HostPort, ...] = ()
    bind_to_interface: str | None = None
    fwmark: int = 0
    udp_rcvbuf: int = 1048576
    udp_sndbuf: int = 1048576
    udp_buffers_explicit: bool = False
    """True if UDPRcvBuf or UDPSndBuf is configured: then a smaller buffer is reported."""
    connect_to: tuple[str, ...] = ()
    auto_connect: bool = True
    max_timeout: int = 900
    max_connection_burst: int = 10
    max_output_buffer_size: int = 15180
    proxy: ProxySettings = ProxySettings()
    hostnames: bool = False
    # Times.
    ping_interval: int = 60
    ping_timeout: int = 5
    key_expire: int = 3600
    mac_expire: int = 600
    invitation_expire: int = 604800
    udp_discovery: bool = True
    udp_discovery_interval: int = 2
    udp_discovery_keepalive_interval: int = 10
    udp_discovery_timeout: int = 30
    udp_info_interval: int = 5
    mtu_info_interval: int = 5
    local_discovery: bool = True
    fast_tag: bool = True
    """Agree with pytinc peers on RFC 8439's tag for data by UDP (docs/protocol.md); not in tinc."""
    sptps_cipher: SptpsCipher = SptpsCipher.CHACHA20_POLY1305
    """The cipher that the node wants for sessions with nodes that want it, too."""
    neighbour_guard: bool = True
    """Watch over addresses that several nodes hold (docs/virtual-ip.md); not in tinc."""
    guard_interval: int = 100
    """Milliseconds between two probes of a node that is watched."""
    virtual_ips: tuple[VirtualIP, ...] = ()
    """Addresses that this node may serve, in the order of the file; empty where settings forbid it."""
    strict_virtual_ips: bool = False
    """A node may hold an address only if its host file says so. Default: as StrictSubnets."""
    # Switching.
    mode: Mode = Mode.ROUTER
    broadcast: Broadcast = Broadcast.MST
    broadcast_limit: int = 10_000
    """Frames that each node may send to all in a second (`pytinc.datapath.storm`); 0: any number."""
    broadcast_subnets: tuple[Subnet, ...] = ()
    """Only those of BroadcastSubnet; `pytinc.wire.subnet.DEFAULT_BROADCAST_SUBNETS` always count as well."""
    forwarding: Forwarding = Forwarding.INTERNAL
    direct_only: bool = False
    decrement_ttl: bool = False
    priority_inheritance: bool = False
    strict_subnets: bool = False
    tunnel_server: bool = False
    # Properties of a path, which a host file may override.
    subnets: tuple[Subnet, ...] = ()
    clamp_mss: bool = True
    compression: int = 0
    indirect_data: bool = False
    tcp_only: bool = False
    pmtu: int | None = None
    pmtu_discovery: bool = True
    """Default: yes unless TCPOnly."""
    weight: int | None = None
    replay_window: int = 16
    """Bytes. Without the variable tinc uses 16 for SPTPS, whatever its manual says.

    See docs/protocol-sptps.md, "Replay window".
    """
    # Device and scripts.
    device: str | None = None
    device_type: str | None = None
    device_place: str = ""
    """The variable that says most about the device, and its place, for messages."""
    multicast: MulticastGroup | None = None
    """The meaning of ``device`` if ``device_type`` is multicast."""
    interface: str | None = None
    vde_port: int = 0
    vde_group: str | None = None
    iff_one_queue: bool = False
    offload: bool = True
    """Use offloads of the device and of the UDP sockets: super-frames, and runs of datagrams in one call."""
    device_standby: bool = False
    scripts_extension: str = ""
    scripts_interpreter: str | None = None
    # Process.
    log_level: int = 0
    process_priority: str | None = None
    metrics_listen: Address | None = None
    """Numeric; port 0 is any free one. None: no metrics."""
    experimental_protocol: bool | None = None
    sandbox: str = "off"
    upnp: str = "no"
    """``yes``, ``udponly`` or ``no``."""
    upnp_discover_wait: int = 5
    upnp_refresh_period: int = 60
    warnings: tuple[str, ...] = ()
    """What the daemon reports at start and reload: wrong types, unknown variables, ignored values."""

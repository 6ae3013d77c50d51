"""The table of configuration variables: the only place that defines a variable.

See docs/tinc-program.md, "Variables".

The reader (`pytinc.config.reader`), `get`/`set`/`add`/`del`, `fsck`, invitations, reload and the
documentation all read it. It holds only facts; the code that uses `pytinc.config.settings` decides what a
value does.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


class ValueType(enum.Enum):
    """Form of a value (docs/tinc-program.md, "Values"); the value is the word used in documentation."""

    BOOL = "yes or no"
    INTEGER = "integer"
    SECONDS = "seconds"
    BYTES = "bytes"
    STRING = "string"
    PATH = "path"
    KEYWORD = "keyword"
    SUBNET = "subnet"
    NAME = "node name"
    HOST_PORT = "host [port]"
    ADDRESS_PORT = "address:port"
    KEY = "key"
    VIRTUAL_IP = "address[/prefix] [key=value ...]"


class Reload(enum.Enum):
    """What a reload does with a changed variable: the letters of docs/tinc-program.md, "Variables"."""

    APPLY = "y"
    APPLY_AND_LOOK_UP = "y, c"
    """Applied; for peers, read again for each connection."""
    APPLY_OR_DEFAULT = "d"
    """Applied; removing the line restores the default."""
    APPLY_OR_KEEP = "k"
    """Applied. In tinc, removing the line keeps the old value until the daemon is restarted."""
    LOOK_UP = "c"
    """Read again for each connection or socket."""
    START = "n"
    """Read only at start."""
    IGNORED = ""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. ``name`` has the official spelling; names are compared without case."""

    name: str
    type: ValueType
    default: str
    """In words for the documentation; empty if there is none."""
    server: bool
    """May stand in tinc.conf."""
    host: bool
    """May stand in a host file."""
    multiple: bool
    safe: bool
    """Accepted from an invitation without ``--force``."""
    obsolete: bool
    reload: Reload
    effect: str
    """The effect, in one line for the documentation."""


# Name, where (S server, H host) and flags (m multiple, s safe, o obsolete), type, default, reload, effect.
_B, _I, _S, _P = ValueType.BOOL, ValueType.INTEGER, ValueType.STRING, ValueType.PATH
_K, _SEC, _BYTES = ValueType.KEYWORD, ValueType.SECONDS, ValueType.BYTES
_ROWS: Final = (
    ("Address", "H m", ValueType.HOST_PORT, "", "c", "where to reach the node; PORT defaults to its Port"),
    ("AddressFamily", "S s", _K, "any", "k", "ipv4, ipv6 or any: family of sockets and of look-ups"),
    ("AutoConnect", "S s", _B, "yes", "d", "let the node keep about three connections by itself"),
    ("BindToAddress", "S m", ValueType.HOST_PORT, "", "n", "local address for listening and connecting"),
    ("BindToInterface", "S", _S, "", "c", "bind sockets to a network interface"),
    ("Broadcast", "S s", _K, "mst", "k", "no, mst (= yes) or direct: how broadcast packets are forwarded"),
    ("BroadcastLimit", "S s", _I, "10000", "y", "packets a second that a node may send to all; not in tinc"),
    ("BroadcastSubnet", "S m s", ValueType.SUBNET, "", "y", "further addresses whose packets are broadcast"),
    ("Cipher", "S H", _S, "aes-256-cbc", "n", "cipher of the legacy protocol; not used by pytinc"),
    ("ClampMSS", "S H s", _B, "yes", "y, c", "clamp the MSS of TCP connections to the path MTU"),
    ("Compression", "S H s", _I, "0", "n", "ask peers to compress: 0 no, 1 to 9 zlib, 10 and 11 LZO, 12 LZ4"),
    ("ConnectTo", "S m s", ValueType.NAME, "", "y", "keep an outgoing connection to this node"),
    ("DecrementTTL", "S s", _B, "no", "k", "decrement the TTL of forwarded packets"),
    ("Device", "S", _P, "/dev/net/tun", "n", "device file; DeviceType may give it another meaning"),
    ("DeviceStandby", "S", _B, "no", "n", "run tinc-up only when the first node becomes reachable"),
    ("DeviceType", "S", _K, "tun in router mode, else tap", "n", "kind of the virtual network device"),
    ("Digest", "S H", _S, "sha256", "n", "digest of the legacy protocol; not used by pytinc"),
    ("DirectOnly", "S s", _B, "no", "k", "drop packets that would need relaying"),
    ("Ed25519PrivateKeyFile", "S", _P, "ed25519_key.priv", "n", "file with the own private key"),
    ("Ed25519PublicKey", "H", ValueType.KEY, "", "c", "public key of the node, 43 characters"),
    ("Ed25519PublicKeyFile", "S H", _P, "host file", "c", "PEM file, used without Ed25519PublicKey"),
    ("ExperimentalProtocol", "S", _B, "", "n", "no: legacy protocol only, which pytinc does not speak"),
    ("FastTag", "S", _B, "yes", "y", "send data to pytinc nodes in faster forms; not in tinc"),
    ("Forwarding", "S", _K, "internal", "k", "off, internal or kernel: forwarding of packets for others"),
    ("FWMark", "S", _I, "0", "n", "firewall mark on sockets (Linux)"),
    ("GraphDumpFile", "S o", _P, "", "", "ignored"),
    ("GuardInterval", "S s", _I, "100", "y", "milliseconds between probes of a watched node; not in tinc"),
    ("Hostnames", "S", _B, "no", "k", "resolve addresses to names in logs and dumps"),
    ("IffOneQueue", "S", _B, "no", "n", "a flag of Linux devices that has no effect today"),
    ("IndirectData", "S H s", _B, "no", "y, c", "only peers with a meta connection talk to us directly"),
    ("Interface", "S", _S, "the net name", "n", "name of the virtual network interface"),
    ("InvitationExpire", "S", _SEC, "604800", "d", "life time of invitations"),
    ("KeyExpire", "S s", _SEC, "3600", "d", "life time of data keys"),
    ("ListenAddress", "S m", ValueType.HOST_PORT, "", "n", "listen only here; PORT defaults to Port"),
    ("LocalDiscovery", "S s", _B, "yes", "k", "probe local addresses of peers"),
    ("LogLevel", "S", _I, "0", "n", "debug level, unless -d gave one"),
    ("MACExpire", "S s", _SEC, "600", "d", "life time of learned MAC addresses"),
    ("MACLength", "S H", _BYTES, "4", "n", "MAC length of the legacy protocol; not used by pytinc"),
    ("MaxConnectionBurst", "S s", _I, "10", "n", "accepted connections per burst; at least 1"),
    ("MaxOutputBufferSize", "S s", _BYTES, "15180", "n", "limit for packets queued for TCP"),
    ("MaxTimeout", "S s", _SEC, "900", "d", "longest delay between attempts to connect; at least 1"),
    ("MetricsListen", "S", ValueType.ADDRESS_PORT, "", "n", "serve statistics to Prometheus here, over HTTP"),
    ("Mode", "S s", _K, "router", "k", "router, switch or hub: how packets find their way"),
    ("MTUInfoInterval", "S s", _SEC, "5", "k", "least time between two MTU_INFO messages to a peer"),
    ("Name", "S", ValueType.NAME, "", "n", "name of this node; $VAR and $HOST are expanded"),
    ("NeighbourGuard", "S s", _B, "yes", "y", "watch over addresses that several nodes hold; not in tinc"),
    ("Offload", "S", _B, "yes", "n", "use the kernel's TAP and UDP offloads where it has them"),
    ("PingInterval", "S s", _SEC, "60", "n", "idle time before a ping"),
    ("PingTimeout", "S s", _SEC, "5", "n", "time allowed for answers; at most PingInterval"),
    ("PMTU", "S H", _BYTES, "", "c", "upper bound for the path MTU"),
    ("PMTUDiscovery", "S H", _B, "yes unless TCPOnly", "y", "find out the path MTU to each peer"),
    ("Port", "H", _S, "655", "n", "port number or service name of the node; 0 = any free port"),
    ("PriorityInheritance", "S", _B, "no", "k", "copy the TOS of packets to the UDP packets"),
    ("PrivateKey", "S o", ValueType.KEY, "", "n", "RSA key of the legacy protocol; not used by pytinc"),
    ("PrivateKeyFile", "S", _P, "rsa_key.priv", "n", "RSA key of the legacy protocol; not used by pytinc"),
    ("ProcessPriority", "S", _K, "", "n", "low, normal or high"),
    ("Proxy", "S", _S, "none", "k", "proxy for outgoing connections: none, socks4, socks5, http or exec"),
    ("PublicKey", "H o", ValueType.KEY, "", "c", "RSA key of the legacy protocol; not used by pytinc"),
    ("PublicKeyFile", "S H o", _P, "host file", "c", "RSA key of the legacy protocol; not used by pytinc"),
    ("ReplayWindow", "S s", _BYTES, "16", "n", "size of the replay window, 8 packets a byte; 0 = off"),
    ("Sandbox", "S", _K, "off", "n", "off, normal or high: what the daemon may do once it runs"),
    ("ScriptsExtension", "S", _S, "", "d", "appended to script names"),
    ("ScriptsInterpreter", "S", _S, "", "d", "put in front of the path of scripts"),
    (
        "SPTPSCipher",
        "S H s",
        _K,
        "chacha20-poly1305",
        "y, c",
        "or aes-256-gcm, with nodes that want it, too; not in tinc",
    ),
    ("StrictSubnets", "S s", _B, "no", "n", "accept only Subnets from local host files"),
    ("StrictVirtualIPs", "S s", _B, "as StrictSubnets", "y", "a node holds only VirtualIPs of its host file"),
    ("Subnet", "H m s", ValueType.SUBNET, "", "y", "a network the node serves"),
    ("TCPOnly", "S H s", _B, "no", "y, c", "do not use UDP; implies IndirectData"),
    ("TunnelServer", "S s", _B, "no", "n", "do not tell peers about other nodes; implies StrictSubnets"),
    ("UDPDiscovery", "S s", _B, "yes", "k", "find out whether UDP works with each peer"),
    ("UDPDiscoveryInterval", "S s", _SEC, "2", "k", "time between probes while UDP does not work"),
    ("UDPDiscoveryKeepaliveInterval", "S s", _SEC, "10", "k", "time between probes once UDP works"),
    ("UDPDiscoveryTimeout", "S s", _SEC, "30", "k", "UDP counts as broken after this time without an answer"),
    ("UDPInfoInterval", "S s", _SEC, "5", "k", "least time between two UDP_INFO messages to a peer"),
    ("UDPRcvBuf", "S", _BYTES, "1048576", "n", "receive buffer of UDP sockets; 0 = the system's default"),
    ("UDPSndBuf", "S", _BYTES, "1048576", "n", "send buffer of UDP sockets; 0 = the system's default"),
    ("UPnP", "S", _K, "no", "n", "yes, udponly or no: have the router map our port"),
    ("UPnPDiscoverWait", "S", _SEC, "5", "n", "time that routers have to answer"),
    ("UPnPRefreshPeriod", "S", _SEC, "60", "n", "time after which the port is mapped again"),
    ("VDEGroup", "S", _S, "", "n", "group that may use our socket (DeviceType vde)"),
    ("VDEPort", "S", _I, "", "n", "port of the switch (DeviceType vde)"),
    ("VirtualIP", "S H m", ValueType.VIRTUAL_IP, "", "y", "an address that this node may serve; not in tinc"),
    ("Weight", "H s", _I, "measured", "c", "weight of the edge to this node"),
)  # fmt: skip

DAEMON_ONLY: Final = frozenset({"disablebuggypeers"})
"""Lower-case names that tinc's daemon reads but its command does not know (no effect in pytinc)."""


def _variables() -> Iterator[tuple[str, Variable]]:
    for name, flags, value_type, default, reload, effect in _ROWS:
        yield (
            name.lower(),
            Variable(
                name=name,
                type=value_type,
                default=default,
                server="S" in flags,
                host="H" in flags,
                multiple="m" in flags,
                safe="s" in flags,
                obsolete="o" in flags,
                reload=Reload(reload),
                effect=effect,
            ),
        )


VARIABLES: Final[Mapping[str, Variable]] = MappingProxyType(dict(_variables()))
"""Every known variable by its lower-case name, in alphabetical order."""


def lookup(name: str) -> Variable | None:
    """Return the variable of this name, whatever its case; None if there is no such variable."""
    return VARIABLES.get(name.lower())

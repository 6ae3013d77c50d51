"""From the entries of configuration files to settings (docs/tinc-program.md, "Variables").

`build_settings` makes those of the daemon, `build_host_settings` those of a peer. What goes beyond the value
of one variable is here: what a device type needs, what a sandbox forbids, what works with virtual IPs.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pytinc.config.parser import Pool
from pytinc.config.reader import Reader, located
from pytinc.config.settings import (
    AddressFamily,
    Broadcast,
    Forwarding,
    HostSettings,
    Mode,
    MulticastGroup,
    Settings,
)
from pytinc.config.values import (
    parse_boolean,
    parse_listen,
    parse_multicast,
    parse_proxy,
)
from pytinc.config.virtual_ips import find_obstacle
from pytinc.errors import ConfigError
from pytinc.wire.names import is_valid_name
from pytinc.wire.records import SptpsCipher
from pytinc.wire.virtual_ip import ExecCheck, VirtualIP

NO_PINGS: Final = 86400
"""The PingInterval for a value below 1: one day, in effect no pings."""
GUARD_INTERVALS: Final = (20, 1000)
"""The shortest and the longest GuardInterval, in milliseconds: no shorter than the gaps in a burst of probes,
and not so long that the guard would hardly be faster than pings."""


def _without_odd_characters(text: str) -> str:
    """Replace every byte that is not an ASCII letter or digit by ``_``: bytes, as in tinc."""
    raw = text.encode("utf-8", "surrogateescape").decode("latin-1")
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in raw)


def expand_name(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the node name that the value of ``Name`` stands for. Raises `ConfigError` if it is not valid.

    See docs/tinc-program.md, "Values".

    ``$VAR`` comes from ``environment`` (default: that of the process); ``$HOST`` falls back to the host name.
    """
    name = text
    if text.startswith("$"):
        value = (os.environ if environment is None else environment).get(text[1:])
        if value is None and text == "$HOST":
            value = os.uname().nodename
        if value is None:
            raise ConfigError(f"Invalid Name: environment variable {text[1:]} does not exist")
        name = _without_odd_characters(value)
    if not is_valid_name(name):
        raise ConfigError("Invalid name for myself!")
    return name


def own_name(pool: Pool) -> str:
    """Return the own node's name, with ``$VAR`` expanded. Raises `ConfigError`."""
    entry = pool.first("Name")
    if entry is None:
        raise ConfigError("Name for tinc daemon required!")
    try:
        return expand_name(entry.value)
    except ConfigError as error:
        raise located(entry, str(error)) from None


MAX_COMPRESSION: Final = 12
_COMPRESSION_EXTRAS: Final = {10: ("lzallright", "lzo"), 11: ("lzallright", "lzo"), 12: ("lz4", "lz4")}
"""By level: a library that it needs and that may be missing, and the extra of pytinc that installs it."""
_DEFAULTS: Final = Settings(name="")
_MODES: Final = {mode.value: mode for mode in Mode}
_BROADCASTS: Final = {mode.value: mode for mode in Broadcast} | {"yes": Broadcast.MST}
_FORWARDINGS: Final = {mode.value: mode for mode in Forwarding}
_FAMILIES: Final = {family.value: family for family in AddressFamily}
DEVICE_WORDS: Final = ("tun", "tap", "dummy", "raw_socket", "multicast", "fd", "vde")
_DEVICE_TYPES: Final = {word: word for word in DEVICE_WORDS}
_PRIORITIES: Final = {word: word for word in ("low", "normal", "high")}
_CIPHERS: Final = {cipher.value: cipher for cipher in SptpsCipher}
CIPHER_COMPLAINT: Final = "Unknown SPTPSCipher {!r}: choose " + " or ".join(_CIPHERS)
_TINCS_CIPHER: Final = SptpsCipher.CHACHA20_POLY1305
SANDBOX_LEVELS: Final = ("off", "normal", "high")
_SANDBOXES: Final = {word: word for word in SANDBOX_LEVELS}


def build_settings(pool: Pool, name: str | None = None, previous: Settings | None = None) -> Settings:
    """Make the own settings from a pool of server configuration and own host file.

    ``name`` is the own node's name if the caller knows it already, else the Name of the pool is expanded.
    Wrong types and unknown variables end in ``warnings``; what tinc refuses to start with raises
    `ConfigError`. On a reload ``previous`` settings are given: then such values are reported in ``warnings``
    and the previous ones stay in force (docs/tinc-program.md, "Reload").
    """
    return _build(Reader(pool, tolerant=previous is not None), pool, name, previous)


def checked_settings(pool: Pool, name: str) -> tuple[Settings, list[ConfigError], list[str]]:
    """Return the own settings as far as they can be used, why the daemon refuses to start, and its warnings.

    For `pytinc fsck`, which reports all of it, and does not stop at the first.
    """
    read = Reader(pool, tolerant=True)
    settings = _build(read, pool, name, None)
    refused = {str(problem) for problem in read.rejected}
    return settings, read.rejected, [warning for warning in read.warnings if warning not in refused]


def _build(read: Reader, pool: Pool, name: str | None, previous: Settings | None) -> Settings:
    """Make the settings. Long because it is the table of settings written out."""
    kept, default = previous or _DEFAULTS, _DEFAULTS
    ping_interval = read.integer("PingInterval", default.ping_interval)
    if ping_interval < 1:
        ping_interval = NO_PINGS
    ping_timeout = read.integer("PingTimeout", default.ping_timeout)
    if not 1 <= ping_timeout <= ping_interval:
        ping_timeout = ping_interval
    tcp_only = read.boolean("TCPOnly", default.tcp_only)
    tunnel_server = read.boolean("TunnelServer", default.tunnel_server)
    mode = read.keyword("Mode", _MODES, default.mode, kept.mode, "Invalid routing mode!")
    device_type = _device_type(read, pool, mode, kept.device_type)
    if name is None:
        name = own_name(pool)
    read.report_unknown()
    _check_unsupported(read, pool)
    strict_subnets = read.boolean("StrictSubnets", default.strict_subnets) or tunnel_server
    settings = Settings(
        name=name,
        ed25519_private_key_file=read.text("Ed25519PrivateKeyFile", None),
        port=read.text("Port", default.port),
        address_family=read.keyword(
            "AddressFamily", _FAMILIES, default.address_family, kept.address_family, "Invalid address family!"
        ),
        bind_to_address=read.host_ports("BindToAddress"),
        listen_address=read.host_ports("ListenAddress"),
        bind_to_interface=read.text("BindToInterface", None),
        fwmark=read.integer("FWMark", default.fwmark),
        udp_rcvbuf=read.fatal_below(0, "UDPRcvBuf", default.udp_rcvbuf, kept.udp_rcvbuf),
        udp_sndbuf=read.fatal_below(0, "UDPSndBuf", default.udp_sndbuf, kept.udp_sndbuf),
        udp_buffers_explicit=pool.first("UDPRcvBuf") is not None or pool.first("UDPSndBuf") is not None,
        connect_to=read.node_names("ConnectTo", name),
        auto_connect=read.boolean("AutoConnect", default.auto_connect),
        max_timeout=read.fatal_below(1, "MaxTimeout", default.max_timeout, kept.max_timeout),
        max_connection_burst=read.fatal_below(
            1, "MaxConnectionBurst", default.max_connection_burst, kept.max_connection_burst
        ),
        max_output_buffer_size=read.at_least(0, "MaxOutputBufferSize", default.max_output_buffer_size),
        proxy=read.parsed("Proxy", parse_proxy, default.proxy, kept.proxy),
        hostnames=read.boolean("Hostnames", default.hostnames),
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        key_expire=read.at_least(1, "KeyExpire", default.key_expire),
        mac_expire=read.at_least(0, "MACExpire", default.mac_expire),
        invitation_expire=read.at_least(0, "InvitationExpire", default.invitation_expire),
        udp_discovery=read.boolean("UDPDiscovery", default.udp_discovery),
        udp_discovery_interval=read.at_least(1, "UDPDiscoveryInterval", default.udp_discovery_interval),
        udp_discovery_keepalive_interval=read.at_least(
            1, "UDPDiscoveryKeepaliveInterval", default.udp_discovery_keepalive_interval
        ),
        udp_discovery_timeout=read.at_least(1, "UDPDiscoveryTimeout", default.udp_discovery_timeout),
        udp_info_interval=read.at_least(0, "UDPInfoInterval", default.udp_info_interval),
        mtu_info_interval=read.at_least(0, "MTUInfoInterval", default.mtu_info_interval),
        local_discovery=read.boolean("LocalDiscovery", default.local_discovery),
        fast_tag=read.boolean("FastTag", default.fast_tag),
        sptps_cipher=read.keyword(
            "SPTPSCipher", _CIPHERS, default.sptps_cipher, kept.sptps_cipher, CIPHER_COMPLAINT
        ),
        neighbour_guard=read.boolean("NeighbourGuard", default.neighbour_guard),
        guard_interval=read.fatal_outside(
            *GUARD_INTERVALS, "milliseconds", "GuardInterval", default.guard_interval, kept.guard_interval
        ),
        mode=mode,
        broadcast=read.keyword(
            "Broadcast", _BROADCASTS, default.broadcast, kept.broadcast, "Invalid broadcast mode!"
        ),
        broadcast_limit=read.at_least(0, "BroadcastLimit", default.broadcast_limit),
        broadcast_subnets=read.subnets("BroadcastSubnet", fatal=False),
        forwarding=read.keyword(
            "Forwarding", _FORWARDINGS, default.forwarding, kept.forwarding, "Invalid forwarding mode!"
        ),
        direct_only=read.boolean("DirectOnly", default.direct_only),
        decrement_ttl=read.boolean("DecrementTTL", default.decrement_ttl),
        priority_inheritance=read.boolean("PriorityInheritance", default.priority_inheritance),
        strict_subnets=strict_subnets,
        strict_virtual_ips=read.boolean("StrictVirtualIPs", strict_subnets),
        tunnel_server=tunnel_server,
        subnets=read.subnets("Subnet", fatal=True),
        clamp_mss=read.boolean("ClampMSS", default.clamp_mss),
        compression=_compression(read, pool, kept.compression),
        indirect_data=read.boolean("IndirectData", default.indirect_data) or tcp_only,
        tcp_only=tcp_only,
        pmtu=read.integer("PMTU", None),
        pmtu_discovery=read.boolean("PMTUDiscovery", not tcp_only),
        weight=read.integer("Weight", None),
        replay_window=read.fatal_below(0, "ReplayWindow", default.replay_window, kept.replay_window),
        device=read.text("Device", None),
        device_type=device_type,
        device_place=_device_place(pool, device_type),
        multicast=_multicast(read, device_type, kept.multicast),
        interface=read.text("Interface", None),
        vde_port=read.integer("VDEPort", default.vde_port),
        vde_group=read.text("VDEGroup", None),
        iff_one_queue=read.boolean("IffOneQueue", default.iff_one_queue),
        offload=read.boolean("Offload", default.offload),
        device_standby=read.boolean("DeviceStandby", default.device_standby),
        scripts_extension=read.text("ScriptsExtension", default.scripts_extension),
        scripts_interpreter=read.text("ScriptsInterpreter", None),
        log_level=read.integer("LogLevel", default.log_level),
        process_priority=read.keyword(
            "ProcessPriority",
            _PRIORITIES,
            default.process_priority,
            kept.process_priority,
            "Invalid priority {}!",
        ),
        metrics_listen=read.parsed("MetricsListen", parse_listen, None, kept.metrics_listen),
        experimental_protocol=read.boolean("ExperimentalProtocol", None),
        sandbox=_sandbox(read, previous),
        upnp=_upnp(pool),
        upnp_discover_wait=read.at_least(1, "UPnPDiscoverWait", default.upnp_discover_wait),
        upnp_refresh_period=read.at_least(1, "UPnPRefreshPeriod", default.upnp_refresh_period),
    )
    settings = _within_sandbox(read, pool, settings, previous)
    virtual_ips = _virtual_ips(read, pool, settings, previous)
    return replace(settings, virtual_ips=virtual_ips, warnings=tuple(read.warnings))


def _virtual_ips(
    read: Reader, pool: Pool, settings: Settings, previous: Settings | None
) -> tuple[VirtualIP, ...]:
    """Return the virtual IPs that work with these settings.

    At a reload a bad line changes none of them, so that a slip of the pen does not move an address. With a
    setting that forbids them there are none.
    """
    if previous is not None and (previous.mode is Mode.ROUTER) != (settings.mode is Mode.ROUTER):
        settings = replace(settings, mode=previous.mode)  # the mode changes only at the next start
    found = read.virtual_ips(settings.name, settings.device_type)
    entry = pool.first("VirtualIP")
    obstacle = find_obstacle(settings)
    if entry is not None and obstacle is not None:
        cause = pool.first(obstacle.variable)
        place = "" if cause is None else f" ({cause.where})"
        what = f"{obstacle.variable} = {obstacle.value}{place}"
        read.reject(entry, f"A virtual IP does not work with {what}: {obstacle.reason}")
        return ()
    if settings.sandbox == "high" and any(
        isinstance(check, ExecCheck) for virtual_ip in found or () for check in virtual_ip.checks
    ):
        assert entry is not None
        read.reject(entry, "check=exec: does not work with Sandbox = high, which allows no new process")
        found = None
    is_member = any(virtual_ip.node is None for virtual_ip in found or ())
    if entry is not None and is_member and settings.device_type == "dummy":
        read.warnings.append(f"With DeviceType = dummy no interface can have a virtual IP ({entry.where})")
    if found is None:
        return () if previous is None else previous.virtual_ips
    return found


def held_addresses(host: Pool) -> tuple[bytes, ...]:
    """Return the addresses that a host file allows its node."""
    return Reader(host, tolerant=True).held_addresses()


_DEVICE_NEEDED: Final = {
    "fd": "Could not read device: DeviceType fd needs Device = NUMBER or Device = SOCKET",
    "multicast": "Device variable required for multicast socket: Device = ADDRESS PORT [TTL]",
}
_DEVICE_VARIABLE: Final = {"raw_socket": "Interface", "multicast": "Device", "fd": "Device", "vde": "Device"}
"""The variable that says most about a device of each type."""


def _device_type(read: Reader, pool: Pool, mode: Mode, kept: str | None) -> str | None:
    """Return the DeviceType if the variables that it needs are set."""
    entry = pool.first("DeviceType")
    if entry is None:
        return None
    kind = entry.value.lower()
    if kind not in _DEVICE_TYPES:
        read.reject(entry, f"Unknown device type {entry.value}")
        return kept
    if kind == "fd" and mode is Mode.SWITCH:
        read.reject(entry, "Switch mode not supported: DeviceType fd carries no Ethernet frames")
        return kept
    if kind in _DEVICE_NEEDED and pool.first("Device") is None:
        read.reject(entry, _DEVICE_NEEDED[kind])
        return kept
    return kind


def _device_place(pool: Pool, kind: str | None) -> str:
    entry = pool.first(_DEVICE_VARIABLE.get(kind or "", "")) or pool.first("DeviceType")
    if entry is None or kind not in _DEVICE_VARIABLE:
        return ""
    return f"variable {entry.variable} in {entry.where}"


def _multicast(read: Reader, kind: str | None, kept: MulticastGroup | None) -> MulticastGroup | None:
    """Return the group given as Device: `ADDRESS PORT [TTL]`."""
    return read.parsed("Device", parse_multicast, None, kept) if kind == "multicast" else None


def _compression(read: Reader, pool: Pool, kept: int) -> int:
    """Return the level that we ask peers for; refuse it if the library that expands it is not installed."""
    level = read.integer("Compression", 0)
    entry = pool.first("Compression")
    if entry is None:
        return level
    library, extra = _COMPRESSION_EXTRAS.get(level, ("", ""))
    if not 0 <= level <= MAX_COMPRESSION:
        read.reject(entry, f"Bogus compression level {level}: it is 0 (none) to {MAX_COMPRESSION}")
    elif library and importlib.util.find_spec(library) is None:
        read.reject(
            entry,
            f"Compression {level} needs the Python library {library}, which is not installed: "
            f"install pytinc[{extra}], or choose 0 to 9",
        )
    else:
        return level
    return kept


def _sandbox(read: Reader, previous: Settings | None) -> str:
    """Return the word of Sandbox. Once entered, it does not change."""
    if previous is not None:
        return previous.sandbox
    return read.keyword("Sandbox", _SANDBOXES, "off", "off", "Bad sandbox value {}!")


def _within_sandbox(read: Reader, pool: Pool, settings: Settings, previous: Settings | None) -> Settings:
    """Return the settings as far as the sandbox allows them; the rest stays as it was, or ends the start.

    Which programs run scripts and proxies is fixed when the daemon enters it.
    """
    kept = previous or _DEFAULTS
    proxy = pool.first("Proxy")
    if settings.sandbox == "high" and proxy is not None and settings.proxy.kind == "exec":
        read.reject(proxy, "Proxy = exec does not work with Sandbox = high, which allows no new process")
        settings = replace(settings, proxy=kept.proxy)
    if settings.sandbox != "normal" or previous is None:
        return settings
    if proxy is not None and settings.proxy.kind == "exec" and settings.proxy != previous.proxy:
        read.reject(proxy, "With Sandbox = normal the command of Proxy = exec changes only at the next start")
        settings = replace(settings, proxy=previous.proxy)
    if settings.scripts_interpreter != previous.scripts_interpreter:
        read.warnings.append("With Sandbox = normal, ScriptsInterpreter changes only at the next start")
        settings = replace(settings, scripts_interpreter=previous.scripts_interpreter)
    return settings


def _upnp(pool: Pool) -> str:
    """Return the UPnP word; unknown words count as ``no``."""
    entry = pool.first("UPnP")
    word = "no" if entry is None else entry.value.lower()
    return word if word in ("yes", "udponly") else "no"


def _check_unsupported(read: Reader, pool: Pool) -> None:
    """Report valid settings for what pytinc does not have."""
    entry = pool.first("ExperimentalProtocol")
    if entry is not None and parse_boolean(entry.value) is False:
        read.warnings.append("ExperimentalProtocol = no asks for the legacy protocol, which is not supported")


def build_host_settings(name: str, pool: Pool, public_key: bytes | None) -> HostSettings:
    """Make the settings of one peer from the pool of its host configuration.

    No error is fatal: wrong values are reported in ``warnings`` and count as absent.
    """
    read = Reader(pool, tolerant=True)
    read.report_unknown()
    return HostSettings(
        name=name,
        addresses=read.host_ports("Address"),
        port=read.text("Port", None),
        subnets=read.subnets("Subnet", fatal=False),
        public_key=public_key,
        clamp_mss=read.boolean("ClampMSS", None),
        compression=read.integer("Compression", None),
        indirect_data=read.boolean("IndirectData", None),
        pmtu=read.integer("PMTU", None),
        pmtu_discovery=read.boolean("PMTUDiscovery", None),
        sptps_cipher=read.keyword("SPTPSCipher", _CIPHERS, _TINCS_CIPHER, _TINCS_CIPHER, CIPHER_COMPLAINT),
        tcp_only=read.boolean("TCPOnly", None),
        weight=read.integer("Weight", None),
        virtual_ips=read.held_addresses(),
        warnings=tuple(read.warnings),
    )

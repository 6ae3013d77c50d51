"""From the text of tinc.conf and host files to settings (docs/tinc-program.md, "Lines" and "Variables").

`pytinc.config.store` reads the files, `parse_text` parses them into entries, a `Pool` puts the entries of
several files into tinc's order, and `build_settings` and `build_host_settings` turn them into typed settings.
Nothing here touches the disk.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from pytinc.config.settings import (
    AddressFamily,
    Broadcast,
    Forwarding,
    HostPort,
    HostSettings,
    Mode,
    MulticastGroup,
    ProxySettings,
    Settings,
)
from pytinc.config.values import (
    parse_boolean,
    parse_configured_subnet,
    parse_host_port,
    parse_integer,
    parse_listen,
    parse_multicast,
    parse_proxy,
)
from pytinc.config.variables import DAEMON_ONLY, VARIABLES, lookup
from pytinc.config.virtual_ips import find_obstacle, missing
from pytinc.errors import ConfigError, DecodeError
from pytinc.wire.address import Address
from pytinc.wire.names import is_valid_name
from pytinc.wire.records import SptpsCipher
from pytinc.wire.subnet import Subnet
from pytinc.wire.virtual_ip import MAX_VIRTUAL_IPS, ExecCheck, VirtualIP, parse_address, parse_virtual_ip

MAX_LINE_LENGTH: Final = 2048
"""A longer line is cut, and its remainder counts as a new line (docs/tinc-program.md, "Lines")."""
NO_PINGS: Final = 86400
"""PingInterval, once a day, for a value below 1, which switches pings off."""

GUARD_INTERVALS: Final = (20, 1000)
"""The shortest and the longest GuardInterval, in milliseconds: no shorter than the gaps in a burst of probes,
and not so long that the guard would hardly be faster than pings."""

_ASSIGNMENT: Final = re.compile(r"([^ \t=]*)[ \t]*=?[ \t]*(.*)", re.DOTALL)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One assignment: the variable as spelled, its value, and where it stands.

    ``path`` is None for a setting from the command line; ``line`` then counts these, from 1.
    """

    variable: str
    value: str
    path: str | None
    line: int

    @property
    def where(self) -> str:
        """The place, in words for messages."""
        if self.path is None:
            return f"command line option {self.line}"
        return f"{self.path} line {self.line}"


def split_assignment(line: str) -> tuple[str, str]:
    """Split ``VARIABLE [=] VALUE``; in a line that begins with a blank the variable is empty."""
    match = _ASSIGNMENT.fullmatch(line.rstrip(" \t"))
    assert match is not None, "the pattern matches every text"
    return match[1], match[2]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line; long lines are cut as tinc's buffer cuts them."""
    number = 0
    for whole in text.split("\n"):
        # A zero byte ends a line, as in tinc: the system takes no value with one.
        line = whole.partition("\0")[0].removesuffix("\r")
        for start in range(0, max(len(line), 1), MAX_LINE_LENGTH):
            number += 1
            yield number, line[start : start + MAX_LINE_LENGTH]


def parse_text(text: str, path: str) -> tuple[list[Entry], ConfigError | None]:
    """Return the entries of a configuration or host file, and the error at which reading ended, if any.

    Only a variable without a value is an error; the entries before it are still returned. Comments and PEM
    blocks are skipped, unknown variables are kept. A line that begins with blanks has an empty name.
    """
    entries: list[Entry] = []
    in_block = False
    for number, line in _lines(text):
        if in_block:
            in_block = not line.startswith("-----END")
        elif line.startswith("-----BEGIN"):
            in_block = True
        elif line and not line.startswith("#"):
            variable, value = split_assignment(line)
            if not value:
                complaint = (
                    f"No value for variable `{variable}' on line {number} while reading config file {path}"
                )
                return entries, ConfigError(complaint, path, number)
            entries.append(Entry(variable, value, path, number))
    return entries, None


def parse_option(text: str, number: int) -> tuple[str | None, Entry]:
    """Read the argument of ``-o``, number ``number`` (from 1), `[NODE.]VAR=VALUE`.

    See docs/tinc-program.md, "Lines".

    Returns the node whose host configuration it belongs to (None: the server configuration), and the entry.
    Raises `ConfigError` if there is no value.
    """
    variable, value = split_assignment(text)
    if not value:
        raise ConfigError(f"No value for variable `{variable}' in command line option {number}")
    node, dot, bare = variable.partition(".")
    if dot:
        return node, Entry(bare, value, None, number)
    return None, Entry(variable, value, None, number)


class Pool:
    """Entries of several sources in the order in which tinc looks at them (docs/tinc-program.md, "Lines").

    Sorted by variable; then command line options first; then by line number, whatever the file; then by
    file name. A single-valued variable takes the first entry.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = sorted(entries, key=_order)
        self._by_name: dict[str, list[Entry]] = {}
        for entry in self.entries:
            self._by_name.setdefault(entry.variable.lower(), []).append(entry)

    def first(self, name: str) -> Entry | None:
        """Return the first entry of a variable, which counts if it is single-valued; case is ignored."""
        found = self._by_name.get(name.lower())
        return found[0] if found else None

    def all(self, name: str) -> list[Entry]:
        """Return all entries of a variable, in order."""
        return list(self._by_name.get(name.lower(), ()))


def own_settings_pool(server: Pool, host: Pool) -> Pool:
    """Put the server configuration and the own host file together.

    VirtualIP has one meaning in each, so the lines of the host file (see `held_addresses`) are left out.
    """
    return Pool(
        [*server.entries, *(entry for entry in host.entries if entry.variable.lower() != "virtualip")]
    )


def _order(entry: Entry) -> tuple[str, bool, int, str]:
    return (entry.variable.lower(), entry.path is not None, entry.line, entry.path or "")


class _Reader:
    """Reads typed values from a pool, and collects complaints that are not fatal.

    With ``tolerant``, as in a reload, what is fatal at the start is also a complaint.
    """

    def __init__(self, pool: Pool, *, tolerant: bool) -> None:
        self._pool = pool
        self._tolerant = tolerant
        self.warnings: list[str] = []
        self.rejected: list[ConfigError] = []
        """What would be fatal at the start."""

    def text(self, name: str, default: _T) -> str | _T:
        entry = self._pool.first(name)
        return default if entry is None else entry.value

    def boolean(self, name: str, default: _T) -> bool | _T:
        entry = self._pool.first(name)
        if entry is None:
            return default
        value = parse_boolean(entry.value)
        if value is None:
            self._expected('"yes" or "no"', entry)
            return default
        return value

    def integer(self, name: str, default: _T) -> int | _T:
        entry = self._pool.first(name)
        if entry is None:
            return default
        value = parse_integer(entry.value)
        if value is None:
            self._expected("Integer", entry)
            return default
        return value

    def at_least(self, lowest: int, name: str, default: int) -> int:
        """Read an integer; one below ``lowest`` is reported and replaced by the default.

        tinc accepts it, and then its timers run without pause.
        """
        value = self.integer(name, default)
        entry = self._pool.first(name)
        if value >= lowest or entry is None:
            return value
        self.warnings.append(f"{entry.variable} must be at least {lowest}, using {default} ({entry.where})")
        return default

    def fatal_below(self, lowest: int, name: str, default: int, kept: int) -> int:
        value = self.integer(name, default)
        entry = self._pool.first(name)
        if value >= lowest or entry is None:
            return value
        self.reject(entry, f"{entry.variable} cannot be smaller than {lowest}!")
        return kept

    def fatal_outside(self, lowest: int, highest: int, unit: str, name: str, default: int, kept: int) -> int:
        """Read an integer; one outside ``lowest`` to ``highest`` is rejected."""
        value = self.integer(name, default)
        entry = self._pool.first(name)
        if lowest <= value <= highest or entry is None:
            return value
        self.reject(entry, f"{entry.variable} must be {lowest} to {highest} {unit}, not {value}!")
        return kept

    def keyword(self, name: str, words: Mapping[str, _T], default: _T, kept: _T, complaint: str) -> _T:
        entry = self._pool.first(name)
        if entry is None:
            return default
        value = words.get(entry.value.lower())
        if value is None:
            self.reject(entry, complaint.format(entry.value))
            return kept
        return value

    def host_ports(self, name: str) -> tuple[HostPort, ...]:
        return tuple(parse_host_port(entry.value) for entry in self._pool.all(name))

    def subnets(self, name: str, *, fatal: bool) -> tuple[Subnet, ...]:
        found: dict[Subnet, None] = {}
        for entry in self._pool.all(name):
            try:
                found[parse_configured_subnet(entry.value)] = None
            except DecodeError as error:
                if fatal:
                    self.reject(entry, str(error))
                else:
                    self._report(entry, str(error))
        return tuple(found)

    def held_addresses(self) -> tuple[bytes, ...]:
        """Read the lines VirtualIP of a host file; bad ones are reported."""
        found: dict[bytes, None] = {}
        for entry in self._pool.all("VirtualIP"):
            try:
                address = parse_address(entry.value)
            except DecodeError as error:
                self._report(entry, str(error))
                continue
            if len(found) == MAX_VIRTUAL_IPS and address not in found:
                self._report(entry, f"A node has at most {MAX_VIRTUAL_IPS} virtual IPs")
            else:
                found[address] = None
        return tuple(found)

    def virtual_ips(self, name: str, device_type: str | None) -> tuple[VirtualIP, ...] | None:
        """Read the lines VirtualIP of the server configuration; bad ones are rejected, and make it None.

        ``name`` is that of the own node.
        """
        found: dict[tuple[bytes, str | None], tuple[VirtualIP, Entry]] = {}
        fine = True
        for entry in self._pool.all("VirtualIP"):
            try:
                virtual_ip = parse_virtual_ip(entry.value)
                complaint = missing(virtual_ip, device_type)
            except DecodeError as error:
                complaint = str(error)
            else:
                if virtual_ip.key in found:
                    other = found[virtual_ip.key][1]
                    of_node = "" if virtual_ip.node is None else f" of {virtual_ip.node}"
                    complaint = (
                        f"{virtual_ip.address_text}{of_node} is there twice, the first time in {other.where}"
                    )
                elif virtual_ip.node == name:
                    complaint = f"node={name} is this node itself: leave it away"
                elif len(found) == MAX_VIRTUAL_IPS:
                    complaint = f"A node has at most {MAX_VIRTUAL_IPS} virtual IPs"
                else:
                    found[virtual_ip.key] = virtual_ip, entry
            if complaint is not None:
                self.reject(entry, complaint)
                fine = False
        return tuple(virtual_ip for virtual_ip, _ in found.values()) if fine else None

    def proxy(self, kept: ProxySettings) -> ProxySettings:
        entry = self._pool.first("Proxy")
        if entry is None:
            return ProxySettings()
        try:
            return parse_proxy(entry.value)
        except DecodeError as error:
            self.reject(entry, str(error))
            return kept

    def listen(self, name: str, kept: Address | None) -> Address | None:
        entry = self._pool.first(name)
        if entry is None:
            return None
        try:
            return parse_listen(entry.value)
        except DecodeError as error:
            self.reject(entry, str(error))
            return kept

    def node_names(self, name: str, own_name: str) -> tuple[str, ...]:
        """Read node names; invalid names are reported, and the own name is left out."""
        found: dict[str, None] = {}
        for entry in self._pool.all(name):
            if not is_valid_name(entry.value):
                self._report(entry, f"Invalid name for node {entry.value}")
            elif entry.value != own_name:
                found[entry.value] = None
        return tuple(found)

    def reject(self, entry: Entry, complaint: str) -> None:
        error = _located(entry, complaint)
        if not self._tolerant:
            raise error
        self.rejected.append(error)
        self.warnings.append(str(error))

    def report_unknown(self) -> None:
        """Report unknown variables, with the most similar known one."""
        for entry in self._pool.entries:
            name = entry.variable.lower()
            if not name:
                self.warnings.append(f"Ignoring a line that begins with white space ({entry.where})")
            elif name not in VARIABLES and name not in DAEMON_ONLY:
                self.warnings.append(f"Unknown variable {entry.variable} in {entry.where}{_suggestion(name)}")

    def _expected(self, what: str, entry: Entry) -> None:
        self.warnings.append(f"{what} expected for configuration variable {entry.variable} in {entry.where}")

    def _report(self, entry: Entry, complaint: str) -> None:
        self.warnings.append(str(_located(entry, complaint)))


def _located(entry: Entry, complaint: str) -> ConfigError:
    return ConfigError(f"{complaint} (variable {entry.variable} in {entry.where})", entry.path, entry.line)


def _suggestion(name: str) -> str:
    from difflib import get_close_matches  # seldom needed

    nearest = get_close_matches(name, VARIABLES, n=1, cutoff=0.7)
    known = lookup(nearest[0]) if nearest else None
    return "" if known is None else f", did you mean {known.name}?"


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
        raise _located(entry, str(error)) from None


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
    return _build(_Reader(pool, tolerant=previous is not None), pool, name, previous)


def checked_settings(pool: Pool, name: str) -> tuple[Settings, list[ConfigError], list[str]]:
    """Return the own settings as far as they can be used, why the daemon refuses to start, and its warnings.

    For `pytinc fsck`, which reports all of it, and does not stop at the first.
    """
    read = _Reader(pool, tolerant=True)
    settings = _build(read, pool, name, None)
    refused = {str(problem) for problem in read.rejected}
    return settings, read.rejected, [warning for warning in read.warnings if warning not in refused]


def _build(read: _Reader, pool: Pool, name: str | None, previous: Settings | None) -> Settings:
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
        proxy=read.proxy(kept.proxy),
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
        multicast=_multicast(read, pool, device_type, kept.multicast),
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
        metrics_listen=read.listen("MetricsListen", kept.metrics_listen),
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
    read: _Reader, pool: Pool, settings: Settings, previous: Settings | None
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
    return _Reader(host, tolerant=True).held_addresses()


_DEVICE_NEEDED: Final = {
    "fd": "Could not read device: DeviceType fd needs Device = NUMBER or Device = SOCKET",
    "multicast": "Device variable required for multicast socket: Device = ADDRESS PORT [TTL]",
}
_DEVICE_VARIABLE: Final = {"raw_socket": "Interface", "multicast": "Device", "fd": "Device", "vde": "Device"}
"""The variable that says most about a device of each type."""


def _device_type(read: _Reader, pool: Pool, mode: Mode, kept: str | None) -> str | None:
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


def _multicast(
    read: _Reader, pool: Pool, kind: str | None, kept: MulticastGroup | None
) -> MulticastGroup | None:
    """Return the group given as Device: `ADDRESS PORT [TTL]`."""
    entry = pool.first("Device")
    if kind != "multicast" or entry is None:
        return None
    try:
        return parse_multicast(entry.value)
    except DecodeError as error:
        read.reject(entry, str(error))
        return kept


def _compression(read: _Reader, pool: Pool, kept: int) -> int:
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


def _sandbox(read: _Reader, previous: Settings | None) -> str:
    """Return the word of Sandbox. Once entered, it does not change."""
    if previous is not None:
        return previous.sandbox
    return read.keyword("Sandbox", _SANDBOXES, "off", "off", "Bad sandbox value {}!")


def _within_sandbox(read: _Reader, pool: Pool, settings: Settings, previous: Settings | None) -> Settings:
    """Return the settings as far as the sandbox allows them; the rest stays as it was, or ends the start.

    The programs that scripts and proxies are run by are fixed when the daemon enters it.
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


def _check_unsupported(read: _Reader, pool: Pool) -> None:
    """Report valid settings for what pytinc does not have."""
    entry = pool.first("ExperimentalProtocol")
    if entry is not None and parse_boolean(entry.value) is False:
        read.warnings.append("ExperimentalProtocol = no asks for the legacy protocol, which is not supported")


def build_host_settings(name: str, pool: Pool, public_key: bytes | None) -> HostSettings:
    """Make the settings of one peer from the pool of its host configuration.

    No error is fatal: wrong values are reported in ``warnings`` and count as absent.
    """
    read = _Reader(pool, tolerant=True)
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

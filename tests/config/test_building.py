"""The settings made of configuration files, and what is refused or reported: docs/tinc-program.md."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.config.building import (
    build_host_settings,
    build_settings,
    checked_settings,
    expand_name,
    held_addresses,
    own_name,
)
from pytinc.config.parser import Entry, Pool, own_settings_pool, parse_text
from pytinc.config.settings import (
    AddressFamily,
    Broadcast,
    Forwarding,
    HostPort,
    Mode,
    MulticastGroup,
    ProxySettings,
    Settings,
)
from pytinc.errors import ConfigError
from pytinc.wire.address import Address
from pytinc.wire.records import SptpsCipher
from pytinc.wire.subnet import parse_subnet
from pytinc.wire.virtual_ip import MAX_VIRTUAL_IPS, TcpCheck, VirtualIP, parse_address

CONF = "/etc/tinc/tinc.conf"


def pool(text: str) -> Pool:
    entries, problem = parse_text(text, CONF)
    assert problem is None
    return Pool(entries)


def settings(text: str, previous: Settings | None = None) -> Settings:
    return build_settings(pool(text), "alpha", previous)


class TestName:
    def test_a_plain_name_is_used_unchanged(self) -> None:
        assert expand_name("alpha_1") == "alpha_1"

    def test_a_variable_of_the_environment_is_expanded(self) -> None:
        assert expand_name("$NODE", {"NODE": "my-host.example"}) == "my_host_example"

    def test_every_odd_byte_becomes_one_underscore(self) -> None:
        assert expand_name("$NODE", {"NODE": "ä1"}) == "__1"

    def test_host_is_the_host_name_unless_the_environment_has_it(self) -> None:
        host = "".join(c if c.isascii() and c.isalnum() else "_" for c in os.uname().nodename)
        assert expand_name("$HOST", {}) == host
        assert expand_name("$HOST", {"HOST": "beta"}) == "beta"

    def test_the_process_environment_is_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTINC_TEST_NODE", "gamma")
        assert expand_name("$PYTINC_TEST_NODE") == "gamma"

    def test_a_missing_variable_is_named(self) -> None:
        with pytest.raises(ConfigError, match="NOSUCH"):
            expand_name("$NOSUCH", {})

    @pytest.mark.parametrize("text", ["a-b", "a b", "../x", "größe"])
    def test_an_invalid_name_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="Invalid name for myself!"):
            expand_name(text)

    def test_an_empty_variable_gives_no_name(self) -> None:
        with pytest.raises(ConfigError, match="Invalid name for myself!"):
            expand_name("$NODE", {"NODE": ""})

    def test_the_error_names_file_and_line(self) -> None:
        with pytest.raises(ConfigError, match=f"{CONF} line 2") as caught:
            own_name(pool("\nName = a-b\n"))
        assert caught.value.line == 2

    def test_a_configuration_needs_a_name(self) -> None:
        with pytest.raises(ConfigError, match="Name for tinc daemon required!"):
            build_settings(pool("Mode = switch"))

    def test_settings_expand_the_name_by_themselves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTINC_TEST_NODE", "gamma")
        assert build_settings(pool("Name = $PYTINC_TEST_NODE")).name == "gamma"


class TestSettings:
    def test_an_empty_configuration_gives_the_defaults(self) -> None:
        assert settings("") == Settings(name="alpha")

    @pytest.mark.parametrize(
        ("line", "field", "value"),
        [
            ("Mode = SWITCH", "mode", Mode.SWITCH),
            ("Broadcast = yes", "broadcast", Broadcast.MST),
            ("Broadcast = direct", "broadcast", Broadcast.DIRECT),
            ("Forwarding = off", "forwarding", Forwarding.OFF),
            ("AddressFamily = ipv6", "address_family", AddressFamily.IPV6),
            ("SPTPSCipher = AES-256-GCM", "sptps_cipher", SptpsCipher.AES_256_GCM),
            ("SPTPSCipher = chacha20-poly1305", "sptps_cipher", SptpsCipher.CHACHA20_POLY1305),
            ("Port = tinc", "port", "tinc"),
            ("BindToAddress = * 1655", "bind_to_address", (HostPort("*", "1655"),)),
            ("Proxy = http p 3128", "proxy", ProxySettings("http", "p", "3128")),
            ("DeviceType = TAP", "device_type", "tap"),
            ("ProcessPriority = Low", "process_priority", "low"),
            ("Sandbox = OFF", "sandbox", "off"),
            ("Sandbox = Normal", "sandbox", "normal"),
            ("ReplayWindow = 0", "replay_window", 0),
            ("UDPRcvBuf = 0", "udp_rcvbuf", 0),
            ("UDPRcvBuf = 0", "udp_buffers_explicit", True),
            ("MetricsListen = [::1]:9655", "metrics_listen", Address("::1", "9655")),
            ("ExperimentalProtocol = yes", "experimental_protocol", True),
            ("Compression = 0", "compression", 0),
            ("PMTU = 1400", "pmtu", 1400),
            ("Weight = -3", "weight", -3),
            ("UPnP = maybe", "upnp", "no"),
            ("Ed25519PrivateKeyFile = key", "ed25519_private_key_file", "key"),
            ("AutoConnect = no", "auto_connect", False),
            ("BindToInterface = eth7", "bind_to_interface", "eth7"),
            ("BroadcastSubnet = 10.0.0.255", "broadcast_subnets", (parse_subnet("10.0.0.255"),)),
            ("ClampMSS = no", "clamp_mss", False),
            ("ConnectTo = beta", "connect_to", ("beta",)),
            ("DecrementTTL = yes", "decrement_ttl", True),
            ("Device = /dev/tun7", "device", "/dev/tun7"),
            ("DeviceStandby = yes", "device_standby", True),
            ("DirectOnly = yes", "direct_only", True),
            ("BroadcastLimit = 0", "broadcast_limit", 0),
            ("FastTag = no", "fast_tag", False),
            ("NeighbourGuard = No", "neighbour_guard", False),
            ("GuardInterval = 20", "guard_interval", 20),
            ("GuardInterval = 1000", "guard_interval", 1000),
            ("FWMark = 7", "fwmark", 7),
            ("Hostnames = yes", "hostnames", True),
            ("IffOneQueue = yes", "iff_one_queue", True),
            ("IndirectData = yes", "indirect_data", True),
            ("Interface = vpn", "interface", "vpn"),
            ("InvitationExpire = 7", "invitation_expire", 7),
            ("KeyExpire = 7", "key_expire", 7),
            ("ListenAddress = ::1 7", "listen_address", (HostPort("::1", "7"),)),
            ("LocalDiscovery = no", "local_discovery", False),
            ("LogLevel = 7", "log_level", 7),
            ("MACExpire = 7", "mac_expire", 7),
            ("MaxConnectionBurst = 7", "max_connection_burst", 7),
            ("MaxOutputBufferSize = 7", "max_output_buffer_size", 7),
            ("MaxTimeout = 7", "max_timeout", 7),
            ("MTUInfoInterval = 7", "mtu_info_interval", 7),
            ("Offload = no", "offload", False),
            ("PingInterval = 7", "ping_interval", 7),
            ("PingTimeout = 7", "ping_timeout", 7),
            ("PMTUDiscovery = no", "pmtu_discovery", False),
            ("PriorityInheritance = yes", "priority_inheritance", True),
            ("ScriptsExtension = .sh", "scripts_extension", ".sh"),
            ("ScriptsInterpreter = /bin/sh", "scripts_interpreter", "/bin/sh"),
            ("StrictSubnets = yes", "strict_subnets", True),
            ("StrictVirtualIPs = yes", "strict_virtual_ips", True),
            ("StrictSubnets = yes", "strict_virtual_ips", True),
            ("TunnelServer = yes", "strict_virtual_ips", True),
            ("StrictSubnets = yes\nStrictVirtualIPs = no", "strict_virtual_ips", False),
            ("Subnet = 10.0.0.0/24", "subnets", (parse_subnet("10.0.0.0/24"),)),
            ("TCPOnly = yes", "tcp_only", True),
            ("TunnelServer = yes", "tunnel_server", True),
            ("UDPDiscovery = no", "udp_discovery", False),
            ("UDPDiscoveryInterval = 7", "udp_discovery_interval", 7),
            ("UDPDiscoveryKeepaliveInterval = 7", "udp_discovery_keepalive_interval", 7),
            ("UDPDiscoveryTimeout = 7", "udp_discovery_timeout", 7),
            ("UDPInfoInterval = 7", "udp_info_interval", 7),
            ("UDPSndBuf = 7", "udp_sndbuf", 7),
            ("VDEGroup = daemon", "vde_group", "daemon"),
            ("VDEPort = 7", "vde_port", 7),
            ("DisableBuggyPeers = yes", "warnings", ()),
        ],
    )
    def test_a_variable_reaches_its_field(self, line: str, field: str, value: Any) -> None:
        made = settings(line)
        assert getattr(made, field) == value
        assert made.warnings == ()

    def test_the_first_of_several_lines_counts(self) -> None:
        assert settings("Mode = switch\nMode = hub\n").mode is Mode.SWITCH

    @pytest.mark.parametrize(
        ("text", "interval", "timeout"),
        [
            ("", 60, 5),
            ("PingInterval = 3", 3, 3),
            ("PingInterval = 0", 86400, 5),
            ("PingInterval = -1\nPingTimeout = 0", 86400, 86400),
            ("PingTimeout = 61", 60, 60),
            ("PingTimeout = 60", 60, 60),
            ("PingTimeout = 0", 60, 60),
        ],
    )
    def test_the_ping_timeout_lies_within_the_interval(self, text: str, interval: int, timeout: int) -> None:
        made = settings(text)
        assert (made.ping_interval, made.ping_timeout) == (interval, timeout)

    def test_tcp_only_implies_indirect_data_and_no_path_mtu_discovery(self) -> None:
        made = settings("TCPOnly = yes\nIndirectData = no")
        assert made.indirect_data
        assert not made.pmtu_discovery
        assert settings("TCPOnly = yes\nPMTUDiscovery = yes").pmtu_discovery

    def test_tunnel_server_implies_strict_subnets(self) -> None:
        assert settings("TunnelServer = yes\nStrictSubnets = no").strict_subnets

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("Mode = bridge", "Invalid routing mode!"),
            ("Broadcast = maybe", "Invalid broadcast mode!"),
            ("Forwarding = yes", "Invalid forwarding mode!"),
            ("AddressFamily = ipx", "Invalid address family!"),
            (
                "SPTPSCipher = aes256gcm",
                "Unknown SPTPSCipher 'aes256gcm': choose chacha20-poly1305 or aes-256-gcm",
            ),
            ("Proxy = socks6 a b", "Unknown proxy type socks6!"),
            ("Proxy = socks5 a", "Host and port argument expected for proxy!"),
            ("Sandbox = mild", "Bad sandbox value mild!"),
            ("Proxy = exec nc\nSandbox = high", "Proxy = exec does not work with Sandbox = high"),
            ("ReplayWindow = -1", "ReplayWindow cannot be smaller than 0!"),
            ("UDPRcvBuf = -1", "UDPRcvBuf cannot be smaller than 0!"),
            ("UDPSndBuf = -1", "UDPSndBuf cannot be smaller than 0!"),
            ("MaxConnectionBurst = 0", "MaxConnectionBurst cannot be smaller than 1!"),
            ("MaxTimeout = 0", "MaxTimeout cannot be smaller than 1!"),
            ("GuardInterval = 19", "GuardInterval must be 20 to 1000 milliseconds, not 19!"),
            ("guardinterval = 1001", "guardinterval must be 20 to 1000 milliseconds, not 1001!"),
            ("Subnet = 10.0.0.1/8", "Network address and prefix length do not match"),
            ("Subnet = nowhere", "Malformed subnet definition nowhere"),
            ("Compression = 13", "Bogus compression level 13"),
            ("Compression = -1", "Bogus compression level -1"),
            ("DeviceType = uml", "Unknown device type uml"),
            ("DeviceType = fd\nMode = switch\nDevice = 3", "Switch mode not supported"),
            ("DeviceType = fd", "Could not read device: DeviceType fd needs Device"),
            ("DeviceType = multicast", "Device variable required for multicast socket"),
            ("Device = 239.1.2.3\nDeviceType = multicast", "Port number required for multicast socket"),
            ("Device = 239.1.2.3 5 x\nDeviceType = multicast", "TTL from 0 to 255"),
            ("MetricsListen = 9655", "9655 is not ADDRESS:PORT with a numeric address"),
            ("ProcessPriority = urgent", "Invalid priority urgent!"),
        ],
    )
    def test_a_value_that_tinc_refuses_at_start_is_fatal(self, line: str, complaint: str) -> None:
        with pytest.raises(ConfigError, match=complaint) as caught:
            settings(f"# comment\n{line}\n")
        assert (caught.value.path, caught.value.line) == (CONF, 2)
        assert f"{CONF} line 2" in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("DeviceType = tap\nDevice = /dev/tap", ""),
            ("DeviceType = raw_socket", f"variable DeviceType in {CONF} line 1"),
            ("DeviceType = raw_socket\nInterface = eth1", f"variable Interface in {CONF} line 2"),
            ("DeviceType = FD\nDevice = 3", f"variable Device in {CONF} line 2"),
        ],
    )
    def test_messages_about_the_device_can_name_what_made_it(self, text: str, place: str) -> None:
        assert settings(text).device_place == place

    def test_a_multicast_device_has_a_group(self) -> None:
        made = settings("DeviceType = multicast\nDevice = ff02::7%eth0 5000 3")
        assert made.multicast == MulticastGroup("ff02::7%eth0", "5000", 3)
        assert settings("DeviceType = tap\nDevice = ff02::7 5000").multicast is None

    @pytest.mark.parametrize(
        ("level", "library", "extra"),
        [(10, "lzallright", "lzo"), (11, "lzallright", "lzo"), (12, "lz4", "lz4")],
    )
    def test_a_level_whose_library_is_missing_is_fatal_and_says_what_to_install(
        self, level: int, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert settings(f"Compression = {level}").compression == level
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        wanted = f"Compression {level} needs the Python library {library}, .* install pytinc\\[{extra}\\]"
        with pytest.raises(ConfigError, match=wanted):
            settings(f"Compression = {level}")
        assert settings("Compression = 9").compression == 9

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            (
                "AutoConnect = maybe",
                f'"yes" or "no" expected for configuration variable AutoConnect in {CONF} line 1',
            ),
            (
                "pinginterval = often",
                f"Integer expected for configuration variable pinginterval in {CONF} line 1",
            ),
        ],
    )
    def test_a_wrong_type_is_reported_and_the_default_used(self, line: str, complaint: str) -> None:
        made = settings(line)
        assert made.warnings == (complaint,)
        assert made == Settings(name="alpha", warnings=(complaint,))

    @pytest.mark.parametrize("name", ["KeyExpire", "UDPDiscoveryInterval", "MaxOutputBufferSize"])
    def test_a_negative_duration_or_size_is_reported_and_the_default_used(self, name: str) -> None:
        made = settings(f"{name} = -1")
        assert len(made.warnings) == 1
        assert name in made.warnings[0]
        assert made == Settings(name="alpha", warnings=made.warnings)

    def test_bad_names_in_connect_to_are_reported_and_the_own_one_ignored(self) -> None:
        made = settings(
            "ConnectTo = beta\nConnectTo = a-b\nConnectTo = alpha\nConnectTo = beta\nConnectTo = c"
        )
        assert made.connect_to == ("beta", "c")
        assert len(made.warnings) == 1
        assert "a-b" in made.warnings[0]
        assert f"{CONF} line 2" in made.warnings[0]

    def test_bad_broadcast_subnets_are_reported_and_skipped(self) -> None:
        made = settings("BroadcastSubnet = x\nBroadcastSubnet = 10.255.255.255\nBroadcastSubnet = 1.1.1.1/0")
        assert [str(subnet) for subnet in made.broadcast_subnets] == ["10.255.255.255"]
        assert len(made.warnings) == 2

    def test_own_subnets_come_in_file_order_without_repetitions(self) -> None:
        made = settings("Subnet = 10.0.0.2\nSubnet = 10.0.0.1\nSubnet = 10.0.0.2/32#10\n")
        assert [str(subnet) for subnet in made.subnets] == ["10.0.0.2", "10.0.0.1"]

    @pytest.mark.parametrize(
        ("line", "nearest"),
        [
            ("PingIntervall = 5", "PingInterval"),
            ("autoconect = no", "AutoConnect"),
            ("Adress = x", "Address"),
        ],
    )
    def test_a_misspelt_variable_is_reported_with_the_nearest_known_one(
        self, line: str, nearest: str
    ) -> None:
        (warning,) = settings(f"\n{line}").warnings
        name = line.split()[0]
        assert warning == f"Unknown variable {name} in {CONF} line 2, did you mean {nearest}?"

    def test_an_unknown_variable_that_resembles_nothing_is_only_reported(self) -> None:
        assert settings("Quux = 1").warnings == (f"Unknown variable Quux in {CONF} line 1",)

    def test_a_line_with_leading_blanks_is_reported_and_has_no_effect(self) -> None:
        made = settings("  Mode = hub")
        assert made.mode is Mode.ROUTER
        assert len(made.warnings) == 1
        assert f"{CONF} line 1" in made.warnings[0]

    def test_an_option_of_the_command_line_is_named_as_such(self) -> None:
        entry = Entry("Mode", "bridge", None, 2)
        with pytest.raises(ConfigError, match="command line option 2"):
            build_settings(Pool([entry]), "alpha")

    def test_a_missing_feature_is_reported(self) -> None:
        assert len(settings("UPnP = udponly\nExperimentalProtocol = no").warnings) == 1

    def test_a_bad_value_at_reload_keeps_the_previous_one(self) -> None:
        before = settings("Mode = switch\nMaxTimeout = 30\nProxy = http p 1\nReplayWindow = 64")
        after = settings("Mode = x\nMaxTimeout = 0\nProxy = y\nReplayWindow = -1\nHostnames = yes", before)
        assert (after.mode, after.max_timeout, after.replay_window) == (Mode.SWITCH, 30, 64)
        assert after.proxy == before.proxy
        assert after.hostnames
        assert len(after.warnings) == 4

    @pytest.mark.parametrize("value", ["19", "1001", "-5"])
    def test_a_guard_interval_out_of_range_at_reload_keeps_the_previous_one(self, value: str) -> None:
        after = settings(f"GuardInterval = {value}", settings("GuardInterval = 50"))
        assert after.guard_interval == 50
        (warning,) = after.warnings
        assert f"not {value}!" in warning
        assert f"{CONF} line 1" in warning

    def test_in_the_sandbox_the_programs_stay_as_they_were_at_the_start(self) -> None:
        start = settings("Sandbox = normal\nProxy = exec nc\nScriptsInterpreter = /bin/sh")
        assert start.warnings == ()
        after = settings("Sandbox = off\nProxy = exec planted\nScriptsInterpreter = planted", start)
        assert (after.sandbox, after.proxy, after.scripts_interpreter) == (
            "normal",
            start.proxy,
            start.scripts_interpreter,
        )
        assert "the command of Proxy = exec changes only at the next start" in after.warnings[0]
        assert "ScriptsInterpreter changes only at the next start" in after.warnings[1]
        assert settings("Proxy = http p 3128", after).proxy == ProxySettings("http", "p", "3128")
        assert settings("Proxy = exec planted", settings("Proxy = exec nc")).proxy.command == "planted"

    def test_a_sandbox_without_processes_takes_over_none_at_a_reload(self) -> None:
        start = settings("Mode = switch\nSandbox = high\nVirtualIP = 10.1.1.10 check=tcp:80")
        after = settings("Mode = switch\nProxy = exec nc\nVirtualIP = 10.1.1.10 check=exec:check", start)
        assert after.proxy.kind == "none"
        assert after.virtual_ips == start.virtual_ips
        assert "Proxy = exec does not work with Sandbox = high" in after.warnings[0]
        assert "check=exec: does not work with Sandbox = high" in after.warnings[1]

    def test_a_sandbox_without_processes_is_no_place_for_a_script_that_checks(self) -> None:
        with pytest.raises(ConfigError, match="check=exec: does not work with Sandbox = high"):
            settings("Mode = switch\nSandbox = high\nVirtualIP = 10.1.1.10 check=exec:check")

    def test_a_line_removed_before_a_reload_restores_the_default(self) -> None:
        assert settings("", settings("Mode = switch\nMaxTimeout = 30")) == Settings(name="alpha")

    @given(
        st.dictionaries(
            st.sampled_from(
                [
                    "Mode",
                    "Subnet",
                    "Proxy",
                    "Address",
                    "PingTimeout",
                    "ConnectTo",
                    "Compression",
                    "VirtualIP",
                    "X",
                ]
            ),
            st.text(min_size=1),
        )
    )
    def test_any_values_raise_nothing_but_config_error(self, values: dict[str, str]) -> None:
        entries = [Entry(name, value, CONF, i) for i, (name, value) in enumerate(values.items(), 1)]
        with contextlib.suppress(ConfigError):
            build_settings(Pool(entries), "alpha")
        build_settings(Pool(entries), "alpha", Settings(name="alpha"))
        build_host_settings("beta", Pool(entries), None)


TEN = bytes([10, 1, 1, 10])
ELEVEN = bytes([10, 1, 1, 11])
SWITCH = "Mode = switch\n"


class TestVirtualIPs:
    def test_each_line_is_an_address_in_the_order_of_the_file(self) -> None:
        made = settings(f"{SWITCH}VirtualIP = 10.1.1.11/24 priority=150 check=tcp:80\nvirtualip=10.1.1.10")
        assert made.virtual_ips == (
            VirtualIP(ELEVEN, 24, priority=150, checks=(TcpCheck(80),)),
            VirtualIP(TEN, 32),
        )
        assert made.warnings == ()

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("VirtualIP = node_2", r"node_2 is not ADDRESS\[/PREFIX\]"),
            ("VirtualIP = 10.1.1.11 priority=0", "priority is a number from 1 to 254, not 0"),
            ("VirtualIP = 10.1.1.11 prio=5", "prio is not a key of a virtual IP, did you mean priority"),
            ("VirtualIP = 10.1.1.10/24", f"10.1.1.10 occurs twice, first in {CONF} line 2 "),
            ("VirtualIP = 10.1.1.10 node=alpha", "node=alpha is this node itself: leave node= out"),
            ("VirtualIP = 10.1.1.10 node=n-3", "node is the name of a node, not n-3"),
        ],
    )
    def test_a_bad_line_is_fatal_and_named(self, line: str, complaint: str) -> None:
        with pytest.raises(ConfigError, match=complaint) as caught:
            settings(f"{SWITCH}VirtualIP = 10.1.1.10\n{line}\n")
        assert (caught.value.path, caught.value.line) == (CONF, 3)
        assert f"(variable VirtualIP in {CONF} line 3)" in str(caught.value)

    def test_a_node_has_a_limited_number_of_them(self) -> None:
        most = SWITCH + "".join(f"VirtualIP = 10.1.1.{host}\n" for host in range(1, MAX_VIRTUAL_IPS + 1))
        assert len(settings(most).virtual_ips) == MAX_VIRTUAL_IPS
        with pytest.raises(ConfigError, match=f"at most {MAX_VIRTUAL_IPS} virtual IPs .* line 66"):
            settings(f"{most}VirtualIP = fd00::1\n")

    @pytest.mark.parametrize(
        ("lines", "what"),
        [
            ("", "Mode = router: it needs Mode = switch"),
            ("Mode = router\n", f"Mode = router ({CONF} line 1): it needs Mode = switch"),
            ("Mode = hub\n", f"Mode = hub ({CONF} line 1): it needs Mode = switch"),
            (f"{SWITCH}Broadcast = no\n", f"Broadcast = no ({CONF} line 2): questions"),
            (f"{SWITCH}Forwarding = kernel\n", f"Forwarding = kernel ({CONF} line 2): questions"),
            (f"{SWITCH}TunnelServer = yes\n", f"TunnelServer = yes ({CONF} line 2): the members"),
            (f"{SWITCH}NeighbourGuard = no\n", f"NeighbourGuard = no ({CONF} line 2): the guard"),
        ],
    )
    def test_a_setting_that_forbids_them_is_fatal_and_named(self, lines: str, what: str) -> None:
        assert settings(lines).virtual_ips == ()
        with pytest.raises(ConfigError) as caught:
            settings(f"{lines}VirtualIP = 10.1.1.10\n")
        assert str(caught.value).startswith(f"A virtual IP does not work with {what}")
        assert caught.value.line == lines.count("\n") + 1

    def test_a_device_without_an_interface_is_reported(self) -> None:
        made = settings(f"{SWITCH}DeviceType = dummy\nVirtualIP = 10.1.1.10\n")
        assert len(made.virtual_ips) == 1
        assert made.warnings == (
            f"With DeviceType = dummy no interface can have a virtual IP ({CONF} line 3)",
        )

    def test_a_missing_library_of_the_host_is_fatal_and_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=rf"install pytinc\[manage\].* {CONF} line 2"):
            settings(f"{SWITCH}VirtualIP = 10.1.1.10 manage=yes")

    def test_a_bad_line_at_a_reload_changes_none_of_them(self) -> None:
        before = settings(f"{SWITCH}VirtualIP = 10.1.1.10 priority=5\nVirtualIP = 10.1.1.11")
        after = settings(f"{SWITCH}VirtualIP = 10.1.1.10 priority=6\nVirtualIP = 10.1.1.11 rise=x", before)
        assert after.virtual_ips == before.virtual_ips
        (warning,) = after.warnings
        assert "rise is a number" in warning
        assert f"{CONF} line 3" in warning

    def test_a_setting_that_forbids_them_at_a_reload_ends_them(self) -> None:
        before = settings(f"{SWITCH}VirtualIP = 10.1.1.10")
        after = settings(f"{SWITCH}NeighbourGuard = no\nVirtualIP = 10.1.1.10", before)
        assert after.virtual_ips == ()
        (warning,) = after.warnings
        assert "does not work with NeighbourGuard = no" in warning

    def test_a_change_to_router_mode_ends_them_only_after_a_restart(self) -> None:
        before = settings(f"{SWITCH}VirtualIP = 10.1.1.10")
        after = settings("Mode = router\nVirtualIP = 10.1.1.10", before)
        assert after.virtual_ips == before.virtual_ips

    def test_a_reload_from_router_mode_begins_none(self) -> None:
        after = settings(f"{SWITCH}VirtualIP = 10.1.1.10", settings("Mode = router"))
        assert after.virtual_ips == ()
        (warning,) = after.warnings
        assert "does not work with Mode = router" in warning

    def test_all_that_is_wrong_is_told_to_fsck(self) -> None:
        made, problems, _ = checked_settings(
            pool(
                "Mode = hub\nStrictVirtualIPs = yes\nVirtualIP = x\nVirtualIP = 10.1.1.10\nVirtualIP = ::\n"
            ),
            "alpha",
        )
        assert made.strict_virtual_ips
        assert [problem.line for problem in problems] == [3, 5, 3]
        assert "does not work with Mode = hub" in str(problems[-1])
        assert checked_settings(pool(f"{SWITCH}VirtualIP = 10.1.1.10\n"), "alpha")[1] == []

    def test_the_own_host_file_sets_permissions_and_not_served_addresses(self) -> None:
        host = Pool([Entry("virtualip", "10.1.1.11", "/etc/tinc/hosts/alpha", 1), Entry("Port", "1", "", 2)])
        both = own_settings_pool(pool(f"{SWITCH}VirtualIP = 10.1.1.10\n"), host)
        made = build_settings(both, "alpha")
        assert [virtual_ip.address for virtual_ip in made.virtual_ips] == [TEN]
        assert made.port == "1"
        assert held_addresses(host) == (ELEVEN,)


class TestHostSettings:
    def test_addresses_that_the_node_may_hold_come_without_repetitions(self) -> None:
        made = build_host_settings(
            "beta", pool("VirtualIP = 10.1.1.11\nVirtualIP = fd00::1\nVirtualIP = 10.1.1.11\n"), None
        )
        assert made.virtual_ips == (ELEVEN, parse_address("fd00::1"))
        assert made.warnings == ()

    @pytest.mark.parametrize("value", ["10.1.1.10/24", "10.1.1.10 priority=5", "beta", "fe80::1"])
    def test_a_line_that_is_no_address_is_reported_and_allows_nothing(self, value: str) -> None:
        made = build_host_settings("beta", pool(f"VirtualIP = {value}\nVirtualIP = 10.1.1.11\n"), None)
        assert made.virtual_ips == (ELEVEN,)
        (warning,) = made.warnings
        assert f"(variable VirtualIP in {CONF} line 1)" in warning

    def test_a_node_may_hold_a_limited_number_of_addresses(self) -> None:
        lines = [f"VirtualIP = 10.1.{host}.1\n" for host in range(MAX_VIRTUAL_IPS + 1)]
        made = build_host_settings("beta", pool("".join([*lines, lines[0]])), None)
        assert len(made.virtual_ips) == MAX_VIRTUAL_IPS
        (warning,) = made.warnings
        assert f"at most {MAX_VIRTUAL_IPS} virtual IPs" in warning
        assert f"line {MAX_VIRTUAL_IPS + 1}" in warning

    def test_a_host_file_gives_only_its_own_variables(self) -> None:
        made = build_host_settings(
            "beta", pool("Address = b.example 1655\nSubnet = 10.2.0.0/16\n"), b"k" * 32
        )
        assert made.name == "beta"
        assert made.addresses == (HostPort("b.example", "1655"),)
        assert [str(subnet) for subnet in made.subnets] == ["10.2.0.0/16"]
        assert made.public_key == b"k" * 32
        assert made.port is None
        assert made.indirect_data is None
        assert made.weight is None
        assert made.warnings == ()

    def test_every_variable_of_a_host_reaches_its_field(self) -> None:
        made = build_host_settings(
            "beta",
            pool(
                "Port = 1\nClampMSS = no\nCompression = 9\nIndirectData = yes\nPMTU = 1300\n"
                "PMTUDiscovery = no\nTCPOnly = yes\nWeight = 7\n"
            ),
            None,
        )
        assert (made.port, made.clamp_mss, made.compression, made.indirect_data) == ("1", False, 9, True)
        assert (made.pmtu, made.pmtu_discovery, made.tcp_only, made.weight) == (1300, False, True, 7)

    def test_nothing_in_a_peers_file_is_fatal(self) -> None:
        made = build_host_settings("beta", pool("Subnet = x\nTCPOnly = 1\nWeight = w\nSubnett = y"), None)
        assert made.subnets == ()
        assert made.tcp_only is None
        assert made.weight is None
        assert len(made.warnings) == 4


def test_offload_is_on_unless_it_is_turned_off() -> None:
    assert settings("Name = alpha\n").offload
    assert not settings("Name = alpha\nOffload = no\n").offload

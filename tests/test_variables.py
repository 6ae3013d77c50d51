"""Every variable that docs/compatibility.md calls "same" or "differs" has a test that shows what it changes.

That a line is read is not enough: the test that is named here fails if the daemon ignores the variable.
"""

# ruff: noqa: E501 -- a test's id is in one piece, to be found by its name.

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests_by_name import named_tests

ROOT: Final = Path(__file__).resolve().parents[1]

EFFECTS: Final = {
    "Address": "tests/sim/test_variables.py::test_a_node_is_dialled_at_the_addresses_and_the_port_of_its_host_file",
    "AddressFamily": "tests/net/test_sockets.py::test_the_wildcard_of_each_allowed_family_is_the_default",
    "AutoConnect": "tests/sim/test_variables.py::test_auto_connect_decides_whether_a_node_dials_one_that_it_only_knows",
    "BindToAddress": "tests/net/test_meta.py::test_a_single_bind_to_address_of_the_family_is_the_source",
    "BindToInterface": "tests/net/test_sockets.py::test_both_sockets_are_bound_to_the_interface",
    "Broadcast": "tests/sim/test_variables.py::test_broadcasts_are_passed_on_along_the_tree_only",
    "BroadcastLimit": "tests/sim/test_variables.py::test_a_node_floods_no_more_than_the_broadcast_limit_says",
    "BroadcastSubnet": "tests/sim/test_router_mesh.py::test_a_configured_broadcast_subnet_reaches_all_nodes",
    "ClampMSS": "tests/sim/test_variables.py::test_the_mss_of_a_syn_is_clamped_unless_neither_end_wants_it",
    "Compression": "tests/sim/test_variables.py::test_a_node_gets_compressed_packets_if_it_asks_for_them",
    "ConnectTo": "tests/sim/test_mesh.py::test_reload_starts_and_drops_connections_and_announces_subnets",
    "DecrementTTL": "tests/sim/test_variables.py::test_a_forwarded_packet_loses_a_hop_if_configured",
    "Device": "tests/net/test_devices.py::test_the_variable_device_names_the_device_node",
    "DeviceStandby": "tests/daemon/test_service.py::test_with_device_standby_tinc_up_and_tinc_down_do_not_run",
    "DeviceType": "tests/net/test_tun.py::test_router_mode_opens_a_tap_if_configured",
    "DirectOnly": "tests/sim/test_variables.py::test_an_indirect_node_gets_nothing_with_direct_only",
    "Ed25519PrivateKeyFile": "tests/daemon/test_service.py::test_the_private_key_is_read_from_the_file_that_is_named",
    "Ed25519PublicKey": "interop/test_bad_input.py::test_a_peer_with_the_wrong_key_is_refused_and_named_in_the_log",
    "Ed25519PublicKeyFile": "tests/config/test_store.py::TestPublicKey::test_then_the_file_that_is_named_relative_to_the_base",
    "FastTag": "tests/sim/test_fast_tag.py::test_no_node_uses_it_with_a_node_that_does_not_announce_it",
    "Forwarding": "tests/sim/test_variables.py::test_forwarding_decides_about_a_frame_of_one_peer_for_another",
    "FWMark": "tests/net/test_sockets.py::test_both_sockets_have_the_firewall_mark",
    "GuardInterval": "tests/sim/test_guard.py::test_guard_interval_sets_how_often_a_watched_node_is_probed",
    "Hostnames": "tests/net/test_shell.py::test_logs_and_dumps_show_names_with_hostnames",
    "IffOneQueue": "tests/net/test_devices.py::test_the_interface_has_the_configured_name_and_queue_flag",
    "IndirectData": "tests/sim/test_variables.py::test_a_node_with_indirect_data_is_reached_only_through_its_neighbour",
    "Interface": "tests/net/test_devices.py::test_the_interface_has_the_configured_name_and_queue_flag",
    "InvitationExpire": "tests/node/test_invitations.py::test_an_invitation_older_than_invitation_expire_is_kept_as_used_but_not_served",
    "KeyExpire": "tests/node/test_stats.py::test_the_key_grows_old_until_it_is_replaced",
    "ListenAddress": "tests/net/test_sockets.py::test_every_address_gets_a_tcp_and_a_udp_socket_on_one_port",
    "LocalDiscovery": "tests/sim/test_variables.py::test_an_unproved_address_and_a_local_one_are_probed_together",
    "LogLevel": "tests/daemon/test_service.py::test_the_log_level_is_that_of_the_variable_unless_an_option_sets_another",
    "MACExpire": "tests/sim/test_mesh.py::test_a_learned_mac_expires",
    "MaxConnectionBurst": "tests/sim/test_connections.py::test_connections_beyond_the_burst_are_closed_at_once_except_one_per_second",
    "MaxOutputBufferSize": "tests/node/test_meta_output.py::test_from_half_full_on_frames_are_dropped_the_more_likely_the_fuller",
    "MaxTimeout": "tests/sim/test_connections.py::test_the_wait_between_two_rounds_grows_by_five_seconds_up_to_max_timeout",
    "MetricsListen": "tests/daemon/test_service.py::test_metrics_are_served_at_their_address_and_nowhere_else",
    "Mode": "tests/sim/test_variables.py::test_a_switch_sends_a_frame_to_the_known_destination_and_a_hub_to_all",
    "MTUInfoInterval": "tests/sim/test_variables.py::test_a_relay_that_is_no_neighbour_gets_an_mtu_once_per_mtu_info_interval",
    "Name": "tests/node/test_meta_events.py::test_the_dialling_side_sends_what_the_trace_shows",
    "NeighbourGuard": "tests/sim/test_guard.py::test_nothing_is_watched_with_neighbour_guard_no",
    "Offload": "tests/net/test_tap.py::test_offload_no_turns_all_offloads_off",
    "PingInterval": "tests/sim/test_variables.py::test_a_quiet_neighbour_is_pinged_once_per_ping_interval",
    "PingTimeout": "tests/sim/test_variables.py::test_a_neighbour_that_does_not_answer_a_ping_is_dropped_after_the_ping_timeout",
    "PMTU": "tests/sim/test_variables.py::test_pmtu_bounds_the_mtu_of_a_new_neighbour",
    "PMTUDiscovery": "tests/sim/test_variables.py::test_no_long_probe_is_sent_without_path_mtu_discovery",
    "Port": "tests/net/test_sockets.py::test_the_variable_port_applies_unless_an_address_has_its_own",
    "PriorityInheritance": "tests/net/test_shell.py::test_priority_inheritance_gives_datagrams_the_mark_of_their_frames",
    "ProcessPriority": "tests/daemon/test_service.py::test_the_priority_is_that_of_the_variable",
    "Proxy": "tests/net/test_proxy.py::test_a_connection_is_up_once_the_proxy_has_made_it",
    "ReplayWindow": "tests/sim/test_variables.py::test_a_replay_window_of_0_accepts_the_same_datagram_twice",
    "Sandbox": "tests/daemon/test_service.py::test_in_the_sandbox_the_daemon_opens_nothing_else",
    "ScriptsExtension": "tests/daemon/test_service.py::test_scripts_have_the_configured_extension_and_interpreter",
    "ScriptsInterpreter": "tests/daemon/test_service.py::test_scripts_have_the_configured_extension_and_interpreter",
    "SPTPSCipher": "tests/node/test_ciphers.py::test_nodes_that_want_aes_use_it_and_talk_to_the_others_as_before",
    "StrictSubnets": "tests/node/test_requests_subnet.py::test_with_strict_subnets_the_host_files_count_and_the_rest_is_only_passed_on",
    "StrictVirtualIPs": "tests/sim/test_virtual_ips.py::test_a_node_without_the_right_serves_nothing_and_is_reported",
    "Subnet": "tests/sim/test_router_mesh.py::test_a_packet_arrives_only_at_the_owner_of_its_subnet_and_is_answered",
    "TCPOnly": "tests/sim/test_mesh.py::test_tcp_only_nodes_talk_through_a_hub",
    "TunnelServer": "tests/node/test_requests_subnet.py::test_a_tunnel_server_passes_nothing_on_and_takes_nothing",
    "UDPDiscovery": "tests/sim/test_variables.py::test_no_node_is_probed_without_udp_discovery",
    "UDPDiscoveryInterval": "tests/sim/test_variables.py::test_an_unproved_address_is_probed_once_per_interval",
    "UDPDiscoveryKeepaliveInterval": "tests/sim/test_variables.py::test_a_proved_address_is_probed_once_per_keepalive_interval",
    "UDPDiscoveryTimeout": "tests/sim/test_variables.py::test_udp_is_given_up_after_its_timeout",
    "UDPInfoInterval": "tests/sim/test_variables.py::test_nodes_behind_a_relay_get_an_address_once_per_udp_info_interval",
    "UDPRcvBuf": "tests/net/test_sockets.py::test_udp_sockets_have_the_configured_buffers",
    "UDPSndBuf": "tests/net/test_sockets.py::test_udp_sockets_have_the_configured_buffers",
    "UPnP": "interop/test_upnp.py::test_a_node_outside_reaches_the_one_behind_the_router",
    "UPnPDiscoverWait": "tests/net/test_upnp.py::test_the_helper_is_told_how_long_to_wait_and_what_to_map",
    "UPnPRefreshPeriod": "interop/test_upnp.py::test_mappings_are_renewed_and_expire_after_the_daemon_ends",
    "VDEGroup": "tests/net/test_vde.py::test_a_group_may_use_our_socket_and_others_may_not",
    "VDEPort": "tests/net/test_vde.py::test_frames_go_through_the_switch_and_closing_leaves_no_files",
    "VirtualIP": "tests/sim/test_virtual_ips.py::test_one_member_serves_and_only_its_host_answers",
    "Weight": "tests/sim/test_variables.py::test_the_path_with_the_smaller_weights_is_used",
}  # fmt: skip

WITHOUT_EFFECT: Final = {
    "ExperimentalProtocol": "there is no other protocol to choose; `no` is answered with a warning only",
    "GraphDumpFile": "obsolete: tinc ignores it as well",
}


def rows() -> dict[str, tuple[str, str]]:
    """Return status and reason of each row of the table."""
    text = (ROOT / "docs/compatibility.md").read_text()
    section = text.partition("\n## Variables\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (\w+) \| (same|differs|absent) \| ?(.*?) ?\|$", section, re.MULTILINE)
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(found) == len(lines) - 1 > 50, "a row that cannot be read"
    return {name: (status, why) for name, status, why in found}


def test_every_variable_has_a_test_of_its_effect_or_a_reason_why_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = rows()
    present = {name for name, (status, _) in table.items() if status != "absent"}
    assert not EFFECTS.keys() & WITHOUT_EFFECT.keys()
    assert EFFECTS.keys() | WITHOUT_EFFECT.keys() == present
    with capsys.disabled():
        absent = len(table) - len(present)
        print(
            f"\n{len(table)} variables: {len(EFFECTS)} with a test of their effect, "
            f"{len(WITHOUT_EFFECT)} without effect, {absent} absent for a reason told"
        )


def test_every_absent_variable_tells_why() -> None:
    absent = {name: why for name, (status, why) in rows().items() if status == "absent"}
    assert absent
    assert [name for name, why in absent.items() if len(why.split()) < 3] == []


@pytest.mark.parametrize("variable", sorted(EFFECTS))
def test_the_test_of_a_variable_exists(variable: str) -> None:
    file, _, name = EFFECTS[variable].partition("::")
    assert name in named_tests(file)

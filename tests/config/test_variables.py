"""The table of variables.

See docs/tinc-program.md, "Variables"; docs/protocol-invitations.md, "Files of a new node";
docs/tinc-program.md, "get, set, add and del".
"""

from __future__ import annotations

import pytest

from pytinc.config.variables import DAEMON_ONLY, VARIABLES, Reload, lookup

SAFE = (
    "AddressFamily AutoConnect Broadcast BroadcastSubnet ConnectTo DecrementTTL DirectOnly KeyExpire "
    "LocalDiscovery MACExpire MaxConnectionBurst MaxOutputBufferSize MaxTimeout Mode MTUInfoInterval "
    "PingInterval PingTimeout ReplayWindow StrictSubnets TunnelServer UDPDiscovery UDPDiscoveryInterval "
    "UDPDiscoveryKeepaliveInterval UDPDiscoveryTimeout UDPInfoInterval "
    "ClampMSS Compression IndirectData Subnet TCPOnly Weight "
    "BroadcastLimit GuardInterval NeighbourGuard SPTPSCipher StrictVirtualIPs"
)


EXTENSIONS = {
    "BroadcastLimit",
    "FastTag",
    "GuardInterval",
    "MetricsListen",
    "NeighbourGuard",
    "Offload",
    "SPTPSCipher",
    "StrictVirtualIPs",
    "VirtualIP",
}
"""Variables that tinc does not have."""


def names(**flags: bool) -> set[str]:
    return {v.name for v in VARIABLES.values() if all(getattr(v, k) is f for k, f in flags.items())}


def test_every_variable_is_found_whatever_its_case() -> None:
    for variable in VARIABLES.values():
        for spelling in (variable.name, variable.name.lower(), variable.name.upper()):
            assert lookup(spelling) is variable


def test_the_table_is_complete_and_in_alphabetical_order() -> None:
    assert len(names() - EXTENSIONS) == 74
    assert names() > EXTENSIONS
    assert list(VARIABLES) == sorted(VARIABLES)


@pytest.mark.parametrize("name", ["", "Nonsense", "Ifconfig", "Route", "NetName", "DisableBuggyPeers"])
def test_other_names_are_unknown(name: str) -> None:
    assert lookup(name) is None


def test_one_variable_is_known_to_the_daemon_only() -> None:
    assert {"disablebuggypeers"} == DAEMON_ONLY


def test_host_only_variables_are_those_that_the_command_puts_into_the_own_host_file() -> None:
    assert names(host=True, server=False) == {
        "Address",
        "Ed25519PublicKey",
        "Port",
        "PublicKey",
        "Subnet",
        "Weight",
    }


def test_variables_of_both_files_are_those_of_tinc() -> None:
    assert names(host=True, server=True) - EXTENSIONS == {
        "Cipher",
        "ClampMSS",
        "Compression",
        "Digest",
        "Ed25519PublicKeyFile",
        "IndirectData",
        "MACLength",
        "PMTU",
        "PMTUDiscovery",
        "PublicKeyFile",
        "TCPOnly",
    }


def test_multi_valued_variables_are_those_of_tinc() -> None:
    assert names(multiple=True) - EXTENSIONS == {
        "Address",
        "BindToAddress",
        "BroadcastSubnet",
        "ConnectTo",
        "ListenAddress",
        "Subnet",
    }


def test_obsolete_variables_are_those_of_tinc() -> None:
    assert names(obsolete=True) == {"GraphDumpFile", "PrivateKey", "PublicKey", "PublicKeyFile"}


def test_invitations_may_set_the_safe_variables_only() -> None:
    assert names(safe=True) == set(SAFE.split())


def test_each_variable_may_stand_somewhere_and_is_explained() -> None:
    for variable in VARIABLES.values():
        assert variable.server or variable.host
        assert variable.effect
        assert "\n" not in variable.effect


def test_nothing_of_identity_or_listening_changes_by_a_reload() -> None:
    for name in ("Name", "Port", "StrictSubnets", "TunnelServer", "PingInterval", "DeviceType"):
        assert VARIABLES[name.lower()].reload is Reload.START


def test_two_own_variables_are_for_host_files_and_one_may_be_repeated() -> None:
    assert names(host=True) & EXTENSIONS == {"SPTPSCipher", "VirtualIP"}
    assert names(multiple=True) & EXTENSIONS == {"VirtualIP"}

"""What follows from the settings alone: rules of the switch, option bits, and what probes announce."""

from __future__ import annotations

import pytest

from pytinc.config.settings import Broadcast, Forwarding, Mode, Settings
from pytinc.node.rules import hears_neighbours, own_options, path_settings, switch_rules
from pytinc.wire.bits import OptionBits
from pytinc.wire.capabilities import Capability

INDIRECT, TCPONLY = OptionBits.INDIRECT, OptionBits.TCPONLY
PMTU, CLAMP = OptionBits.PMTU_DISCOVERY, OptionBits.CLAMP_MSS
GUARD = Capability.GUARD | Capability.MEMBER_RECORDS
AES = Capability.AES_SUPER_FRAMES
FAST, SUPER = Capability.FAST_TAG, Capability.SUPER_FRAMES


def settings(**changes: object) -> Settings:
    return Settings(**({"name": "alpha", "mode": Mode.SWITCH} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, PMTU | CLAMP),
        ({"clamp_mss": False}, PMTU),
        ({"pmtu_discovery": False}, CLAMP),
        ({"indirect_data": True}, INDIRECT | PMTU | CLAMP),
        ({"tcp_only": True}, INDIRECT | TCPONLY | CLAMP),
        ({"tcp_only": True, "pmtu_discovery": True, "clamp_mss": False}, INDIRECT | TCPONLY),
    ],
)
def test_tcp_only_means_indirect_and_without_path_mtu(changes: dict[str, object], options: int) -> None:
    assert own_options(settings(**changes)) == options


@pytest.mark.parametrize(
    ("mode", "router", "hub"),
    [(Mode.ROUTER, True, False), (Mode.SWITCH, False, False), (Mode.HUB, False, True)],
)
def test_the_mode_decides_who_looks_at_what(mode: Mode, router: bool, hub: bool) -> None:
    rules = switch_rules(settings(mode=mode))
    assert (rules.router, rules.hub) == (router, hub)


@pytest.mark.parametrize(
    ("forwarding", "forward", "kernel"),
    [(Forwarding.OFF, False, False), (Forwarding.INTERNAL, True, False), (Forwarding.KERNEL, True, True)],
)
def test_forwarding_decides_about_frames_for_others(
    forwarding: Forwarding, forward: bool, kernel: bool
) -> None:
    rules = switch_rules(settings(forwarding=forwarding))
    assert (rules.forward, rules.kernel) == (forward, kernel)


def test_a_tunnel_server_passes_no_broadcast_on_whatever_is_configured() -> None:
    assert switch_rules(settings(broadcast=Broadcast.DIRECT)).broadcast == "direct"
    assert switch_rules(settings(broadcast=Broadcast.DIRECT, tunnel_server=True)).broadcast == "no"


def test_the_other_rules_are_taken_over() -> None:
    rules = switch_rules(settings(direct_only=True, decrement_ttl=True, compression=9))
    assert (rules.direct_only, rules.decrement_ttl, rules.compression) == (True, True, 9)
    rules = switch_rules(settings())
    assert (rules.direct_only, rules.decrement_ttl, rules.compression) == (False, False, 0)


@pytest.mark.parametrize(
    ("changes", "hears"),
    [
        ({}, True),
        ({"mode": Mode.ROUTER}, False),
        ({"mode": Mode.HUB}, False),
        ({"forwarding": Forwarding.OFF}, True),
        ({"forwarding": Forwarding.KERNEL}, False),
        ({"broadcast": Broadcast.NO}, False),
        ({"tunnel_server": True}, False),
    ],
)
def test_arp_passes_a_switch_that_passes_broadcasts_on(changes: dict[str, object], hears: bool) -> None:
    assert hears_neighbours(settings(**changes)) is hears


@pytest.mark.parametrize(
    ("changes", "takes_super_frames", "capabilities"),
    [
        ({}, True, GUARD | FAST | SUPER),
        ({}, False, GUARD | FAST),
        ({"neighbour_guard": False}, True, FAST | SUPER),
        ({"fast_tag": False}, True, GUARD),  # super-frames have the fast tag
        ({"mode": Mode.ROUTER}, True, FAST),
        ({"mode": Mode.HUB}, True, FAST | SUPER),
        ({"broadcast": Broadcast.NO}, True, FAST | SUPER),
    ],
)
def test_probes_announce_the_features_of_the_node(
    changes: dict[str, object], takes_super_frames: bool, capabilities: Capability
) -> None:
    for prefers_aes, more in (
        (False, Capability.NONE),
        (True, AES if SUPER in capabilities else Capability.NONE),
    ):
        path = path_settings(settings(**changes), takes_super_frames, prefers_aes)
        assert path.capabilities == capabilities | more


def test_probes_come_at_the_configured_times() -> None:
    path = path_settings(
        settings(
            udp_discovery=False,
            udp_discovery_interval=3,
            udp_discovery_keepalive_interval=11,
            udp_discovery_timeout=31,
            local_discovery=False,
            ping_interval=61,
        ),
        takes_super_frames=False,
        prefers_aes=False,
    )
    assert (path.interval, path.keepalive_interval, path.timeout, path.ping_interval) == (3, 11, 31, 61)
    assert (path.udp_discovery, path.local_discovery) == (False, False)

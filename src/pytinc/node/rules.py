"""Derives from the settings: the rules of the switch, options in edges, how paths are probed."""

from __future__ import annotations

from pytinc.config.settings import Broadcast, Forwarding, Mode, Settings
from pytinc.datapath.table import SwitchRules
from pytinc.protocol.pmtu import PathSettings
from pytinc.wire.bits import OptionBits
from pytinc.wire.capabilities import Capability


def switch_rules(settings: Settings) -> SwitchRules:
    """Return the rules about frames."""
    broadcast = Broadcast.NO if settings.tunnel_server else settings.broadcast
    return SwitchRules(
        router=settings.mode is Mode.ROUTER,
        hub=settings.mode is Mode.HUB,
        forward=settings.forwarding is not Forwarding.OFF,
        kernel=settings.forwarding is Forwarding.KERNEL,
        direct_only=settings.direct_only,
        decrement_ttl=settings.decrement_ttl,
        broadcast=broadcast.value,
        broadcast_limit=settings.broadcast_limit,
        compression=settings.compression,
    )


def own_options(settings: Settings) -> int:
    """Return the option bits that hold for every peer of ours."""
    options = 0
    if settings.indirect_data:
        options |= OptionBits.INDIRECT
    if settings.tcp_only:
        options |= OptionBits.TCPONLY | OptionBits.INDIRECT
    if settings.pmtu_discovery and not options & OptionBits.TCPONLY:
        options |= OptionBits.PMTU_DISCOVERY
    if settings.clamp_mss:
        options |= OptionBits.CLAMP_MSS
    return options


def hears_neighbours(settings: Settings) -> bool:
    """Tell whether a node with these settings sees ARP and neighbour discovery and can ask all nodes."""
    return (
        settings.mode is Mode.SWITCH
        and settings.forwarding is not Forwarding.KERNEL
        and settings.broadcast is not Broadcast.NO
        and not settings.tunnel_server
    )


def path_settings(settings: Settings, takes_super_frames: bool, prefers_aes: bool) -> PathSettings:
    """Return how to probe paths to other nodes, and what our probes announce.

    ``takes_super_frames``: the device takes them as they come from other nodes. ``prefers_aes``: the CPU is
    faster with AES-256-GCM than with ChaCha20-Poly1305.
    """
    return PathSettings(
        udp_discovery=settings.udp_discovery,
        interval=settings.udp_discovery_interval,
        keepalive_interval=settings.udp_discovery_keepalive_interval,
        timeout=settings.udp_discovery_timeout,
        local_discovery=settings.local_discovery,
        ping_interval=settings.ping_interval,
        capabilities=_capabilities(settings, takes_super_frames, prefers_aes),
    )


def _capabilities(settings: Settings, takes_super_frames: bool, prefers_aes: bool) -> Capability:
    capabilities = Capability.NONE
    if settings.neighbour_guard and hears_neighbours(settings):
        capabilities |= Capability.GUARD | Capability.MEMBER_RECORDS
    if settings.fast_tag:
        capabilities |= Capability.FAST_TAG
        # A router looks at each packet.
        if takes_super_frames and settings.mode is not Mode.ROUTER:
            capabilities |= Capability.SUPER_FRAMES
            if prefers_aes:
                capabilities |= Capability.AES_SUPER_FRAMES
    return capabilities

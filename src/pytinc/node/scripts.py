"""Runs scripts when nodes and subnets come and go (tinc: script.c, graph.c, subnet.c)."""

from __future__ import annotations

from pytinc.node.actions import RunScript
from pytinc.node.core import Core
from pytinc.node.records import Peer
from pytinc.protocol.subnet_table import SubnetTable
from pytinc.wire.subnet import Subnet


class Scripts:
    """Asks the shell to run the scripts of the configuration directory (docs/tinc-program.md, "Scripts")."""

    def __init__(self, core: Core, subnets: SubnetTable) -> None:
        self._core = core
        self._subnets = subnets
        self._reachable_others = 0

    def reachability(self, peer: Peer) -> None:
        """Run host-up or host-down for a node, and subnet-up or subnet-down for each of its subnets."""
        suffix = "up" if peer.reachable else "down"
        environment = {"NODE": peer.name} | self._remote(peer)
        self._core.act(RunScript(f"host-{suffix}", environment))
        self._core.act(RunScript(f"hosts/{peer.name}-{suffix}", environment))
        for subnet in self._subnets.of(peer.name):
            self.subnet(peer, subnet, up=peer.reachable)

    def count_reachable(self, peer: Peer) -> None:
        """With DeviceStandby, the device is up while any other node is reachable.

        See docs/protocol-data.md, "Devices".
        """
        before = self._reachable_others
        self._reachable_others += 1 if peer.reachable else -1
        if self._core.settings.device_standby and 0 in (before, self._reachable_others):
            self._core.act(RunScript("tinc-down" if before else "tinc-up", {}))

    def subnet(self, peer: Peer, subnet: Subnet, *, up: bool) -> None:
        """Run subnet-up or subnet-down for one subnet of ``peer``."""
        environment = {"NODE": peer.name} | self._remote(peer)
        environment["SUBNET"] = subnet.text_without_weight
        environment["WEIGHT"] = "" if subnet.weight == 10 else str(subnet.weight)
        self._core.act(RunScript("subnet-up" if up else "subnet-down", environment))

    def _remote(self, peer: Peer) -> dict[str, str]:
        # A peer may announce text that is no address, and scripts put this text into commands.
        if peer is self._core.me or peer.address is None or not peer.address.family:
            return {}
        return {"REMOTEADDRESS": peer.address.host, "REMOTEPORT": peer.address.port}

"""Passes the reports of the data path to the parts that decide about them, in a fixed order."""

from __future__ import annotations

from typing import Final

from pytinc.datapath.output import Probe, Upcalls
from pytinc.node.addresses import Addresses
from pytinc.node.core import Core
from pytinc.node.dialling import Dialling
from pytinc.node.guard import NodeGuard
from pytinc.node.loops import Loops
from pytinc.node.meta_output import MetaOutput
from pytinc.node.path_info import PathInfo
from pytinc.node.probes import Probes
from pytinc.node.records import NEVER, Peer
from pytinc.node.sessions import Sessions
from pytinc.node.storms import Storms
from pytinc.node.subnets import Subnets
from pytinc.node.tunnels import Tunnels
from pytinc.wire.address import from_sockaddr
from pytinc.wire.assignment_record import ASSIGNMENT_RECORD
from pytinc.wire.vip_record import MEMBER_RECORD

_MEMBER_RECORD: Final = bytes((MEMBER_RECORD,))
_ASSIGNMENT_RECORD: Final = bytes((ASSIGNMENT_RECORD,))
OTHER_MODE_INTERVAL: Final = 3600.0
"""Least seconds between two log lines about a peer with another Mode."""
PROBE_NONCE: Final = slice(14, 18)
"""Random bytes of a request that come back in the answer."""


class UpcallHandler:
    """Acts on the upcalls of each batch."""

    def __init__(
        self,
        core: Core,
        meta_output: MetaOutput,
        subnets: Subnets,
        addresses: Addresses,
        sessions: Sessions,
        probes: Probes,
        path_info: PathInfo,
        tunnels: Tunnels,
        guard: NodeGuard,
        storms: Storms,
        loops: Loops,
        dialling: Dialling,
    ) -> None:
        self._core = core
        self._meta_output = meta_output
        self._subnets = subnets
        self._addresses = addresses
        self._sessions = sessions
        self._probes = probes
        self._path_info = path_info
        self._tunnels = tunnels
        self._guard = guard
        self._storms = storms
        self._loops = loops
        self._dialling = dialling

    def handle(self, now: float) -> None:
        """Act on all reports, then forget them.

        Frames and datagrams stay in the output for the shell.
        """
        core = self._core
        while core.output.upcalls:
            upcalls = core.output.take_upcalls()
            self._send_by_tcp(upcalls)
            self._subnets.learn(upcalls.learn, now)
            core.changes.settle(now)  # the guard asks for owners
            self._guard.take(upcalls, now)
            for probe in upcalls.probes:
                self._on_probe(probe, now)
            # After the probes, so that a probe from a new address cannot count as the answer to one sent
            # there now.
            for slot, (address, _) in upcalls.moved.items():
                self._probes.moved(core.of_slot(slot), from_sockaddr(address), now)
            for slot in upcalls.handshakes:
                self._sessions.send_answers(core.of_slot(slot))
            for slot in upcalls.failed:
                self._sessions.failed(core.of_slot(slot), now)
            for slot in upcalls.other_mode:
                self._say_other_mode(core.of_slot(slot), now)
            for slot in upcalls.incomplete:
                self._probes.withhold_super_frames(core.of_slot(slot), now)
            for slot in upcalls.no_session:
                self._sessions.request(core.of_slot(slot), now)
            for sender, source, target in upcalls.relayed:
                peers = (core.of_slot(slot) for slot in (sender, source, target))
                self._path_info.relayed(*peers, now=now)
            self._storms.reported(upcalls.storms, now)
            self._loops.reported(upcalls.returned, now)
            for slot in upcalls.touched:
                self._tunnels.upkeep(core.of_slot(slot), now, search_mtu=True)

    def _say_other_mode(self, peer: Peer, now: float) -> None:
        """Log that a peer's packets are useless here."""
        if now < peer.other_mode_said + OTHER_MODE_INTERVAL:
            return
        peer.other_mode_said = now
        self._core.log(
            0,
            "warning",
            f"{peer.name} sends packets of another kind: its Mode seems to differ from Mode = "
            f"{self._core.settings.mode.value} here, so nothing gets through",
        )

    def _send_by_tcp(self, upcalls: Upcalls) -> None:
        core = self._core
        for slot, frame in upcalls.packets:
            connection = core.of_slot(slot).connection
            if connection is not None:
                self._meta_output.send_frame(connection, frame)
        for target, source, record in upcalls.sptps_packets:
            self._meta_output.send_record(core.of_slot(target), core.of_slot(source), record)

    def _on_probe(self, probe: Probe, now: float) -> None:
        peer = self._core.of_slot(probe.source)
        peer.failed_since = NEVER
        if probe.payload[:1] == _MEMBER_RECORD:
            self._guard.member_record(peer, probe.payload, now)
            return
        if probe.payload[:1] == _ASSIGNMENT_RECORD:
            self._guard.assignment_record(peer, probe.payload, now)
            return
        if not probe.direct:
            return  # it proves nothing about the path to us, and no known node sends these
        if peer.connection is None:
            self._dialling.heard(peer, now)
        timed = True
        if probe.is_reply:
            self._addresses.take_proved(peer, from_sockaddr(probe.address))
            timed = not self._guard.probe_answered(peer, probe.payload[PROBE_NONCE], now)
        else:
            self._guard.heard(peer, now)
        self._tunnels.probe_received(peer, probe, now, timed=timed)

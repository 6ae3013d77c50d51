"""doctor: checks for present problems of a node, and prints one line with advice for each check.

`fsck` checks only the files; `doctor` checks the machine as well and asks the daemon, if it runs. Conditions
that cannot be seen from here (a firewall on the path) are judged by their effects: nodes that UDP does not
reach.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytinc.cli.fsck import Fsck
from pytinc.cli.port import DEFAULT_PORT, can_bind
from pytinc.config.parser import Pool
from pytinc.errors import ConfigError, ControlError, DecodeError, PytincError
from pytinc.wire.subnet import SubnetKind, parse_subnet

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient
    from pytinc.control.messages import NodeRow

TUN_DEVICE: Final = "/dev/net/tun"
_CAP_NET_ADMIN: Final = 1 << 12
_LOW_MTU: Final = 1280
"""Bytes: the least MTU that IPv6 requires of a link."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of a check; the field names are those of ``--json``."""

    check: str
    result: str
    """``ok``, ``warning`` or ``problem``."""
    message: str
    advice: str | None = None


def doctor(session: Session, words: list[str]) -> int:
    """Print a line for each check; the status is 1 if there is a problem."""
    judgements = list(_Doctor(session).examine())
    status = int(any(judgement.result == "problem" for judgement in judgements))
    if session.json:
        from pytinc.cli.machine import print_json

        print_json({"ok": status == 0, "checks": [asdict(judgement) for judgement in judgements]})
        return status
    for judgement in judgements:
        advice = "" if judgement.advice is None else f" {judgement.advice}"
        print(f"{judgement.result:<8} {judgement.check}: {judgement.message}{advice}")
    return status


def _ok(check: str, message: str) -> Judgement:
    return Judgement(check, "ok", message)


class _Doctor:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._server = Pool([])
        self._own = Pool([])
        self._client: ControlClient | None = None

    def examine(self) -> Iterator[Judgement]:
        """Make all checks."""
        session = self._session
        if hint := session.missing_network():
            yield Judgement("configuration", "problem", "there is no configuration here.", hint)
            return
        with contextlib.suppress(PytincError):
            self._client = session.client()
        with contextlib.suppress(ConfigError):
            self._server = session.tree.read_server()
            self._own = session.tree.own_pool()
        yield self._configuration()
        yield self._key()
        yield self._clock()
        yield self._privileges()
        if self._word("DeviceType", "tap") in ("tap", "tun"):
            yield self._device()
        yield self._daemon()
        yield self._port()
        yield self._firewall()
        if self._client is not None:
            yield from self._mesh(self._client)

    def _word(self, variable: str, default: str) -> str:
        entry = self._server.first(variable)
        return default if entry is None else entry.value.lower()

    # -- the machine --

    def _configuration(self) -> Judgement:
        session = self._session
        check = Fsck(session, silent=True)
        failed = check.run() != 0
        if not check.findings:
            return _ok("configuration", "fsck finds nothing.")
        message = f"fsck has {len(check.findings)} complaints: {check.findings[0].message.rstrip('.')}."
        return Judgement(
            "configuration", "problem" if failed else "warning", message, f"See `{session.suggestion} fsck'."
        )

    def _key(self) -> Judgement:
        try:
            _, path, insecure = self._session.tree.private_key_text()
        except PytincError as error:
            return Judgement("key", "problem", f"{error}.", "The user of the daemon must be able to read it.")
        if insecure:
            return Judgement("key", "warning", f"{path} can be read by others.", f"`chmod 600 {path}'.")
        return _ok("key", "only its owner can read it.")

    def _clock(self) -> Judgement:
        base = Path(self._session.confbase)
        newest = max((path.stat().st_mtime for path in (base, *base.glob("*"))), default=0.0)
        if newest > time.time() + 60:
            return Judgement(
                "clock", "problem", "it is behind the files of the configuration.", "Set it (NTP)."
            )
        return _ok("clock", "it is not behind the files of the configuration.")

    def _privileges(self) -> Judgement:
        status = Path("/proc/self/status").read_text().split()
        mask = int(status[status.index("CapEff:") + 1], 16)
        if mask & _CAP_NET_ADMIN:
            return _ok("privileges", "CAP_NET_ADMIN is available.")
        return Judgement(
            "privileges",
            "problem",
            "CAP_NET_ADMIN is missing.",
            "Run as root, or give the container this capability.",
        )

    def _device(self) -> Judgement:
        entry = self._server.first("Device")
        path = TUN_DEVICE if entry is None else entry.value
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except FileNotFoundError:
            return Judgement(
                "device",
                "problem",
                f"{path} does not exist.",
                "Run `modprobe tun', or map the device into the container.",
            )
        except OSError as error:
            return Judgement(
                "device", "problem", f"{path}: {error.strerror}.", "Check its mode, or run as root."
            )
        return _ok("device", f"{path} can be opened.")

    def _daemon(self) -> Judgement:
        if self._client is None:
            return Judgement("daemon", "problem", "it does not run.", f"`{self._session.suggestion} start'.")
        return _ok("daemon", f"it runs with pid {self._client.pid}.")

    def _own_port(self) -> str:
        entry = self._own.first("Port")
        return str(DEFAULT_PORT) if entry is None else entry.value

    def _port(self) -> Judgement:
        port = self._own_port()
        if self._client is not None or not port.isdecimal() or not 0 < int(port) < 65536:
            return _ok("port", f"{port}.")
        if not can_bind(int(port)):
            return Judgement(
                "port",
                "problem",
                f"{port} cannot be used.",
                "Set another Port, or stop the program that has it.",
            )
        return _ok("port", f"{port} is free.")

    def _firewall(self) -> Judgement:
        from pytinc.cli.firewall import Fate, Packet, input_chains, read_ruleset

        ruleset = read_ruleset()
        if ruleset is None:
            return _ok("firewall", "not checked, because nft is not installed or not allowed.")
        port = self._own_port()
        if not port.isdecimal() or port == "0":
            return _ok("firewall", "not checked, because the Port is not fixed.")
        refused: dict[str, list[str]] = {}
        perhaps: list[str] = []
        for protocol in ("tcp", "udp"):
            for chain, fate in input_chains(ruleset, Packet(protocol, int(port))).items():
                if fate is Fate.REFUSED:
                    refused.setdefault(chain, []).append(protocol)
                elif fate is Fate.PERHAPS:
                    perhaps.append(protocol)
        if refused:
            what = "; ".join(f"{chain} refuses {' and '.join(which)}" for chain, which in refused.items())
            return Judgement(
                "firewall",
                "warning",
                f"on this host, {what} to port {port}.",
                "Accept it, or let this node dial the others.",
            )
        if perhaps:
            which = " and ".join(dict.fromkeys(perhaps))
            return _ok("firewall", f"rules with conditions decide about {which} to port {port}.")
        return _ok("firewall", f"this host lets tcp and udp to port {port} in.")

    # -- the daemon's view --

    def _mesh(self, client: ControlClient) -> Iterator[Judgement]:
        from pytinc.cli.lists import dump_nodes, dump_subnets
        from pytinc.wire.bits import NodeStatus

        try:
            nodes, subnets = dump_nodes(client), dump_subnets(client)
        except (ControlError, DecodeError) as error:
            yield Judgement("daemon", "problem", f"{error}")
            return
        others = [row for row in nodes if not row.is_self and row.status & NodeStatus.REACHABLE]
        yield self._reached(others, sum(not row.is_self for row in nodes))
        owned: dict[str, set[str]] = defaultdict(set)
        kinds: dict[str, set[bool]] = defaultdict(set)
        for row in subnets:
            subnet = parse_subnet(row.subnet)
            # A single IP address proves nothing: nodes of a switch have one if an invitation gave it.
            if subnet.kind is SubnetKind.MAC or "/" in subnet.text_without_weight:
                kinds[row.owner].add(subnet.kind is SubnetKind.MAC)
            owned[row.subnet].add(row.owner)
        yield self._duplicates(owned)
        yield self._modes([row.name for row in others], kinds)

    def _reached(self, others: list[NodeRow], known: int) -> Judgement:
        from pytinc.cli.reach import Reach, reach_of

        if not others:
            return Judgement(
                "nodes",
                "problem" if known else "warning",
                f"none of {known} is reachable." if known else "no other node is known.",
                "Check Address, ConnectTo, and that TCP to the Port gets through firewalls."
                if known
                else "Invite one, or join.",
            )
        slow = [row.name for row in others if reach_of(row) in (Reach.TCP, Reach.RELAYED, Reach.FORWARDED)]
        if slow:
            return Judgement(
                "nodes",
                "warning",
                f"not reached directly by UDP: {', '.join(slow)}.",
                "Let UDP to the Port through firewalls at one end.",
            )
        low = [row.name for row in others if reach_of(row) is Reach.UDP and 0 < row.pmtu < _LOW_MTU]
        if low:
            return Judgement(
                "nodes", "warning", f"the path MTU is low: {', '.join(low)}.", "Let ICMP errors through."
            )
        return _ok("nodes", f"{len(others)} of {known} reachable.")

    def _duplicates(self, owned: dict[str, set[str]]) -> Judgement:
        twice = [
            f"{subnet} ({', '.join(sorted(names))})" for subnet, names in owned.items() if len(names) > 1
        ]
        if twice:
            return Judgement(
                "addresses",
                "warning",
                f"owned by several nodes: {'; '.join(twice)}.",
                "Fine if shared on purpose; otherwise change all but one.",
            )
        return _ok("addresses", "none is owned by several nodes.")

    def _modes(self, reachable: list[str], kinds: dict[str, set[bool]]) -> Judgement:
        mode = self._word("Mode", "router")
        if mode == "router":
            odd = [name for name in reachable if True in kinds[name]]
        else:
            odd = [name for name in reachable if kinds[name] == {False}]
        if odd:
            return Judgement(
                "mode",
                "warning",
                f"Mode = {mode} here, but another mode seems to be in use at {', '.join(odd)}.",
                "Set the same Mode everywhere.",
            )
        return _ok("mode", f"{mode} here, and no node seems to use another mode.")

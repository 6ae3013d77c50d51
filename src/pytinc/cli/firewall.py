"""The host's own firewall, as far as `doctor` can judge it: does a packet to the daemon's port get in?

Only nftables is read, which the iptables of today's distributions write to as well. The rules for a new
packet to a port are followed chain by chain (libnftables-json(5)). A condition that cannot be judged from
here, such as a source address or a rate, counts as "perhaps": a rule with it may let the packet in.
"""

from __future__ import annotations

import enum
import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

_TIMEOUT: Final = 10.0
"""Seconds that nft may take."""
_DEEPEST: Final = 16
"""Jumps from chain to chain that are followed; the kernel allows as many."""
_REFUSALS: Final = ("drop", "reject")


class Packet(NamedTuple):
    """A first packet from another host."""

    protocol: str
    """``tcp`` or ``udp``."""
    port: int


class Fate(enum.Enum):
    """The fate of a packet."""

    ACCEPTED = "accepted"
    PERHAPS = "accepted by a rule with conditions that were not judged"
    REFUSED = "refused"
    PASSED = "passed to the next rule"
    RETURNED = "passed to the end of the chain"


def read_ruleset() -> list[dict[str, Any]] | None:
    """Return nft's listing of all tables; None if nft is not installed, or the kernel refuses."""
    program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-j", "list", "ruleset"], capture_output=True, timeout=_TIMEOUT, check=True
        )
        found = json.loads(done.stdout)["nftables"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else None


def input_chains(ruleset: list[dict[str, Any]], packet: Packet) -> dict[str, Fate]:
    """Return what each input chain does with a packet, by family, table and name of the chain."""
    chains = [item["chain"] for item in ruleset if isinstance(item.get("chain"), dict)]
    return {
        " ".join(str(chain.get(key)) for key in ("family", "table", "name")): _Walk(
            ruleset, chain, packet
        ).fate()
        for chain in chains
        if chain.get("hook") == "input" and chain.get("family") in ("inet", "ip", "ip6")
    }


class _Walk:
    """Follows a packet through a base chain and the chains that it jumps to."""

    def __init__(self, ruleset: list[dict[str, Any]], chain: dict[str, Any], packet: Packet) -> None:
        self._chain = chain
        self._packet = packet
        table = (chain.get("family"), chain.get("table"))
        self._rules: dict[str, list[list[Any]]] = {}
        for item in ruleset:
            rule = item.get("rule")
            if isinstance(rule, dict) and (rule.get("family"), rule.get("table")) == table:
                self._rules.setdefault(str(rule.get("chain")), []).append(rule.get("expr", []))
        self._perhaps = False

    def fate(self) -> Fate:
        fate = self._follow(str(self._chain["name"]), 0)
        if fate is Fate.RETURNED:
            fate = Fate.REFUSED if self._chain.get("policy") == "drop" else Fate.ACCEPTED
        return Fate.PERHAPS if fate is Fate.REFUSED and self._perhaps else fate

    def _follow(self, name: str, depth: int) -> Fate:
        for expressions in self._rules.get(name, []) if depth <= _DEEPEST else []:
            fate = self._judge(expressions, depth)
            if fate is not Fate.PASSED:
                return fate
        return Fate.RETURNED

    def _judge(self, expressions: list[Any], depth: int) -> Fate:
        """Return the effect of one rule; a rule that may apply is noted if it could let the packet in."""
        certain = True
        for name, value in _items(expressions):
            if name == "match":
                matches = _matches(value, self._packet)
                if matches is False:
                    return Fate.PASSED
                certain = certain and matches is True
            elif name in ("limit", "xt", "connlimit", "ct count", "quota"):
                certain = False
            elif name == "accept":
                return self._decided(Fate.ACCEPTED, certain=certain)
            elif name in _REFUSALS:
                return self._decided(Fate.REFUSED, certain=certain)
            elif name in ("jump", "goto") and isinstance(value, dict):
                fate = self._follow(str(value.get("target")), depth + 1)
                if fate is not Fate.RETURNED or name == "goto":
                    return self._decided(fate, certain=certain)
            elif name == "vmap":
                fate = self._look_up(value, depth)
                if fate is not Fate.PASSED:
                    return self._decided(fate, certain=certain)
            elif name == "queue":
                return self._decided(Fate.ACCEPTED, certain=False)
            elif name == "return":
                return self._decided(Fate.RETURNED, certain=certain)
        return Fate.PASSED

    def _look_up(self, vmap: Any, depth: int) -> Fate:
        """Follow a verdict map: the verdict beside the packet's value."""
        try:
            (kind, what), *_ = vmap["key"].items()
            pairs = [(value, verdict) for value, verdict in vmap["data"]["set"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            return self._decided(Fate.ACCEPTED, certain=False)
        for value, verdict in pairs:
            holds = _holds(kind, what, value, self._packet)
            if holds is False:
                continue
            fate = self._judge([verdict], depth)
            if holds:
                return fate
            self._decided(fate, certain=False)  # or it is another value of the map
        return Fate.PASSED

    def _decided(self, fate: Fate, *, certain: bool) -> Fate:
        if certain:
            return fate
        self._perhaps = self._perhaps or fate in (Fate.ACCEPTED, Fate.RETURNED)
        return Fate.PASSED


def _items(expressions: list[Any]) -> Iterator[tuple[str, Any]]:
    for expression in expressions:
        if isinstance(expression, dict):
            yield from expression.items()


def _matches(match: Any, packet: Packet) -> bool | None:
    """Tell whether a condition holds for the packet; None if that is unknown."""
    try:
        left, right, operator = match["left"], match["right"], match["op"]
        (kind, what), *_ = left.items()
        holds = _holds(kind, what, right, packet)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if holds is None or operator not in ("==", "in", "!="):
        return None
    return holds is not (operator == "!=")


def _holds(kind: str, what: dict[str, Any], right: Any, packet: Packet) -> bool | None:
    if kind == "payload" and what.get("protocol") in ("tcp", "udp", "th"):
        if what["protocol"] not in ("th", packet.protocol):
            return False
        return _contains(right, packet.port) if what.get("field") == "dport" else None
    if kind == "payload" and what.get("field") in ("protocol", "nexthdr"):
        return _contains(right, packet.protocol)
    if kind == "payload" and what.get("protocol") in ("icmp", "icmpv6", "sctp", "dccp"):
        return False
    if kind == "meta" and what.get("key") == "l4proto":
        return _contains(right, packet.protocol)
    if kind == "meta" and what.get("key") in ("iif", "iifname") and right == "lo":
        return False
    if kind == "ct" and what.get("key") == "state":
        return _contains({"set": right} if isinstance(right, list) else right, "new")
    return None


def _contains(right: Any, value: int | str) -> bool | None:
    """Tell whether a value is the right side of a condition, or in its set or range."""
    if isinstance(right, int) or (isinstance(right, str) and not right.startswith("@")):
        return right == value
    if isinstance(right, dict) and isinstance(value, int) and "range" in right:
        low, high = right["range"]
        return bool(low <= value <= high)
    if isinstance(right, dict) and "set" in right:
        members = right["set"] if isinstance(right["set"], list) else [right["set"]]
        found = [_contains(member, value) for member in members]
        return True if True in found else None if None in found else False
    return None

"""What the host's firewall does with a packet to our port, by nft's own output for real rules."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.cli.firewall import Fate, Packet, input_chains, read_ruleset

TCP, UDP = Packet("tcp", 655), Packet("udp", 655)
CHAIN = {"family": "inet", "table": "filter", "name": "input", "hook": "input", "policy": "drop"}
NAME = "inet filter input"


def ruleset(
    *rules: list[Any], policy: str = "drop", other: list[list[Any]] | None = None
) -> list[dict[str, Any]]:
    """An input chain, and perhaps a chain ``other``, as `nft -j list ruleset` prints them."""
    made: list[dict[str, Any]] = [{"metainfo": {}}, {"chain": {**CHAIN, "policy": policy}}]
    for chain, expressions in (("input", rules), ("other", other or [])):
        made += [
            {"rule": {"family": "inet", "table": "filter", "chain": chain, "expr": each}}
            for each in expressions
        ]
    return made


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def port(protocol: str, right: Any) -> dict[str, Any]:
    return match({"payload": {"protocol": protocol, "field": "dport"}}, right)


ACCEPT, DROP, JUMP, GOTO = (
    {"accept": None},
    {"drop": None},
    {"jump": {"target": "other"}},
    {"goto": {"target": "other"}},
)
STATE = match({"ct": {"key": "state"}}, ["established", "related"], "in")
LOOPBACK = match({"meta": {"key": "iif"}}, "lo")
FROM = match({"payload": {"protocol": "ip", "field": "saddr"}}, {"prefix": {"addr": "10.0.0.0", "len": 8}})
BOTH = match({"meta": {"key": "l4proto"}}, {"set": ["tcp", "udp"]})
ICMP = match({"payload": {"protocol": "ip", "field": "protocol"}}, "icmp")
SET = [["invalid", DROP], ["established", ACCEPT]]
STATES = {
    "vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["invalid", DROP], ["established", ACCEPT]]}}
}
PORTS = {
    "vmap": {
        "key": {"payload": {"protocol": "udp", "field": "dport"}},
        "data": {"set": [[53, DROP], [{"range": [600, 700]}, ACCEPT]]},
    }
}
USUAL = ([LOOPBACK, ACCEPT], [STATE, ACCEPT], [STATES], [ICMP, ACCEPT], [port("tcp", 22), ACCEPT])


@pytest.mark.parametrize(
    ("rules", "tcp", "udp"),
    [
        (USUAL, Fate.REFUSED, Fate.REFUSED),
        ((*USUAL, [port("udp", 655), ACCEPT]), Fate.REFUSED, Fate.ACCEPTED),
        ((*USUAL, [port("tcp", {"set": [22, {"range": [650, 660]}]}), ACCEPT]), Fate.ACCEPTED, Fate.REFUSED),
        ((*USUAL, [BOTH, port("th", 655), {"counter": {}}, ACCEPT]), Fate.ACCEPTED, Fate.ACCEPTED),
        ((*USUAL, [FROM, port("udp", 655), ACCEPT]), Fate.REFUSED, Fate.PERHAPS),
        ((*USUAL, [port("udp", "@ports"), ACCEPT]), Fate.REFUSED, Fate.PERHAPS),
        (([port("udp", 655), DROP], [ACCEPT]), Fate.ACCEPTED, Fate.REFUSED),
        (([{"limit": {"rate": 3}}, ACCEPT], [{"reject": None}]), Fate.PERHAPS, Fate.PERHAPS),
        (([match({"meta": {"key": "iifname"}}, "lo", "!="), ACCEPT],), Fate.ACCEPTED, Fate.ACCEPTED),
        ((*USUAL, [PORTS]), Fate.REFUSED, Fate.ACCEPTED),
        (([{"return": None}], [ACCEPT]), Fate.REFUSED, Fate.REFUSED),
        (([{"queue": None}],), Fate.PERHAPS, Fate.PERHAPS),
    ],
)
def test_the_rules_are_followed_in_order(rules: tuple[list[Any], ...], tcp: Fate, udp: Fate) -> None:
    made = ruleset(*rules)
    assert input_chains(made, TCP) == {NAME: tcp}
    assert input_chains(made, UDP) == {NAME: udp}


@pytest.mark.parametrize(
    ("rules", "other", "fate"),
    [
        (([JUMP],), [[port("tcp", 655), ACCEPT]], Fate.ACCEPTED),
        (([JUMP], [ACCEPT]), [[port("tcp", 22), ACCEPT]], Fate.ACCEPTED),
        (([JUMP], [ACCEPT]), [[{"return": None}], [DROP]], Fate.ACCEPTED),
        (([GOTO], [ACCEPT]), [[port("tcp", 22), ACCEPT]], Fate.REFUSED),
        (([FROM, JUMP],), [[ACCEPT]], Fate.PERHAPS),
        (([JUMP],), [[JUMP]], Fate.REFUSED),
    ],
)
def test_chains_are_followed_to_their_end(
    rules: tuple[list[Any], ...], other: list[list[Any]], fate: Fate
) -> None:
    assert input_chains(ruleset(*rules, other=other), TCP) == {NAME: fate}


def test_a_chain_that_accepts_by_default_and_other_hooks_are_no_obstacle() -> None:
    made = ruleset(policy="accept")
    made.append({"chain": {**CHAIN, "name": "forward", "hook": "forward"}})
    made.append({"chain": {**CHAIN, "family": "bridge"}})
    assert input_chains(made, TCP) == {NAME: Fate.ACCEPTED}


def interfaces(*pairs: list[Any]) -> dict[str, Any]:
    return {"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": list(pairs)}}}


@pytest.mark.parametrize(
    ("rule", "fate"),
    [
        (interfaces(["lo", ACCEPT], ["eth0", DROP], ["eth1", JUMP]), Fate.PERHAPS),
        (interfaces(["lo", ACCEPT], ["eth1", JUMP], ["eth0", DROP]), Fate.PERHAPS),
        (interfaces(["lo", ACCEPT], ["eth0", DROP]), Fate.REFUSED),
    ],
)
def test_each_interface_of_a_map_may_be_the_packets(rule: dict[str, Any], fate: Fate) -> None:
    assert input_chains(ruleset([rule], other=[[ACCEPT]]), TCP) == {NAME: fate}


def test_a_comparison_is_not_taken_for_an_equality() -> None:
    left = {"payload": {"protocol": "tcp", "field": "dport"}}
    assert input_chains(ruleset([match(left, 600, ">"), ACCEPT]), TCP) == {NAME: Fate.PERHAPS}
    assert input_chains(ruleset([match(left, 655, "<"), DROP], policy="accept"), TCP) == {NAME: Fate.ACCEPTED}
    assert input_chains(ruleset([match(left, 655, "!="), DROP], [ACCEPT]), TCP) == {NAME: Fate.ACCEPTED}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["accept", "drop", "set", "@x", "lo", "new"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["match", "left", "right", "op", "vmap", "key", "data", "set", "range", "jump", "meta"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4))
def test_no_rule_is_too_strange(expressions: list[Any]) -> None:
    assert input_chains(ruleset(expressions), UDP)[NAME] in Fate


@pytest.mark.parametrize("said", ["", "no json", "[]", '{"nftables": 5}', '{"other": []}'])
def test_what_nft_says_instead_of_rules_counts_as_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    program = tmp_path / "nft"
    program.write_text(f"#!/bin/sh\nprintf '%s' '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setattr("pytinc.cli.firewall.shutil.which", lambda name, path: str(program))
    assert read_ruleset() is None
    program.write_text("#!/bin/sh\necho >&2 not permitted\nexit 1\n")
    assert read_ruleset() is None


def test_without_nft_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.cli.firewall.shutil.which", lambda name, path: None)
    assert read_ruleset() is None


def test_real_rules_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ruleset([ACCEPT])
    program = tmp_path / "nft"
    program.write_text("#!/bin/sh\ncat <<'E'\n" + json.dumps({"nftables": [*made, 5]}) + "\nE\n")
    program.chmod(0o755)
    monkeypatch.setattr("pytinc.cli.firewall.shutil.which", lambda name, path: str(program))
    assert read_ruleset() == made
    monkeypatch.setattr("pytinc.cli.firewall.subprocess.run", timeout)
    assert read_ruleset() is None


def timeout(*_: object, **__: object) -> None:
    raise subprocess.TimeoutExpired("nft", 10)

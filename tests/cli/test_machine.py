"""``--json``: docs/json.md is the schema, and every document is compared with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.node_rows import ALL, answer
from cli.vip_answers import FOREIGN, SERVED
from cli.vip_answers import answer as vip_answer
from pytinc.control import shared
from pytinc.control.statistics import DAEMON_FIELDS, DROPS, NODE_FIELDS, format_row

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/json.md").read_text()
NODES = answer(*ALL)
EDGES = """\
18 4 alpha beta 192.168.77.2 port 655 192.168.77.1 port 655 700000c 1
18 4 beta alpha 192.168.77.1 port 655 unspec port unspec 700000c 1
18 4
"""
SUBNETS = "18 5 ff:ff:ff:ff:ff:ff (broadcast)\n18 5 10.20.0.1#10 alpha\n18 5 10.21.0.0/16#20 alpha\n18 5\n"
CONNECTIONS = (
    "18 6 beta 192.168.77.2 port 655 700000c 4 100\n"
    "18 6 <control> localhost port unix 0 15 200\n18 6 <unknown> ::1 port 4000 0 16 0\n18 6\n"
)


def schema(title: str) -> dict[str, str]:
    """Return field and type of each row of the table under a heading of the document."""
    (section,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (\w+) \| ([a-z]+(?:\?|\[\])?) \|", section, re.MULTILINE)
    return dict(rows)


KINDS: dict[str, type] = {"string": str, "integer": int, "boolean": bool, "object": dict}


def conforms(value: Any, kind: str) -> bool:
    if kind.endswith("[]"):
        return isinstance(value, list) and all(conforms(item, kind[:-2]) for item in value)
    if kind.endswith("?"):
        return value is None or conforms(value, kind[:-1])
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def check(found: Any, *titles: str) -> None:
    """Complain unless an object has exactly the fields of the tables, with their types."""
    fields: dict[str, str] = {}
    for title in titles:
        fields |= schema(title)
    assert fields, titles
    assert set(found) == set(fields)
    assert [name for name, kind in fields.items() if not conforms(found[name], kind)] == []


@pytest.fixture
def ask(run: Run, daemon: ScriptedDaemon) -> Run:
    daemon.answers |= {"3": NODES, "4": EDGES, "5": SUBNETS, "6": CONNECTIONS}
    return lambda *words: run("-c", "conf", "--pidfile", daemon.pidfile, *words)


def parsed(result: Any) -> Any:
    assert (result.status, result.err) == (0, "")
    assert result.out.isascii()
    assert result.out.endswith("\n")
    return json.loads(result.out)


def test_the_checker_accepts_right_documents_and_rejects_wrong_ones() -> None:
    check({"file": "x", "node": "y"}, "dump invitations")
    for wrong in ({"file": "x"}, {"file": "x", "node": None}, {"file": "x", "node": "y", "more": 1}):
        with pytest.raises(AssertionError):
            check(wrong, "dump invitations")
    assert not conforms(True, "integer")
    assert not conforms([1], "string[]")


@pytest.mark.parametrize(
    ("what", "rows"),
    [("nodes", 7), ("reachable nodes", 6), ("edges", 2), ("subnets", 3), ("connections", 3)],
)
def test_lists_have_the_documented_fields(ask: Run, what: str, rows: int) -> None:
    found = parsed(ask("dump", *what.split(), "--json"))
    assert len(found) == rows
    for row in found:
        check(row, f"dump {what.removeprefix('reachable ')}")


def test_the_word_may_come_anywhere_after_dump(ask: Run) -> None:
    expected = ask("dump", "reachable", "nodes", "--json")
    assert ask("dump", "--json", "reachable", "nodes") == expected
    assert ask("list", "reachable", "--json", "nodes") == expected


def test_it_is_neither_a_global_option_nor_one_of_other_commands(ask: Run) -> None:
    assert "unrecognized option '--json'" in ask("--json", "dump", "nodes").err
    assert ask("pid", "--json").err == "Too many arguments!\n"
    assert ask("set", "--json", "x").status == 1


def test_a_node_is_described(ask: Run) -> None:
    nodes = {row["name"]: row for row in parsed(ask("dump", "nodes", "--json"))}
    assert {name: row["reach"] for name, row in nodes.items()} == {
        "alpha": "self",
        "beta": "udp",
        "delta": "unreachable",
        "far": "relayed",
        "mute": "unknown",
        "tcp": "tcp",
        "slow": "forwarded",
    }
    beta = nodes["beta"]
    assert (beta["host"], beta["port"], beta["rtt_us"], beta["pmtu"]) == ("192.168.77.2", "655", 632, 1439)
    assert beta["status_words"] == [
        "validkey",
        "visited",
        "reachable",
        "sptps",
        "udp_confirmed",
        "has_address",
    ]
    assert (beta["option_words"], beta["protocol_minor"]) == (["pmtu_discovery", "clamp_mss"], 7)
    delta = nodes["delta"]
    for field in ("host", "port", "nexthop", "via", "distance", "rtt_us", "last_state_change"):
        assert delta[field] is None
    assert (nodes["alpha"]["host"], nodes["alpha"]["port"]) == (None, "655")


def test_subnets_are_split_into_their_parts(ask: Run) -> None:
    broadcast, host, net = parsed(ask("dump", "subnets", "--json"))
    assert (broadcast["kind"], broadcast["owner"], broadcast["prefix"]) == ("mac", None, None)
    assert (host["subnet"], host["prefix"], host["weight"]) == ("10.20.0.1", 32, 10)
    assert (net["address"], net["prefix"], net["weight"]) == ("10.21.0.0", 16, 20)
    assert (net["owner"], net["broadcast"]) == ("alpha", False)


def test_connections_have_a_kind(ask: Run) -> None:
    found = parsed(ask("dump", "connections", "--json"))
    assert [(row["kind"], row["name"]) for row in found] == [
        ("node", "beta"),
        ("control", None),
        ("unknown", None),
    ]


def test_an_invalid_subnet_is_an_error(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["5"] = "18 5 nonsense alpha\n18 5\n"
    assert ask("dump", "subnets", "--json") == (1, "", "Unable to parse subnet dump from tincd.\n")


def test_graphs_have_no_json_form(ask: Run) -> None:
    result = ask("dump", "graph", "--json")
    assert (result.status, result.out) == (1, "")
    assert "dump nodes and edges" in result.err


def test_invitations(run: Run, conf: Path) -> None:
    assert parsed(run("-c", "conf", "dump", "--json", "invitations")) == []
    (conf / "invitations").mkdir()
    (conf / "invitations" / ("a" * 24)).write_text("Name = delta\n")
    (found,) = parsed(run("-c", "conf", "dump", "--json", "invitations"))
    check(found, "dump invitations")
    assert found == {"file": "a" * 24, "node": "delta"}


def test_info_about_a_node(ask: Run) -> None:
    found = parsed(ask("info", "--json", "alpha"))
    check(found, "dump nodes", "info node")
    assert (found["kind"], found["edges"]) == ("node", ["beta"])
    assert found["subnets"] == ["10.20.0.1", "10.21.0.0/16#20"]


def statistics_rows() -> str:
    drops = dict.fromkeys(DROPS, 0)
    daemon: dict[str, object] = {
        **dict.fromkeys(DAEMON_FIELDS, 7),
        "lag_mean_us": None,
        "drops": drops | {"short": 2},
    }
    daemon |= {"device_offloads": ["checksum", "TSO4"], "udp_offloads": []}
    daemon |= {"requests_in": {"PING": 3}, "requests_out": {}}
    node = {**dict.fromkeys(NODE_FIELDS, 5), "path": "udp", "relay": None, "drops": drops}
    node |= {"fast_tag_sending": True, "fast_tag_accepting": None}
    node |= {"super_frames_sending": False, "super_frames_accepting": True}
    node |= {"cipher": "aes-256-gcm", "super_frames_cipher": None}
    node |= {"runs_pytinc": True}
    names = ("alpha", "beta")
    rows = [format_row("daemon", daemon), *(format_row("node", {"name": name, **node}) for name in names)]
    return "\n".join([*rows, "18 4096\n"])


def test_info_includes_the_statistics_of_a_pytinc_daemon(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4096"] = statistics_rows()
    beta = parsed(ask("info", "--json", "beta"))
    check(beta, "dump nodes", "info node")
    check(beta["stats"], "info stats")
    check(beta["stats"]["drops"], "info drops")
    assert (beta["stats"]["path"], beta["stats"]["relay"], beta["daemon"]) == ("udp", None, None)
    own = parsed(ask("info", "--json", "alpha"))
    check(own["daemon"], "info daemon")
    check(own["daemon"]["drops"], "info drops")
    assert (own["daemon"]["uptime_s"], own["daemon"]["drops"]["short"]) == (7, 2)
    assert own["daemon"]["device_offloads"] == ["checksum", "TSO4"]
    assert parsed(ask("info", "--json", "far"))["stats"] is None  # new since the list was made


@pytest.mark.parametrize("answer", ["18 -1\n", None])
def test_a_daemon_without_statistics_leaves_them_out(
    ask: Run, daemon: ScriptedDaemon, answer: str | None
) -> None:
    if answer is not None:
        daemon.answers["4096"] = answer
    found = parsed(ask("info", "--json", "alpha"))
    check(found, "dump nodes", "info node")
    assert (found["stats"], found["daemon"]) == (None, None)


def test_malformed_statistics_are_an_error(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4096"] = "18 4096 daemon {}\n18 4096\n"
    assert ask("info", "--json", "alpha") == (1, "", "Unable to parse dump from tincd.\n")


def test_statistics_are_not_asked_for_when_tincs_lines_are_printed(ask: Run, daemon: ScriptedDaemon) -> None:
    assert ask("info", "alpha").status == 0
    assert not any(line.startswith("18 4096") for line in daemon.requests)


def test_info_about_an_address(ask: Run) -> None:
    found = parsed(ask("info", "10.21.3.4", "--json"))
    check(found, "info subnet")
    (subnet,) = found["subnets"]
    check(subnet, "dump subnets")
    assert (subnet["owner"], found["shared"]) == ("alpha", None)


def shared_rows() -> str:
    guard = {**dict.fromkeys(shared.GUARD_FIELDS, 7), "enabled": True, "last_failover_ms": None}
    holder = {**dict.fromkeys(shared.HOLDER_FIELDS, 5), "mac": "02:00:00:00:00:03", "node": "node_3"}
    holder |= {"state": "silent", "rtt_us": None}
    client = {**dict.fromkeys(shared.CLIENT_FIELDS, None), "mac": "06:00:00:00:00:01", "idle_ms": 4}
    failover = {**dict.fromkeys(shared.FAILOVER_FIELDS, 3), "reason": "silent", "from_node": "node_3"}
    failover |= {"to_node": None, "took_ms": None}
    address = {"address": "10.21.3.4", "shared": True, "holders_total": 1, "holders": [holder]}
    address |= {"clients_total": 9, "clients": [client], "failover": failover}
    used = {**address, "address": "fd00::1", "shared": False, "holders": [], "clients": [], "failover": None}
    rows = [shared.format_guard(guard), shared.format_address(address), shared.format_address(used)]
    return "\n".join([*rows, "18 4097\n"])


def check_address(found: Any) -> None:
    check(found, "shared address")
    for holder in found["holders"]:
        check(holder, "shared holder")
    for client in found["clients"]:
        check(client, "shared client")
    if found["failover"] is not None:
        check(found["failover"], "shared failover")


def test_shared_addresses(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4097"] = shared_rows()
    found = parsed(ask("dump", "shared", "--json"))
    check(found, "dump shared")
    assert [address["address"] for address in found["addresses"]] == ["10.21.3.4", "fd00::1"]
    for address in found["addresses"]:
        check_address(address)
    assert found["addresses"][0]["clients_total"] == 9


def test_info_about_an_address_that_the_guard_knows(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4097"] = shared_rows()
    found = parsed(ask("info", "10.21.3.4", "--json"))
    check(found, "info subnet")
    assert [subnet["subnet"] for subnet in found["subnets"]] == ["10.21.0.0/16#20"]
    check_address(found["shared"])
    found = parsed(ask("info", "fd00::1", "--json"))
    check(found, "info subnet")
    assert (found["subnets"], found["shared"]["address"]) == ([], "fd00::1")
    assert parsed(ask("info", "10.21.0.0/16", "--json"))["shared"] is None


def check_vip(found: Any) -> None:
    check(found, "virtual IP")
    for member in found["members"]:
        check(member, "virtual IP member")
    for health_check in found["checks"]:
        check(health_check, "virtual IP check")
    for transition in found["transitions"]:
        check(transition, "virtual IP transition")


def test_virtual_ips(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4098"] = vip_answer(SERVED, FOREIGN)
    found = parsed(ask("vip", "--json"))
    check(found, "vip")
    assert [address["address"] for address in found["addresses"]] == ["10.1.1.10", "fd00::7"]
    for address in found["addresses"]:
        check_vip(address)
    one = parsed(ask("vip", "10.1.1.10", "--json"))
    check_vip(one)
    assert one == found["addresses"][0]


def test_what_is_unknown_is_an_error_without_a_document(ask: Run) -> None:
    assert ask("info", "--json", "nobody") == (1, "", "Unknown node nobody.\n")
    assert ask("info", "--json", "10.99.0.1") == (1, "", "Unknown address 10.99.0.1.\n")
    assert ask("info", "--json") == (1, "", "Invalid number of arguments.\n")


def test_get(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").write_text("Name = alpha\nConnectTo = beta\nconnectto = g\u00e4mma\n")
    found = parsed(run("-c", "conf", "get", "--json", "connectTO"))
    check(found, "get")
    assert found == {"variable": "ConnectTo", "host": None, "values": ["beta", "g\u00e4mma"]}
    found = parsed(run("-c", "conf", "get", "--json", "beta.Address"))
    assert found == {"variable": "Address", "host": "beta", "values": ["beta.example.org 655"]}


def test_get_returns_the_port_in_use(ask: Run) -> None:
    assert parsed(ask("get", "--json", "Port"))["values"] == ["7777"]


def test_get_neither_sets_nor_takes_the_word_elsewhere(run: Run, conf: Path) -> None:
    before = (conf / "tinc.conf").read_text()
    result = run("-c", "conf", "get", "--json", "Mode", "hub")
    assert (result.status, result.out) == (1, "")
    assert (conf / "tinc.conf").read_text() == before
    assert run("-c", "conf", "get", "--json", "Device").err == "No matching configuration variables found.\n"
    assert run("-c", "conf", "get", "Device", "--json").status == 0  # tinc's grammar: it sets
    assert "Device = --json\n" in (conf / "tinc.conf").read_text()


def test_bytes_that_are_not_text_are_escaped(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").write_bytes(b"Name = alpha\nDevice = /dev/\xff\n")
    assert parsed(run("-c", "conf", "get", "--json", "Device"))["values"] == ["/dev/\udcff"]


def test_network(run: Run, tmp_path: Path) -> None:
    for directory in ("", "home", "work", ".hidden"):
        path = tmp_path / "etc/tinc" / directory
        path.mkdir(parents=True, exist_ok=True)
        (path / "tinc.conf").write_text("Name = x\n")
    found = parsed(run("network", "--json"))
    for row in found:
        check(row, "network")
    confdir = f"{tmp_path}/etc/tinc"
    assert {row["name"]: row["confbase"] for row in found} == {
        None: confdir,
        "home": f"{confdir}/home",
        "work": f"{confdir}/work",
    }
    assert run("network", "--json", "home").status == 1


def test_fsck_of_a_good_directory(run: Run, conf: Path) -> None:
    found = parsed(run("-c", "conf", "fsck", "--json"))
    check(found, "fsck")
    assert found == {"ok": True, "findings": []}


def spoil(conf: Path) -> None:
    (conf / "tinc.conf").write_text("Name = alpha\nMode = switch\nMode = hub\nSubnet = 10.0.0.1\n")
    (conf / "hosts" / "beta").write_text("Mode = hub\nPublicKey = 00\n")
    (conf / "hosts" / "gamma").write_text("Port\n")
    (conf / "ed25519_key.priv").chmod(0o644)
    (conf / "hosts" / "alpha").write_text("Port = 655")
    (conf / "beta-up").write_text("")
    (conf / "tinc-up").write_text("")


def test_fsck_reports_what_it_finds_and_repairs(run: Run, conf: Path) -> None:
    spoil(conf)
    result = run("-c", "conf", "--force", "fsck", "--json")
    found = parsed(result)
    check(found, "fsck")
    for finding in found["findings"]:
        check(finding, "fsck finding")
        assert f"`{finding['code']}`" in DOCUMENT.partition("Codes: ")[2]
    by_code = {finding["code"]: finding for finding in found["findings"]}
    assert set(by_code) == {
        "key-permissions",
        "no-public-key",
        "unknown-script",
        "script-permissions",
        "multiple-values",
        "obsolete-variable",
        "misplaced-variable",
        "syntax",
    }
    assert found["ok"]
    assert {code for code, finding in by_code.items() if finding["fixed"]} >= {
        "key-permissions",
        "no-public-key",
    }
    assert by_code["obsolete-variable"]["line"] == 2
    assert by_code["obsolete-variable"]["path"] == "conf/hosts/beta"
    assert by_code["syntax"]["severity"] == "error"


def test_fsck_prints_its_document_even_if_it_fails(run: Run, conf: Path) -> None:
    (conf / "ed25519_key.priv").unlink()
    result = run("-c", "conf", "fsck", "--json")
    assert (result.status, result.err) == (1, "")
    found = json.loads(result.out)
    codes = [finding["code"] for finding in found["findings"]]
    assert codes == ["private-key", "no-private-key", "public-key-only"]
    assert found["findings"][1]["hint"] == "pytinc -c conf generate-ed25519-keys"
    assert not found["ok"]
    (conf / "tinc.conf").unlink()
    codes = [f["code"] for f in json.loads(run("-c", "conf", "fsck", "--json").out)["findings"]]
    assert codes == ["no-configuration", "no-name"]


def test_fsck_says_the_same_in_both_forms(run: Run, conf: Path) -> None:
    spoil(conf)
    plain = run("-c", "conf", "fsck").err
    for finding in json.loads(run("-c", "conf", "fsck", "--json").out)["findings"]:
        assert finding["message"] in plain


def test_in_the_shell_it_applies_to_one_command(run: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["5"] = SUBNETS
    result = run("--pidfile", daemon.pidfile, stdin="dump subnets --json\ndump subnets\n")
    document, end = json.JSONDecoder().raw_decode(result.out)
    assert len(document) == 3
    assert result.out[end:].splitlines()[1] == "ff:ff:ff:ff:ff:ff owner (broadcast)"

"""The filters of the Ansible collection (``ansible/plugins/filter/tinc.py``), which need no Ansible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pytinc
import tinc

ROOT = Path(__file__).parent.parent.parent
GROUP: dict[str, Any] = {"tinc_netname": "mynet", "tinc_subnet": "10.1.1.0/24"}
HOWTO: dict[str, dict[str, Any]] = {
    "mynet": {"tinc_address": "10.1.1.1"},
    "node-2": {"tinc_address": "10.1.1.10", **GROUP},
    "node-3": {"tinc_address": "10.1.1.10", **GROUP},
}
"""The how-to's inventory, if the variables belong to the group."""
KEY = "-----BEGIN RSA PUBLIC KEY-----\nPort = nothing\n-----END RSA PUBLIC KEY-----\n"


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_howtos_network_is_found_whether_its_variables_belong_to_the_group_or_to_all(
    everywhere: bool,
) -> None:
    hosts = {name: values | GROUP for name, values in HOWTO.items()} if everywhere else HOWTO
    places = {name: tinc.network(hosts, name) for name in hosts}
    for place in places.values():
        assert (place["netname"], place["master"], place["subnet"]) == ("mynet", "mynet", "10.1.1.0/24")
        assert place["hosts"] == ["mynet", "node-2", "node-3"]
    assert [place["is_master"] for place in places.values()] == [True, False, False]
    assert [place["shared"] for place in places.values()] == [False, True, True]
    assert places["node-2"]["name"] == "node_2"


def test_the_entry_node_may_have_another_name_and_several_networks_share_an_inventory() -> None:
    hosts = {
        "hub.example": {},
        "a": {"tinc_netname": "one", "tinc_master": "hub.example"},
        "b": {"tinc_netname": "two"},
        "c": {"tinc_netname": "two", "tinc_name": "two"},
    }
    assert tinc.network(hosts, "hub.example")["netname"] == "one"
    assert tinc.network(hosts, "a")["master_name"] == "hub_example"
    assert tinc.network(hosts, "b")["master"] == "c"


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ({"a": {}}, "a: set tinc_netname"),
        ({"a": {}, "b": {"tinc_netname": "x"}, "c": {"tinc_netname": "y"}}, "the inventory has x, y"),
        ({"a": {"tinc_netname": "x"}}, "a: no host of the network x is called x; set tinc_master"),
    ],
)
def test_an_inventory_that_does_not_tell_the_network_is_refused(
    hosts: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tinc.network(hosts, "a")


@pytest.mark.parametrize(
    ("shared", "address", "own", "expected"),
    [
        (False, "10.1.1.1", [], ["10.1.1.1/24"]),
        (True, "10.1.1.10", [], ["10.1.1.10/24"]),
        (True, "10.1.1.10", ["10.1.1.102"], ["10.1.1.102/24", "10.1.1.10/32"]),
        (True, "fd00::10", ["fd00::1/64"], ["fd00::1/64", "fd00::10/128 nodad"]),
        (False, "192.0.2.1", [], ["192.0.2.1/32"]),
        (False, "", [], []),
    ],
)
def test_own_addresses_come_before_a_shared_one(
    shared: bool, address: str, own: list[str], expected: list[str]
) -> None:
    place = {"subnet": "10.1.1.0/24", "shared": shared}
    found = tinc.interface_addresses(place, address, own)
    assert [item["address"] + (" nodad" if item["nodad"] else "") for item in found] == expected


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.1\.1\.300"):
        tinc.interface_addresses({"subnet": "", "shared": False}, "10.1.1.300", [])


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ("", [{"name": "Mode", "value": "switch"}], "Mode = switch\n"),
        ("# why\nName = a\n", [{"name": "Port", "value": 0}], "# why\nName = a\nPort = 0\n"),
        ("mode=hub\nName = a\n", [{"name": "Mode", "value": "switch"}], "Mode = switch\nName = a\n"),
        ("A = 1\nB = 2\nA = 3\n", [{"name": "A", "value": [4, 5, 6]}], "A = 4\nA = 5\nA = 6\nB = 2\n"),
        ("", [{"name": "A", "value": 1}, {"name": "a", "value": 2}], "A = 1\nA = 2\n"),
        ("A = 1\nB = 2\n", [{"name": "A", "value": []}], "B = 2\n"),
        (KEY, [{"name": "Port", "value": 655}], f"Port = 655\n{KEY}"),
        ("Broadcast = no\n", [{"name": "Broadcast", "value": True}], "Broadcast = yes\n"),
    ],
)
def test_only_the_wanted_variables_change(before: str, wanted: list[dict[str, Any]], after: str) -> None:
    assert tinc.with_variables(before, wanted) == after
    assert tinc.with_variables(after, wanted) == after


@pytest.mark.parametrize("wanted", [{"name": "A = 1\nB", "value": 1}, {"name": "A", "value": "1\nB = 2"}])
def test_a_variable_cannot_bring_another_line(wanted: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"name of a variable|one line"):
        tinc.with_variables("", [wanted])


def test_a_listing_changes_with_each_file(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"1")
    before = tinc.listing(str(tmp_path))
    (tmp_path / "a.whl").write_bytes(b"2")
    assert before.endswith("  a.whl\n")
    assert tinc.listing(str(tmp_path)) not in ("", before)
    with pytest.raises(ValueError, match="No such file"):
        tinc.listing(str(tmp_path / "none"))


def test_the_collection_has_the_programs_version() -> None:
    assert f"\nversion: {pytinc.__version__}\n" in (ROOT / "ansible/galaxy.yml").read_text()


def test_the_role_installs_the_repositorys_unit() -> None:
    unit = "pytinc@.service"
    ours = ROOT / "ansible/roles/tinc/files" / unit
    assert ours.read_bytes() == (ROOT / "systemd" / unit).read_bytes(), "run python tools/generate.py"


def test_the_holders_of_an_address_are_the_nodes_that_answer_for_it() -> None:
    states = {"node_2": "alive", "node_3": "unwatched", "node_4": "silent", "node_5": "unreachable"}
    known: list[dict[str, str | None]] = [{"node": node, "state": state} for node, state in states.items()]
    known += [{"node": "node_2", "state": "alive"}, {"node": None, "state": "unwatched"}]
    text = json.dumps({"addresses": [{"address": "10.1.1.10", "holders": known}]})
    assert tinc.holders(text, "10.1.1.10") == tinc.holders(text, "10.1.1.10/24") == 2
    assert tinc.holders(text, "10.1.1.11") == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"addresses": [1]}'])
def test_a_line_that_is_no_answer_of_the_guard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="dump shared"):
        tinc.holders(text, "10.1.1.10")

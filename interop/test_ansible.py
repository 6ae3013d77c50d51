"""The Ansible collection: the how-to's inventory and commands as typed, over sshd, on hosts with own Debians.

These tests take minutes, so ``make test`` leaves them out; ``make ansible`` runs them. They share one fleet
and run in order. The entry node's own host is the client of the virtual IP.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from fleet import Fleet
from howto_fleet import (
    ADDRESSES,
    ALL_NODES,
    HOWTO,
    MEMBERS,
    VIP,
    daemon,
    device_macs,
    howto_fleet,
    set_variables,
    wait_for_nodes,
    wait_for_vip,
    why_not,
)
from pytinc.lab.echo import EchoReport, ping

INVITATION = re.compile(r"[0-9\]]:\d+/[\w-]{48}\b")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def site() -> Iterator[Fleet]:
    """The fleet of the how-to, without any network yet."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with howto_fleet() as site:
        yield site


def holder(site: Fleet) -> str:
    """Return the host that the client uses for the virtual IP."""
    wait_for_vip(site)
    words = site.ssh("mynet", f"ip neighbour show {VIP}").stdout.split()
    return device_macs(site)[words[words.index("lladdr") + 1]]


@contextmanager
def pings(site: Fleet) -> Iterator[list[EchoReport]]:
    """Ping the virtual IP from the entry node during the block; the list has the report after it."""
    enough = threading.Event()
    reports: list[EchoReport] = []
    wait_for_vip(site)
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(
            ping, site.hosts["mynet"], VIP, 1_000_000, interval=0.05, wait=5, enough=enough
        )
        try:
            yield reports
        finally:
            enough.set()
            reports.append(future.result())


def test_the_howto_as_typed(site: Fleet) -> None:
    for line in HOWTO:
        site.adhoc(line)
    assert "host-info is a task and no host" in site.printed[-1]
    wait_for_nodes(site, ALL_NODES)
    for name in ALL_NODES:
        assert f"{name} in mynet" in site.printed[-1]


def test_the_address_of_the_servers_fails_over(site: Fleet) -> None:
    dead = holder(site)
    site.lab.cut_off(site.hosts[dead])
    wait_for_vip(site)
    assert holder(site) != dead
    site.lab.reconnect(site.hosts[dead])
    wait_for_nodes(site, ALL_NODES)


def test_the_running_network_is_an_inventory(site: Fleet) -> None:
    words = ["ssh", "-i", f"{site.keys}/fleet_key", "-o", "StrictHostKeyChecking=no", "root@172.18.3.100"]
    source = {"plugin": "pytinc.tinc.nodes", "netname": "mynet", "command": [*words, "pytinc"]}
    (site.directory / "mynet.tinc.yaml").write_text(json.dumps(source))
    graph = site.ansible("ansible-inventory -i mynet.tinc.yaml --graph tinc_reachable").stdout
    assert set(re.findall(r"--(\w+)$", graph, re.MULTILINE)) == ALL_NODES
    message = "msg='{{ ansible_host }} {{ tinc_node.reachable }} {{ groups.tinc_mynet | length }}'"
    said = site.ansible(f'ansible node_2 -i mynet.tinc.yaml -m debug -a "{message}"').stdout
    assert '"msg": "172.18.3.1 True 4"' in said


def test_the_knowledge_of_a_node_is_a_fact_for_other_plays(site: Fleet) -> None:
    conditions = [
        "tinc_info.netname == 'mynet' and tinc_info.name == inventory_hostname | replace('-', '_')",
        f"tinc_info.nodes | selectattr('reachable') | map(attribute='name') | sort == {sorted(ALL_NODES)}",
        "tinc_info.running == 'pytinc' and tinc_info.virtual_ips == []",
    ]
    tasks = [
        {"ansible.builtin.include_role": {"name": "pytinc.tinc.tinc", "tasks_from": "host_info"}},
        {"ansible.builtin.assert": {"that": conditions}},
    ]
    (site.directory / "facts.yaml").write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    )
    site.ansible("ansible-playbook -i hosts.yaml facts.yaml")


def test_role_and_plugin_have_their_documentation(site: Fleet) -> None:
    role = site.ansible("ansible-doc -t role pytinc.tinc.tinc").stdout
    assert "tinc_bridge_master" in role
    assert "tinc_info" in role
    assert "tinc_node" in site.ansible("ansible-doc -t inventory pytinc.tinc.nodes").stdout


@pytest.mark.parametrize("words", ["", "--check"])
def test_a_second_run_changes_nothing(site: Fleet, words: str) -> None:
    daemons = [daemon(site, name) for name in ADDRESSES]
    assert site.adhoc(f"tinc {words}").changed == 0
    assert [daemon(site, name) for name in ADDRESSES] == daemons


def test_check_mode_tells_of_a_change_and_diff_mode_shows_it(site: Fleet) -> None:
    set_variables(site, tinc_up_lines=["# a further line"])
    before = daemon(site, "node-2")
    play = site.adhoc("tinc-join -l node-2 --check --diff")
    assert play.recap["node-2"]["changed"] == 1
    assert "\n+# a further line\n" in play.output
    assert "a further line" not in site.ssh("node-2", "cat /etc/tinc/mynet/tinc-up").stdout
    site.adhoc("tinc-join -l node-2")
    assert "a further line" in site.ssh("node-2", "cat /etc/tinc/mynet/tinc-up").stdout
    play = site.adhoc("tinc-service -l node-2 --check")
    assert play.recap["node-2"]["changed"] == 1
    assert daemon(site, "node-2") == before
    site.adhoc("tinc-service -l node-2")
    assert daemon(site, "node-2") != before
    set_variables(site)
    site.adhoc("tinc -l node-2")
    assert site.adhoc("tinc -l node-2").changed == 0


def test_a_member_is_removed(site: Fleet) -> None:
    site.adhoc("tinc-uninstall -l node-4")
    wait_for_nodes(site, ALL_NODES - {"node_4"})
    for name in ("mynet", "node-2", "node-3"):
        assert "node_4" not in site.ssh(name, "ls /etc/tinc/mynet/hosts").stdout
    assert site.adhoc("tinc-uninstall -l node-4").changed == 0


def test_a_member_is_added(site: Fleet) -> None:
    site.adhoc("tinc -l node-4")
    wait_for_nodes(site, ALL_NODES)
    site.adhoc("tinc-uninstall -l node-4")


def test_a_failed_join_says_why_and_the_next_run_repairs_it(site: Fleet) -> None:
    # The node has made a part of its configuration, and the entry node takes it for a member.
    site.ssh("node-4", "mkdir -p /etc/tinc/mynet/hosts && echo 'Name = node_4' >/etc/tinc/mynet/tinc.conf")
    site.ssh("mynet", "pytinc -n mynet --pidfile=/none invite node_4 && echo >/etc/tinc/mynet/hosts/node_4")
    site.ssh("mynet", "pytinc -n mynet stop")
    failed = site.adhoc("tinc-join -l node-4", check=False)
    assert failed.status != 0
    assert "the entry node does not run: start it first (tinc-service)" in failed.output
    site.adhoc("tinc-service -l mynet")
    site.adhoc("tinc-join -l node-4 -vvv")
    site.adhoc("tinc-service -l node-4")
    wait_for_nodes(site, ALL_NODES)
    assert site.ssh("mynet", "pytinc -n mynet dump invitations").stdout == ""
    assert site.adhoc("tinc -l node-4").changed == 0


def test_members_by_policy_are_upgraded_one_after_the_other_without_a_lost_ping(site: Fleet) -> None:
    newer = str(site.wheelhouse("newer", "0.1.0.post1"))
    policy = {"tinc_virtual_ips": [f"{VIP}/24"]}
    set_variables(site, **policy)
    site.adhoc("tinc -l tinc-nodes")
    site.wheels = newer
    set_variables(site, **policy)
    with pings(site) as reports:
        site.adhoc("tinc-upgrade -l tinc-nodes")
    assert reports[0].lost == 0
    for name in MEMBERS:
        assert "0.1.0.post1" in site.ssh(name, "pytinc --version").stdout
    assert site.adhoc("tinc-upgrade -l tinc-nodes").changed == 0


def test_a_running_fleet_goes_to_tinc_and_back_node_by_node(site: Fleet) -> None:
    set_variables(site, tinc_implementation="c")
    site.adhoc("tinc-upgrade")
    for name in ADDRESSES:
        assert "pytincd" not in daemon(site, name)
    wait_for_nodes(site, ALL_NODES, "tinc")
    assert site.adhoc("tinc").changed == 0
    assert "'daemon': 'c'" in site.adhoc("host-info").output.replace('"', "'")
    set_variables(site)
    site.adhoc("tinc-upgrade")
    for name in ADDRESSES:
        assert "pytincd" in daemon(site, name)
    wait_for_nodes(site, ALL_NODES)


def test_no_play_has_printed_a_secret(site: Fleet) -> None:
    printed = "\n".join(site.printed)
    assert "TASK [pytinc.tinc.tinc : Accept the invitation]" in printed
    assert INVITATION.search(printed) is None
    assert "PRIVATE KEY" not in printed

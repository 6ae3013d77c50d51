"""A running fleet of tinc's daemons goes to pytinc node by node, under pings; `make ansible` runs this."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet import Fleet
from howto_fleet import (
    ADDRESSES,
    ALL_NODES,
    MEMBERS,
    VIP,
    daemon,
    device_macs,
    howto_fleet,
    set_member_variables,
    set_variables,
    wait_for_nodes,
    wait_for_vip,
    why_not,
)
from pytinc.lab.echo import wait_steady
from swap_pings import SwapPings

OWN = {name: f"10.1.1.10{name[-1]}" for name in MEMBERS}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def site() -> Iterator[Fleet]:
    """The how-to's fleet with tinc's daemon everywhere; the servers have own addresses as well."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with howto_fleet() as site:
        set_variables(site, tinc_implementation="c")
        set_member_variables(site, tinc_addresses=["10.1.1.10{{ inventory_hostname[-1] }}/24"])
        site.adhoc("tinc")
        wait_for_nodes(site, ALL_NODES, "tinc")
        yield site


def test_a_running_fleet_goes_from_tinc_to_pytinc_node_by_node(site: Fleet) -> None:
    set_variables(site)
    site.adhoc("tinc-upgrade -l mynet")
    wait_for_nodes(site, ALL_NODES)
    client = site.hosts["mynet"]
    wait_for_vip(site)
    for address in OWN.values():
        wait_steady(client, address)
    macs = device_macs(site)
    log = site.directory / "guard.log"
    with log.open("w") as output:
        watching = site.ssh_spawn("mynet", "pytinc -n mynet log 3", output)
    with SwapPings(client, "mynet", VIP, OWN, site.directory / "pings.txt") as pings:
        site.adhoc("tinc-upgrade -l tinc-nodes")
    watching.terminate()
    macs |= device_macs(site)
    print(pings.table(macs))
    print(log.read_text())
    for name in ADDRESSES:
        assert "pytincd" in daemon(site, name)
    wait_for_nodes(site, ALL_NODES)

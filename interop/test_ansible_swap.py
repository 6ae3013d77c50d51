"""A running fleet of tinc's daemons goes to pytinc node by node, under pings; `make ansible` runs this.

Printed and written to ``results/ansible-swap.md``: the pings lost, by the server that they went to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
from swap_pings import INTERVAL_S, SwapPings

RESULT = Path(__file__).parent / "results" / "ansible-swap.md"
LONGEST_S = 5.0
"""On a busy machine. The documentation has the figures of a quiet one."""
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
    with SwapPings(client, "mynet", VIP, OWN, site.directory / "pings.txt") as pings:
        site.adhoc("tinc-upgrade -l tinc-nodes")
    macs |= device_macs(site)
    table = pings.table(macs)
    print(table)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(f"C to pytinc, node by node:\n{table}\n")
    # Without a guard a client would go on with the server that is gone for 8 to 60 s, three times.
    assert pings.shared.lost * INTERVAL_S < LONGEST_S
    assert all(swap.seconds < LONGEST_S for swap in pings.swaps(macs).values())
    for name in ADDRESSES:
        assert "pytincd" in daemon(site, name)
    wait_for_nodes(site, ALL_NODES)

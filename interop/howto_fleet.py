"""The how-to's fleet: its inventory and lines, and queries of tests to the network that Ansible makes.

Used by ``interop/test_ansible*.py``. The entry node's own host is the client of the virtual IP.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import fleet
from fleet import Fleet
from howto.images import tinc_package
from pytinc.lab.echo import ping
from pytinc.lab.namespaces import Lab, missing_means
from pytinc.lab.node import PATIENCE_S, wait_until

INVENTORY: Final = """\
all:
  hosts:
    mynet:
      ansible_host: 172.18.3.100
      tinc_address: 10.1.1.1
      tinc_conf:
        - {name: Mode, value: switch}
      tinc_host_conf:
        - {name: Port, value: 655}
        - {name: Address, value: 172.18.3.100}
    node-2: {ansible_host: 172.18.3.1, tinc_address: 10.1.1.10}
    node-3: {ansible_host: 172.18.3.2, tinc_address: 10.1.1.10}
    node-4: {ansible_host: 172.18.3.3, tinc_address: 10.1.1.10}
  children:
    tinc-nodes:
      hosts:
        node-[2:4]:
      vars:
        tinc_netname: mynet
        tinc_subnet: 10.1.1.0/24
        tinc_host_conf:
          - {name: Port, value: 0}
"""
"""The how-to's, with its names, values and addresses."""
HOWTO: Final = (
    "wener-repo", "tinc-install", "tinc-init -l mynet", "tinc-service -l mynet", "tinc-join -l tinc-nodes",
    "tinc-service -l tinc-nodes", "tinc-service -l host-info",
)  # fmt: skip
ADDRESSES: Final = {
    "mynet": "172.18.3.100", "node-2": "172.18.3.1", "node-3": "172.18.3.2", "node-4": "172.18.3.3",
}  # fmt: skip
ALL_NODES: Final = {"mynet", "node_2", "node_3", "node_4"}
MEMBERS: Final = ("node-2", "node-3", "node-4")
VIP: Final = "10.1.1.10"


def why_not() -> str | None:
    """Return why the tests of the collection do not run here, or None."""
    if not os.environ.get("PYTINC_INTEROP_ANSIBLE"):
        return "the tests of the Ansible collection take minutes: make ansible runs them"
    return missing_means() or fleet.missing()


@contextmanager
def howto_fleet() -> Iterator[Fleet]:
    """Make the hosts of the how-to, without any network yet, and what they install pytinc and tinc from."""
    with Lab() as lab, Fleet(lab) as site:
        (site.directory / "hosts.yaml").write_text(INVENTORY)
        for name, address in ADDRESSES.items():
            site.add(name, address)
        site.wheels = str(site.wheelhouse("wheels"))
        set_variables(site)
        yield site


def set_variables(site: Fleet, **variables: object) -> None:
    """Set variables of all hosts besides those that say where the programs come from."""
    common = {
        "tinc_wheelhouse": site.wheels, "tinc_requirement": "pytinc[manage]",
        "tinc_c_package": str(tinc_package()),
    }  # fmt: skip
    site.set_variables(**common | variables)


def set_member_variables(site: Fleet, **variables: object) -> None:
    """Set variables of the members."""
    (site.directory / "group_vars/tinc-nodes.yml").write_text(json.dumps(variables))


def reachable(site: Fleet, program: str = "pytinc") -> set[str]:
    """Return the nodes that the entry node reaches."""
    lines = site.ssh("mynet", f"{program} -n mynet dump reachable nodes").stdout.splitlines()
    return {line.split()[0] for line in lines}


def wait_for_nodes(site: Fleet, names: set[str], program: str = "pytinc") -> None:
    """Wait until the entry node reaches these nodes and no others."""
    wait_until(lambda: reachable(site, program) == names, PATIENCE_S, f"{sorted(names)}")


def wait_for_vip(site: Fleet) -> None:
    """Wait until somebody answers the entry node for the virtual IP."""
    client = site.hosts["mynet"]
    wait_until(lambda: ping(client, VIP, wait=1).received, PATIENCE_S, f"an answer of {VIP}")


def device_macs(site: Fleet) -> dict[str, str]:
    """Return the member of each MAC address of a device ``mynet``."""
    return {
        site.ssh(name, "cat /sys/class/net/mynet/address || true").stdout.strip(): name for name in MEMBERS
    }


def daemon(site: Fleet, name: str) -> str:
    """Return the id and the words of a host's daemon."""
    return site.ssh(name, "pgrep -a tincd; pgrep -af bin/pytincd").stdout

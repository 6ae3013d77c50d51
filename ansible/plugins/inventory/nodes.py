"""An inventory of the nodes of a running network, from ``pytinc dump nodes --json``."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.unsafe_proxy import wrap_var

# Without an annotation: ansible-doc looks for a plain assignment.
DOCUMENTATION = """
name: nodes
short_description: The nodes of a running network
description:
  - Asks the daemon of one node, here or on another host, for all nodes of its network. Each becomes a host.
  - The name of the host is that of the node; C(tinc_name) is the same. C(tinc_node) has what
    C(pytinc dump nodes --json) says about it. C(ansible_host) is the address that packets are sent to, which
    need not be where its sshd listens; a host whose node has none that is numeric has no C(ansible_host).
  - The groups are the network, with a C(tinc_) before its name, C(tinc_reachable) and C(tinc_unreachable).
options:
  plugin:
    description: Always C(pytinc.tinc.nodes).
    required: true
    type: str
  netname:
    description: Name of the network.
    required: true
    type: str
  command:
    description: The words to run pytinc with, such as C([ssh, root@192.0.2.1, pytinc]) for another host's.
    default: [pytinc]
    type: list
    elements: str
  timeout:
    description: For how many seconds the command may run.
    default: 30
    type: int
"""


class InventoryModule(BaseInventoryPlugin):
    """What Ansible looks for in this file."""

    NAME = "pytinc.tinc.nodes"

    def verify_file(self, path: str) -> bool:
        """Accept files whose name ends with ``tinc.yml`` or ``tinc.yaml``."""
        return bool(super().verify_file(path)) and path.endswith(("tinc.yml", "tinc.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add the hosts and groups to the inventory. Raises AnsibleParserError without an answer."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        netname = self.get_option("netname")
        command = [*self.get_option("command"), "-n", netname, "dump", "nodes", "--json"]
        for node in self._nodes(path, command):
            host = inventory.add_host(node["name"])
            state = "tinc_reachable" if node["reachable"] else "tinc_unreachable"
            for group in (f"tinc_{netname}", state):
                inventory.add_child(inventory.add_group(group), host)
            inventory.set_variable(host, "tinc_name", node["name"])
            inventory.set_variable(host, "tinc_netname", netname)
            # What others in the network have announced is no template, and no option of ssh.
            inventory.set_variable(host, "tinc_node", wrap_var(node))
            if _is_address(node["host"]):
                inventory.set_variable(host, "ansible_host", node["host"])

    def _nodes(self, path: str, command: list[str]) -> list[dict[str, Any]]:
        limit = self.get_option("timeout")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
            if done.returncode != 0:
                raise AnsibleParserError(f"{path}: {' '.join(command)}: {done.stderr.strip()}")
            nodes: list[dict[str, Any]] = json.loads(done.stdout)
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            raise AnsibleParserError(f"{path}: {' '.join(command)}: {error}") from error
        return nodes


def _is_address(host: str | None) -> bool:
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return "%" not in str(host)

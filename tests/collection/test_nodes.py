"""The inventory of a running network (``ansible/plugins/inventory/nodes.py``), with stand-ins for Ansible.

interop/test_ansible.py reads it with Ansible.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PLUGIN = Path(__file__).parent.parent.parent / "ansible/plugins/inventory/nodes.py"
TEMPLATE = "{{lookup('pipe','id')}}"


class Base:
    """The base of inventory plugins."""

    options: dict[str, Any]

    def parse(self, *_words: Any) -> None:
        pass

    def _read_config_data(self, _path: str) -> None:
        pass

    def get_option(self, name: str) -> Any:
        return self.options[name]


class Inventory(dict[str, dict[str, Any]]):
    """Hosts and their variables."""

    def add_host(self, name: str) -> str:
        self[name] = {}
        return name

    def add_group(self, name: str) -> str:
        return name

    def add_child(self, _group: str, _host: str) -> None:
        pass

    def set_variable(self, host: str, name: str, value: Any) -> None:
        self[host][name] = value


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    stand_ins: dict[str, dict[str, Any]] = {
        "ansible": {},
        "ansible.errors": {"AnsibleParserError": ValueError},
        "ansible.plugins": {},
        "ansible.plugins.inventory": {"BaseInventoryPlugin": Base},
        "ansible.utils": {},
        "ansible.utils.unsafe_proxy": {"wrap_var": lambda value: ("no template", value)},
    }
    for name, values in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("nodes_of_the_collection", PLUGIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.InventoryModule()


def read(plugin: Any, *hosts: str | None) -> Inventory:
    """Return the inventory of a network whose nodes n0, n1 and so on have these addresses."""
    nodes = [{"name": f"n{number}", "reachable": True, "host": host} for number, host in enumerate(hosts)]
    plugin.options = {
        "netname": "mynet",
        "command": [sys.executable, "-c", f"print({json.dumps(nodes)!r})"],
        "timeout": 60,
    }
    inventory = Inventory()
    plugin.parse(inventory, None, "x.tinc.yml")
    return inventory


def test_numeric_addresses_are_where_ansible_connects(plugin: Any) -> None:
    inventory = read(plugin, "192.0.2.1", "2001:db8::1", None)
    assert [values.get("ansible_host") for values in inventory.values()] == ["192.0.2.1", "2001:db8::1", None]
    assert inventory["n2"]["tinc_name"] == "n2"


def test_announced_text_is_neither_a_template_nor_an_option_of_ssh(plugin: Any) -> None:
    hosts = (TEMPLATE, "-oProxyCommand=id", "host.example", f"fe80::1%{TEMPLATE}")
    for host, values in zip(hosts, read(plugin, *hosts).values(), strict=True):
        assert "ansible_host" not in values
        assert values["tinc_node"] == (
            "no template",
            {"name": values["tinc_name"], "reachable": True, "host": host},
        )

"""The Ansible collection on hosts of other kinds; `make ansible` runs this.

With systemd and OpenRC, with pytinc from an index and from a Debian package, and with the device in a bridge.
Each test adds a host to a network whose entry node has neither.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet import Fleet, Init
from howto.images import tinc_package
from howto_fleet import why_not
from pytinc.lab.echo import wait_steady
from pytinc.lab.namespaces import Lab, run
from pytinc.lab.node import PATIENCE_S, wait_until

HUB = "172.18.3.100"
HOSTS: dict[str, dict[str, Any]] = {
    "hub": {
        "ansible_host": HUB, "tinc_address": "10.1.1.1",
        "tinc_host_conf": [{"name": "Port", "value": 655}, {"name": "Address", "value": HUB}],
    },
    "unit": {"ansible_host": "172.18.3.1", "tinc_address": "10.1.1.2"},
    "index": {"ansible_host": "172.18.3.2", "tinc_address": "10.1.1.3"},
    "bridge": {"ansible_host": "172.18.3.3", "tinc_bridge_master": "br0"},
    "deb": {"ansible_host": "172.18.3.4", "tinc_address": "10.1.1.5"},
    "rc": {"ansible_host": "172.18.3.5", "tinc_address": "10.1.1.6"},
}  # fmt: skip
INITS = {"unit": Init.SYSTEMD, "deb": Init.SYSTEMD, "rc": Init.OPENRC}
COMMON: dict[str, Any] = {
    "tinc_netname": "office", "tinc_master": "hub", "tinc_subnet": "10.1.1.0/24",
    "tinc_conf": [{"name": "Mode", "value": "switch"}], "tinc_requirement": "pytinc[manage]",
}  # fmt: skip
CONTROLLER = "172.18.3.250"
INDEX_PORT = 8000
BEHIND = "10.1.1.77"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def site() -> Iterator[Fleet]:
    """A network of one node; the other hosts are started by their tests."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with Lab() as lab, Fleet(lab) as site:
        site.wheels = str(site.wheelhouse("wheels"))
        site.set_variables(tinc_wheelhouse=site.wheels)
        add(site, "hub")
        site.adhoc("tinc -l hub")
        yield site


def add(site: Fleet, name: str, **variables: object) -> None:
    """Start a host, set variables of its own, and write it into the inventory: its hosts must all be up."""
    set_host_variables(site, name, **variables)
    site.add(name, str(HOSTS[name]["ansible_host"]), INITS.get(name, Init.SSHD))
    hosts = {known: HOSTS[known] for known in site.hosts if known in HOSTS}
    variables = COMMON | {"tinc_c_package": str(tinc_package())}
    (site.directory / "hosts.yaml").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))


def set_host_variables(site: Fleet, name: str, **variables: object) -> None:
    directory = site.directory / "host_vars"
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.yml").write_text(json.dumps(variables))


def wait_for_node(site: Fleet, name: str) -> None:
    """Wait until the entry node reaches a node, and until its host answers pings."""
    said = "pytinc -n office dump reachable nodes"
    wait_until(lambda: f"\n{name} " in f"\n{site.ssh('hub', said).stdout}", PATIENCE_S, f"{name} is there")
    if "tinc_address" in HOSTS[name]:
        wait_steady(site.hosts["hub"], str(HOSTS[name]["tinc_address"]))


def systemctl(site: Fleet, name: str, words: str) -> str:
    return site.ssh(name, f"systemctl {words}").stdout.strip()


def main_pid(site: Fleet, name: str) -> str:
    return systemctl(site, name, "show --property MainPID --value pytinc@office")


def test_systemd_starts_the_daemon_at_boot_and_ansible_replaces_it(site: Fleet) -> None:
    add(site, "unit")
    site.adhoc("tinc -l unit")
    wait_for_node(site, "unit")
    assert systemctl(site, "unit", "is-active pytinc@office") == "active"
    assert systemctl(site, "unit", "is-enabled pytinc@office") == "enabled"
    before = main_pid(site, "unit")
    assert site.adhoc("tinc -l unit").changed == 0
    assert main_pid(site, "unit") == before
    set_host_variables(site, "unit", tinc_up_lines=["# a further line"])
    site.adhoc("tinc -l unit")
    assert main_pid(site, "unit") not in ("0", before)
    wait_for_node(site, "unit")
    set_host_variables(site, "unit")
    site.adhoc("tinc -l unit")


def test_systemd_goes_to_tincs_unit_and_back(site: Fleet) -> None:
    mac = site.ssh("unit", "cat /sys/class/net/office/address").stdout
    for implementation, runs, rests in (("c", "tinc", "pytinc"), ("pytinc", "pytinc", "tinc")):
        set_host_variables(site, "unit", tinc_implementation=implementation)
        site.adhoc("tinc-upgrade -l unit")
        wait_for_node(site, "unit")
        assert systemctl(site, "unit", f"is-active {runs}@office") == "active"
        assert systemctl(site, "unit", f"is-enabled {runs}@office") == "enabled"
        assert systemctl(site, "unit", f"is-active {rests}@office") != "active"
        assert systemctl(site, "unit", f"is-enabled {rests}@office") != "enabled"
        assert site.ssh("unit", "cat /sys/class/net/office/address").stdout == mac
        assert site.adhoc("tinc -l unit").changed == 0


def test_a_configuration_that_the_daemon_refuses_does_not_stop_it(site: Fleet) -> None:
    before = main_pid(site, "unit")
    bad = [*COMMON["tinc_conf"], {"name": "MaxTimeout", "value": 0}]
    set_host_variables(site, "unit", tinc_conf=bad)
    play = site.adhoc("tinc -l unit", check=False)
    assert play.status != 0
    assert "MaxTimeout" in play.output
    assert main_pid(site, "unit") == before
    set_host_variables(site, "unit")
    site.ssh("unit", "pytinc -n office del MaxTimeout")
    site.adhoc("tinc -l unit")
    wait_for_node(site, "unit")


def test_uninstall_removes_the_service(site: Fleet) -> None:
    site.adhoc("tinc-uninstall -l unit -e tinc_uninstall_program=true")
    assert systemctl(site, "unit", "is-active pytinc@office") != "active"
    assert systemctl(site, "unit", "is-enabled pytinc@office") != "enabled"
    assert site.ssh("unit", "ls /etc/tinc/office /opt/pytinc /usr/local/bin/pytinc").stdout == ""
    assert site.adhoc("tinc-uninstall -l unit -e tinc_uninstall_program=true").changed == 0


def publish(wheels: Path, index: Path) -> None:
    """Put wheels into the layout of a simple index (PEP 503)."""
    for wheel in wheels.glob("*.whl"):
        project = index / "simple" / wheel.name.split("-")[0].lower().replace("_", "-").replace(".", "-")
        project.mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, project)


def test_pytinc_comes_from_an_index_and_is_upgraded_from_there(site: Fleet) -> None:
    index = site.directory / "published"
    publish(Path(site.wheels), index)
    server = site.controller.spawn(
        sys.executable, "-m", "http.server", "--bind", CONTROLLER, "--directory", str(index), str(INDEX_PORT)
    )
    add(site, "index", tinc_install_from="index")
    url = f"http://{CONTROLLER}:{INDEX_PORT}/simple"
    site.ssh("index", f"printf '[global]\nindex-url = {url}\ntrusted-host = {CONTROLLER}\n' >/etc/pip.conf")
    site.adhoc("tinc -l index")
    wait_for_node(site, "index")
    assert site.adhoc("tinc -l index").changed == 0
    newer = site.wheelhouse("newer", "0.1.0.post1")
    publish(newer, index)
    assert site.adhoc("tinc -l index").changed == 0
    site.adhoc("tinc-upgrade -l index")
    assert "0.1.0.post1" in site.ssh("index", "pytinc --version").stdout
    wait_for_node(site, "index")
    assert site.adhoc("tinc-upgrade -l index").changed == 0
    # Not even a running index is needed for what is installed.
    server.terminate()
    assert site.adhoc("tinc -l index").changed == 0


def test_the_device_goes_into_a_bridge_and_a_host_behind_it_answers(site: Fleet) -> None:
    add(site, "bridge")
    host, behind = site.hosts["bridge"], site.lab.host("behind")
    host.run("ip", "link", "add", "br0", "type", "bridge")
    host.run("ip", "link", "add", "lan", "type", "veth", "peer", "name", "wire", "netns", behind.namespace)
    for link in ("br0", "lan"):
        host.run("ip", "link", "set", link, "up")
    host.run("ip", "link", "set", "lan", "master", "br0")
    behind.run("ip", "address", "add", f"{BEHIND}/24", "dev", "wire")
    behind.run("ip", "link", "set", "wire", "up")
    site.adhoc("tinc -l bridge")
    wait_for_node(site, "bridge")
    wait_steady(site.hosts["hub"], BEHIND)
    assert "master br0" in host.run("ip", "link", "show", "dev", "office").stdout
    assert site.adhoc("tinc -l bridge").changed == 0


def debian_package(site: Fleet, version: str) -> Path:
    """Make a small Debian package of pytinc, whose programs run with the system's Python."""
    root = site.directory / f"deb-{version}"
    library = root / "usr/lib/pytinc"
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", site.wheels,
        "--target", str(library), "pytinc[manage]", timeout=600,
    )  # fmt: skip
    (root / "usr/bin").mkdir(parents=True)
    for name, module in (("pytinc", "pytinc"), ("pytincd", "pytinc.daemon")):
        program = root / "usr/bin" / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH=/usr/lib/pytinc exec python3 -m {module} "$@"\n')
        program.chmod(0o755)
    units = root / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    shutil.copy(Path(__file__).parent.parent / "systemd/pytinc@.service", units)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        f"Package: pytinc\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody <nobody@localhost>\n"
        "Depends: python3\nDescription: a VPN\n"
    )
    package = site.directory / f"pytinc_{version}_amd64.deb"
    run("dpkg-deb", "--build", "-Znone", "--root-owner-group", str(root), str(package), timeout=600)
    return package


def test_pytinc_comes_from_a_debian_package(site: Fleet) -> None:
    add(site, "deb", tinc_deb=str(debian_package(site, "0.1.0-1")))
    site.adhoc("tinc -l deb")
    wait_for_node(site, "deb")
    assert systemctl(site, "deb", "is-active pytinc@office") == "active"
    assert site.ssh("deb", "ls /etc/systemd/system/pytinc@.service /opt/pytinc").stdout == ""
    assert site.adhoc("tinc -l deb").changed == 0
    before = main_pid(site, "deb")
    # As an installation from an index leaves it: this would go before the package's files.
    left = "/usr/local/bin/pytinc /usr/local/bin/pytincd /etc/systemd/system/pytinc@.service"
    site.ssh("deb", "for program in pytinc pytincd; do "
                    "ln -s /opt/pytinc/current/bin/$program /usr/local/bin/$program; done; "
                    "cp /usr/lib/systemd/system/pytinc@.service /etc/systemd/system || "
                    "cp /lib/systemd/system/pytinc@.service /etc/systemd/system")  # fmt: skip
    set_host_variables(site, "deb", tinc_deb=str(debian_package(site, "0.1.0-2")))
    site.adhoc("tinc-upgrade -l deb")
    assert site.ssh("deb", f"ls {left} 2>/dev/null || :").stdout == ""
    assert "0.1.0-2" in site.ssh("deb", "dpkg-query --show pytinc").stdout
    assert main_pid(site, "deb") not in ("0", before)
    wait_for_node(site, "deb")
    assert site.adhoc("tinc-upgrade -l deb").changed == 0


def test_openrc_starts_the_daemon_at_boot_and_ansible_replaces_it(site: Fleet) -> None:
    add(site, "rc")
    site.adhoc("tinc -l rc")
    wait_for_node(site, "rc")
    assert "started" in site.ssh("rc", "rc-service pytinc.office status").stdout
    assert "pytinc.office" in site.ssh("rc", "rc-update show default").stdout
    assert site.adhoc("tinc -l rc").changed == 0
    before = site.ssh("rc", "pytinc -n office pid").stdout
    set_host_variables(site, "rc", tinc_up_lines=["# a further line"])
    site.adhoc("tinc -l rc")
    assert site.ssh("rc", "pytinc -n office pid").stdout not in ("", before)
    assert "started" in site.ssh("rc", "rc-service pytinc.office status").stdout
    wait_for_node(site, "rc")
    site.adhoc("tinc-uninstall -l rc")
    assert "pytinc.office" not in site.ssh("rc", "rc-update show default; ls /etc/init.d").stdout

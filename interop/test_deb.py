"""The packages on machines that boot: installed, started, upgraded, removed and purged, beside Debian's tinc.

The tests share two machines and run in order. They make two versions of the packages and a Debian, which
takes minutes, so ``make test`` leaves them out; ``make deb-test`` runs them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import booted
from booted import Machine
from howto.images import REPOSITORY, dependencies, tinc_package
from pytinc.lab.namespaces import Lab, missing_means, run
from pytinc.lab.node import PATIENCE_S, wait_until

FIRST, SECOND = "0.1.0", "0.1.1"
BUILD_LIMIT_S = 1200.0
DPKG_LIMIT_S = 600.0
KEPT = "find /etc/tinc -type f ! -path '*/cache/*' -exec sha256sum {} + | sort -k 2"
"""What a package must not change; the daemon itself writes in cache/."""
LIBRARIES = (
    "httpx, lz4.block, lzallright, miniupnpc, numpy, prometheus_client, pyroute2, starlette, uvicorn, uvloop"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@dataclass(frozen=True, slots=True)
class Site:
    """Two machines: ``box`` gets pytinc's package, ``peer`` has Debian's tinc; and the packages."""

    box: Machine
    peer: Machine
    lab: Lab
    base: Path
    packages: dict[str, dict[str, Path]]
    """By version and kind: deb, rpm."""


def make_packages(directory: Path, version: str) -> dict[str, Path]:
    """Make both packages of a copy of the sources that says it is this version."""
    source = directory / f"source-{version}"
    shutil.copytree(
        REPOSITORY, source, ignore=shutil.ignore_patterns(".*", "interop", "benchmarks", "build", "dist")
    )
    module = source / "src/pytinc/__init__.py"
    module.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', module.read_text()))
    output = directory / f"packages-{version}"
    run(
        sys.executable, str(source / "tools/package.py"), "deb", "rpm", "--compression", "gzip",
        "--output", str(output), timeout=BUILD_LIMIT_S,
    )  # fmt: skip
    return {kind: next(output.glob(f"*.{kind}")) for kind in ("deb", "rpm")}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if not os.environ.get("PYTINC_INTEROP_DEB"):
        pytest.skip("the tests of the packages take minutes: make deb-test runs them")
    if (reason := missing_means() or booted.missing()) is not None:
        pytest.skip(reason)
    with Lab() as lab:
        base = booted.base(lab, "python3", "rpm", *dependencies(tinc_package()))
        (python,) = base.glob("usr/bin/python3.[0-9]*[0-9]")
        ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
        if python.name != ours:
            pytest.skip(f"packages made by {ours} are not for this Debian, which has {python.name}")
        with ThreadPoolExecutor(2) as threads:
            made = threads.map(lambda version: make_packages(lab.directory, version), (FIRST, SECOND))
            packages = dict(zip((FIRST, SECOND), made, strict=True))
        with Machine(lab.host("box"), base) as box, Machine(lab.host("peer"), base) as peer:
            yield Site(box, peer, lab, base, packages)


def install(site: Site, version: str) -> str:
    """Install the Debian package of a version; return what dpkg printed."""
    file = site.box.copy(site.packages[version]["deb"])
    done = site.box.run("dpkg", "--install", file, timeout=DPKG_LIMIT_S)
    return done.stdout + done.stderr


def main_pid(machine: Machine, unit: str) -> str:
    return machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()


def wait_for_peer(site: Site) -> None:
    done = ("ping", "-c", "1", "-W", "2", "10.1.1.2")
    wait_until(lambda: site.box.run(*done, check=False).returncode == 0, PATIENCE_S, "an answer of the peer")


def test_lintian_finds_no_fault(site: Site) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed (Debian's package lintian)")
    package = str(site.packages[FIRST]["deb"])
    done = run("lintian", "--fail-on=error,warning", package, check=False, timeout=BUILD_LIMIT_S)
    assert done.returncode == 0, done.stdout


def test_the_first_installation_starts_nothing(site: Site) -> None:
    install(site, FIRST)
    assert FIRST in site.box.shell("pytinc --version")
    assert (
        site.box.shell("systemctl list-units --all --no-legend 'pytinc@*'; pgrep -a pytincd", check=False)
        == ""
    )


def test_all_libraries_are_in_the_package(site: Site) -> None:
    site.box.run("/usr/lib/pytinc/bin/python3", "-c", f"import {LIBRARIES}")
    lines = site.box.shell("find /usr/lib/pytinc -name '*.so*' -exec ldd {} +").splitlines()
    assert [line for line in lines if "not found" in line] == []


def test_modules_are_compiled_once(site: Site) -> None:
    count = "find /usr/lib/pytinc -name '*.pyc' | wc -l"
    before = int(site.box.shell(count))
    assert before > 500
    site.box.run("pytinc", "--version")
    assert int(site.box.shell(count)) == before


def test_the_list_of_parts_names_them(site: Site) -> None:
    text = site.box.shell("zcat /usr/share/doc/pytinc/pytinc.cdx.json.gz")
    parts = {part["name"].lower(): part["version"] for part in json.loads(text)["components"]}
    have = site.box.shell(
        "ls /usr/lib/pytinc/lib/python3*/site-packages | sed -n 's/-.*dist-info//p'"
    ).split()
    assert {name.replace("-", "_") for name in parts} | {"pytinc"} == {name.lower() for name in have} | {
        "pytinc"
    }
    licences = site.box.shell("zcat /usr/share/doc/pytinc/licenses.txt.gz")
    assert all(
        name in licences.lower().replace("-", "_") for name in (part.replace("-", "_") for part in parts)
    )


def test_tinc_can_be_installed_beside_it(site: Site) -> None:
    # Where the directory is missing, the script of Debian's package fails.
    site.peer.run("mkdir", "--parents", "/etc/tinc")
    for machine in (site.box, site.peer):
        machine.run("dpkg", "--install", machine.copy(tinc_package()), timeout=DPKG_LIMIT_S)
    site.box.run("dpkg", "--verify", "pytinc", "tinc")
    assert site.box.shell("dpkg-query -W -f '${Status}\\n' pytinc tinc") == "install ok installed\n" * 2


def test_the_unit_serves_a_node_of_a_network_with_tincd(site: Site) -> None:
    address = site.box.host.address
    site.box.shell(f"pytinc -n mynet init box --address 10.1.1.1/24 --public {address}")
    site.box.shell("systemctl enable --now pytinc@mynet")
    url = site.box.shell("pytinc -n mynet invite peer --address auto").split()[-1]
    site.peer.shell(f"tinc -b -n mynet join '{url}'")
    site.peer.shell("cd /etc/tinc/mynet && mv tinc-up.invitation tinc-up && chmod 755 tinc-up")
    site.peer.shell("systemctl start tinc@mynet")
    wait_for_peer(site)


def test_the_key_may_be_in_systemds_store(site: Site) -> None:
    file, stored = "/etc/tinc/mynet/ed25519_key.priv", "/etc/credstore/pytinc.mynet.key"
    site.box.shell(f"install -d -m 700 /etc/credstore && mv {file} {stored}")
    site.box.shell("systemctl restart pytinc@mynet")
    wait_for_peer(site)
    # As root, the commands read it while the unit runs.
    directory = "CREDENTIALS_DIRECTORY=/run/credentials/pytinc@mynet.service"
    site.box.shell(f"{directory} pytinc -n mynet fsck")
    assert "No Ed25519 private key found" in site.box.run("pytinc", "-n", "mynet", "fsck", check=False).stderr
    site.box.shell(f"mv {stored} {file} && systemctl restart pytinc@mynet")
    wait_for_peer(site)


def test_a_socket_unit_can_open_the_port(site: Site) -> None:
    # A daemon that did not take the sockets over could not use the port.
    lines = "[Socket]\\nListenStream=0.0.0.0:655\\nListenStream=[::]:655\\nBindIPv6Only=ipv6-only\\n"
    site.box.shell(f"printf '{lines}' >/etc/systemd/system/pytinc@.socket && systemctl daemon-reload")
    site.box.shell("systemctl stop pytinc@mynet && systemctl start pytinc@mynet.socket pytinc@mynet")
    wait_for_peer(site)
    site.box.shell("systemctl stop pytinc@mynet pytinc@mynet.socket && rm /etc/systemd/system/pytinc@.socket")
    site.box.shell("systemctl daemon-reload && systemctl start pytinc@mynet")
    wait_for_peer(site)


def test_an_upgrade_restarts_what_runs_and_changes_no_configuration(site: Site) -> None:
    # A network that is not started, and a setting of the operator.
    site.box.shell("pytinc -b -n other init box && systemctl enable pytinc@other")
    site.box.shell("echo EXTRA=-d1 >>/etc/default/pytinc")
    before, pid = site.box.shell(KEPT), main_pid(site.box, "pytinc@mynet")
    install(site, SECOND)
    assert main_pid(site.box, "pytinc@mynet") not in (pid, "0")
    assert SECOND in site.box.shell("pytinc -n mynet info box; pytinc --version")
    wait_for_peer(site)
    assert site.box.run("systemctl", "is-active", "pytinc@other", check=False).stdout.strip() == "inactive"
    assert site.box.shell(KEPT) == before
    assert "EXTRA=-d1" in site.box.shell("cat /etc/default/pytinc")


def test_a_removal_stops_it_and_leaves_configuration_and_tinc(site: Site) -> None:
    before = site.box.shell(KEPT)
    site.box.run("dpkg", "--remove", "pytinc", timeout=DPKG_LIMIT_S)
    assert site.box.shell("pgrep -a pytincd; ls -d /usr/lib/pytinc", check=False) == ""
    assert site.box.shell(KEPT) == before
    assert "EXTRA=-d1" in site.box.shell("cat /etc/default/pytinc")
    site.box.run("dpkg", "--verify", "tinc")


def test_the_keys_survive_a_purge(site: Site) -> None:
    before = site.box.shell(KEPT)
    assert "ed25519_key.priv" in before
    site.box.run("dpkg", "--purge", "pytinc", timeout=DPKG_LIMIT_S)
    assert site.box.shell(KEPT) == before
    left = site.box.shell("find / -xdev -name '*pytinc*' ! -path '/root/*' ! -path '/tmp/*'").split()
    assert left == []
    # tincd takes over with the same files.
    site.box.shell("systemctl start tinc@mynet")
    wait_for_peer(site)


def test_the_rpm_has_the_same_files_and_manners(site: Site) -> None:
    """On Debian with rpm's tools: what is tried is the package and its scripts, not a distribution."""
    with Machine(site.lab.host("rpmbox"), site.base) as box:
        first, second = (box.copy(site.packages[version]["rpm"]) for version in (FIRST, SECOND))
        box.run("rpm", "--install", "--nodeps", first, timeout=DPKG_LIMIT_S)
        assert box.shell("pgrep -a pytincd", check=False) == ""
        box.shell("pytinc -n mynet init box --address 10.2.1.1/24 && systemctl enable --now pytinc@mynet")
        before, pid = box.shell(KEPT), main_pid(box, "pytinc@mynet")
        box.run("rpm", "--upgrade", "--nodeps", second, timeout=DPKG_LIMIT_S)
        assert SECOND in box.shell("pytinc --version")
        wait_until(lambda: main_pid(box, "pytinc@mynet") not in (pid, "0"), PATIENCE_S, "the new daemon")
        assert int(box.shell("find /usr/lib/pytinc -name '*.pyc' | wc -l")) > 500
        assert box.shell("rpm --verify --nodeps pytinc") == ""
        box.run("rpm", "--erase", "pytinc", timeout=DPKG_LIMIT_S)
        assert box.shell("pgrep -a pytincd; ls -d /usr/lib/pytinc", check=False) == ""
        assert box.shell(KEPT) == before

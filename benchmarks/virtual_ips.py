"""Virtual IPs by policy, measured with real hosts: failover, hand-over under HTTP load, sharing of load.

    .venv/bin/python benchmarks/virtual_ips.py [--scenes NAME,...] [--runs N] [--results DIRECTORY]

Each scene builds a network in namespaces: an entry that runs tincd, members that run pytinc with nginx behind
the address, and a client that runs tincd or pytinc. A probe pings the address every 10 ms from the client's
host; ab (apache2-utils) loads it with one connection for each request. Needs the Debian packages nginx-light
and apache2-utils. Writes virtual_ips.json, and the same as a table, into benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from comparison.machine import commit, processor
from pytinc.lab.namespaces import Host, Lab
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.outage import Watch, serve
from pytinc.lab.privileges import ensure_root
from pytinc.lab.traffic import neighbour

VIP: Final = "10.1.1.10"
PORT: Final = 7007
START_S: Final = 60.0
AFTER_S: Final = 4.0
"""Seconds for which the client is watched after a fault."""
CHECK_S: Final = 0.5
PLANNED: Final = ("stop", "drain", "move", "service")
PREEMPT_S: Final = 3.0
NGINX: Final = """\
worker_processes 1;
daemon off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{
        listen 80;
        location / {{ default_type text/plain; return 200 "{name}\\n"; }}
    }}
}}
"""


@dataclass
class Row:
    """One line of the report."""

    scene: str
    what: str
    figures: dict[str, Any]
    wanted: str
    met: bool | None


class Stage:
    """A network whose members serve `VIP`."""

    def __init__(
        self, lab: Lab, directory: Path, client: Kind, words: Sequence[str], *, clients: Sequence[str] = ()
    ) -> None:
        """``words``: what follows the address in the line of each member."""
        self.lab = lab
        self.network = Network(lab)
        self.network.add("entry", Kind.C, ["10.1.1.1/24"])
        names = [f"member_{number}" for number in range(1, len(words) + 1)]
        for number, name in enumerate(names, 101):
            addresses = [f"10.1.1.{number}/24", f"{VIP}/32"]
            self.network.add(name, Kind.PY, addresses, ["entry"])
        self.network.add("client", client, ["10.1.1.2/24", *clients], ["entry"])
        self.network.exchange_keys()
        self.members = [self.network[name] for name in names]
        for member, line in zip(self.members, words, strict=True):
            member.add_lines("tinc.conf", [("VirtualIP", f"{VIP} {line}")])
        self.services: dict[str, subprocess.Popen[str]] = {}
        self.network.start()
        for member in self.members:
            serve(member.host, PORT)
            self.serve_http(member, directory)
        self.client = self.network["client"]

    def serve_http(self, member: Node, directory: Path) -> None:
        """Start nginx on a member's host."""
        own = directory / member.name
        own.mkdir(exist_ok=True)
        (own / "nginx.conf").write_text(NGINX.format(directory=own, name=member.name))
        self.services[member.name] = member.host.spawn(
            "nginx", "-e", f"{own}/error.log", "-c", f"{own}/nginx.conf"
        )
        wait_until(lambda: fetch(member.host, "127.0.0.1") == member.name, START_S, "nginx answers")

    def owner(self) -> Node:
        """Return the member that serves, on which all agree."""

        def agreed() -> set[str | None]:
            return {view(member)["owner"] for member in self.members if member.running()}

        wait_until(lambda: len(agreed()) == 1 and agreed() != {None}, START_S, "the members agree")
        return self.network[str(agreed().pop())]

    def wait_used(self, member: Node) -> None:
        """Wait until the client uses a member."""
        wait_until(lambda: self.used() is member, START_S, f"the client uses {member.name}")

    def used(self) -> Node | None:
        """Return the member that the client uses."""
        mac, _ = neighbour(self.client.host, VIP)
        return next((member for member in self.members if member.mac == mac), None)

    @contextmanager
    def watched(self) -> Iterator[Watch]:
        """Ping the address from the client, once it is served well."""
        with Watch(self.client.host, VIP, PORT) as watch:
            watch.wait_steady(time.monotonic(), START_S)
            yield watch


def view(member: Node) -> dict[str, Any]:
    """Return what a node tells about the address."""
    told: dict[str, Any] = json.loads(member.tinc("vip", VIP, "--json").stdout)
    return told


def fetch(host: Host, address: str) -> str:
    """Return the name that nginx answers; empty if there is no answer."""
    got = host.run("curl", "-s", "-m", "2", f"http://{address}/", check=False)
    return got.stdout.strip()


@dataclass
class Load:
    """What ab counted."""

    complete: int
    failed: int
    per_second: float


def load(host: Host, seconds: float, during: Callable[[], object]) -> Load:
    """Load the address with requests, each on a connection of its own, and do something meanwhile."""
    options = ("-q", "-r", "-l", "-c", "8", "-n", "10000000", "-t", f"{seconds:g}")
    process = host.spawn("ab", *options, f"http://{VIP}/")
    time.sleep(seconds / 4)
    during()
    text, _ = process.communicate(timeout=seconds + 60)
    numbers = dict(re.findall(r"^([A-Z][^:]+):\s+([\d.]+)", text, re.MULTILINE))
    return Load(
        int(numbers["Complete requests"]),
        int(numbers["Failed requests"]),
        float(numbers["Requests per second"]),
    )


def percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"p50": round(statistics.median(ordered), 3), "worst": round(ordered[-1], 3)}


# -- scenes --

Deed = Callable[[Node], object]


def faults(runs: int, directory: Path, client: Kind) -> Iterator[Row]:
    """One serves: faults and orders, with a ping every 10 ms."""
    check = f"check=tcp:80 interval={CHECK_S} fall=1 rise=1"
    with Lab() as lab:
        stage = Stage(lab, directory, client, [check] * 3)
        found: dict[str, list[Outage]] = {}
        with stage.watched() as watch:
            for _ in range(runs):
                for fault, (inject, repair) in _deeds(stage, directory).items():
                    holder = stage.owner()
                    stage.wait_used(holder)
                    watch.wait_steady(time.monotonic(), START_S)
                    found.setdefault(fault, []).append(_measure(stage, watch, holder, inject))
                    repair(holder)
                    wait_until(lambda: _all_ready(stage), START_S, "all members are well")
    for fault, outages in found.items():
        lost = max(outage.lost for outage in outages)
        silence = percentiles([outage.silence_s for outage in outages])
        figures: dict[str, Any] = {"runs": len(outages), "silence_s": silence, "pings lost": lost}
        limit = 0.15 if fault == "kill" else 0.4
        wanted, met = f"p50 <= {limit} s, worst <= 1 s", silence["p50"] <= limit and silence["worst"] <= 1
        if fault in PLANNED:
            wanted, met = "0 pings lost", lost == 0
        if fault == "service":
            moved = figures["the client moved after s"] = percentiles([outage.moved_s for outage in outages])
            wanted += f", <= {CHECK_S + 0.1} s"
            met = met and moved["worst"] <= CHECK_S + 0.1
        yield Row(f"{client.title} client", fault, figures, wanted, met)


@dataclass
class Outage:
    """What a fault did to the client."""

    silence_s: float
    lost: int
    moved_s: float
    """Until its neighbour table had another member."""


def _measure(stage: Stage, watch: Watch, holder: Node, inject: Deed) -> Outage:
    begin = time.monotonic()
    inject(holder)
    wait_until(lambda: stage.used() is not holder, START_S, "the client moves", 0.01)
    moved_s = time.monotonic() - begin
    time.sleep(AFTER_S)
    end = time.monotonic()
    silence, lost = watch.ask(lambda trace: (trace.silence(begin, end), trace.lost(begin, end)))
    return Outage(silence, lost, moved_s)


def _deeds(stage: Stage, directory: Path) -> dict[str, tuple[Deed, Deed]]:
    lab = stage.lab

    def move(holder: Node) -> None:
        target = next(member for member in stage.members if member is not holder)
        holder.tinc("vip", "move", VIP, target.name)

    def end_service(holder: Node) -> None:
        stage.services[holder.name].terminate()
        stage.services[holder.name].wait()

    return {
        "cut": (lambda node: lab.cut_off(node.host), lambda node: lab.reconnect(node.host)),
        "kill": (lambda node: node.kill(), lambda node: node.start()),
        "stop": (lambda node: node.stop(), lambda node: node.start()),
        "drain": (lambda node: node.tinc("vip", "drain"), lambda node: node.tinc("vip", "undrain")),
        "move": (move, lambda _node: None),
        "service": (end_service, lambda node: stage.serve_http(node, directory)),
    }


def _all_ready(stage: Stage) -> bool:
    for member in stage.members:
        others = view(member)["members"]
        ready = [each for each in others if each["alive"] and each["state"] in ("active", "backup")]
        if len(ready) < len(stage.members):
            return False
    return True


def orders(runs: int, directory: Path, client: Kind) -> Iterator[Row]:
    """Drain under HTTP load, preemption with a delay, an address that is frozen."""
    words = [f"priority={150 - 10 * number} preempt={PREEMPT_S:g} check=tcp:80" for number in range(3)]
    scene = f"{client.title} client"
    with Lab() as lab:
        stage = Stage(lab, directory, client, words)
        first, second, _ = stage.members
        counts: list[Load] = []
        delays: list[float] = []
        wait_until(lambda: stage.owner() is first, START_S, "the first member serves")
        for _ in range(runs):
            wait_until(lambda: fetch(stage.client.host, VIP) == first.name, START_S, "the client uses it")
            counts.append(load(stage.client.host, 6, lambda: first.tinc("vip", "drain")))
            first.tinc("vip", "undrain")
            begin = time.monotonic()
            wait_until(lambda: stage.used() is first, START_S, "the first member serves again", 0.05)
            delays.append(time.monotonic() - begin)
        requests, failed = sum(count.complete for count in counts), sum(count.failed for count in counts)
        figures: dict[str, Any] = {"runs": runs, "requests": requests, "failed": failed}
        yield Row(scene, "drain under load", figures, "0 failed requests", failed == 0)
        met = all(PREEMPT_S - 0.1 <= delay <= PREEMPT_S + 1 for delay in delays)
        figures = {"runs": runs, "after s": percentiles(delays)}
        yield Row(scene, f"preempt={PREEMPT_S:g}", figures, f"{PREEMPT_S:g} s after it is well", met)
        second.tinc("vip", "move", VIP, second.name)
        second.tinc("vip", "freeze", VIP)
        stage.services[second.name].terminate()
        time.sleep(3 * PREEMPT_S)
        stays = stage.owner() is second
        what = "frozen: its check fails, and a better member is well"
        yield Row(scene, what, {"stays": stays}, "the address stays", stays)


SCENES: Final[dict[str, Callable[[int, Path], Iterator[Row]]]] = {
    "faults-C": lambda runs, directory: faults(runs, directory, Kind.C),
    "faults-pytinc": lambda runs, directory: faults(runs, directory, Kind.PY),
    "orders-C": lambda runs, directory: orders(runs, directory, Kind.C),
    "orders-pytinc": lambda runs, directory: orders(runs, directory, Kind.PY),
}


def markdown(rows: Sequence[Row], runs: int) -> str:
    lines = [
        f"Made by `benchmarks/virtual_ips.py --runs {runs}` at {commit()}, {processor()}.",
        "",
        "| Network | What | Figures | Wanted | Met |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        figures = "; ".join(f"{key} {_plain(value)}" for key, value in row.figures.items())
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        lines.append(f"| {row.scene} | {row.what} | {figures} | {row.wanted} | {met} |")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return str(value)


def main() -> int:
    """Run the scenes."""
    parser = argparse.ArgumentParser(description="Measure virtual IPs by policy with real hosts")
    parser.add_argument("--scenes", default=",".join(SCENES), help=f"of {', '.join(SCENES)}")
    parser.add_argument("--runs", type=int, default=10, help="of each fault (10)")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    scenes = options.scenes.split(",")
    if unknown := [name for name in scenes if name not in SCENES]:
        parser.error(f"{unknown[0]} is none of {', '.join(SCENES)}")
    if missing := [name for name in ("nginx", "ab", "curl") if shutil.which(name) is None]:
        parser.error(f"{missing[0]} is missing: install nginx-light, apache2-utils and curl")
    ensure_root([sys.executable, __file__, *sys.argv[1:]])
    rows: list[Row] = []
    for name in scenes:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory).chmod(0o755)
            for row in SCENES[name](options.runs, Path(directory)):
                print(name, row.what, row.figures, "met" if row.met else "NOT MET", flush=True)
                rows.append(row)
    options.results.mkdir(parents=True, exist_ok=True)
    told = {"commit": commit(), "runs": options.runs, "rows": [row.__dict__ for row in rows]}
    (options.results / "virtual_ips.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    (options.results / "virtual_ips.md").write_text(markdown(rows, options.runs), encoding="utf-8")
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

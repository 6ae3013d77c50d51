"""The cost of the guard of shared addresses in a large mesh, and whether it moves clients without need.

    .venv/bin/python benchmarks/guard.py [--nodes 300] [--addresses 20] [--clients 200]
    .venv/bin/python benchmarks/guard.py --soak HOURS

It runs whole nodes in one process on a virtual clock (tests/sim). The first form counts probes, questions in
clients' names and lone questions of all nodes in each second: while all clients start to use the addresses,
during a quiet minute, while a holder is cut off, and afterwards; once with the guard on every node, and once
on ten of them (the others act as C nodes). It writes guard.json, guard.md and (with matplotlib) guard.png
into benchmarks/results.

The second form runs ten nodes for the given number of virtual hours with 1 % loss in each direction, a stall
of 100 ms of every node each minute, clock steps and suspended machines. It prints the numbers of suspicions
and failovers.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sim.hosts import Host
from sim.simulator import Mesh, SimNode

RESULTS = Path(__file__).parent / "results"
HOLDERS = 3
PING_INTERVAL = 0.5
COUNTED = ("probes", "questions", "lone_questions", "suspicions", "false_suspicions", "failovers")
FEW = 10
SETTLE = 20
QUIET = 60
AFTER = 20


@dataclass
class Run:
    """The results of one mesh."""

    name: str
    nodes: int
    guards: int
    series: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in COUNTED})
    """The counts in each virtual second."""
    watched_most: int = 0
    """The highest number of peers that one node watched."""
    moved_s: float = 0.0
    """Virtual seconds from the cut until no client used the dead holder any more."""
    moved: int = 0
    cut_at: int = 0
    cpu_s: float = 0.0


def mac_of(number: int) -> bytes:
    """Return the MAC address of a host."""
    return b"\x02\x00\x00\x00" + number.to_bytes(2, "big")


def shared(number: int) -> bytes:
    """Return a shared address."""
    return bytes((10, 9, 0, number))


class World:
    """Entries, holders and clients."""

    def __init__(self, nodes: int, addresses: int, clients: int, guards: int) -> None:
        self.mesh = Mesh(1)
        entries = max(2, nodes // 50)
        burst = {"max_connection_burst": 10_000}
        self.hosts: list[Host] = []
        for number in range(nodes):
            name = f"n{number:03}"
            connect_to = ("n000",) if 0 < number < entries else (f"n{number % entries:03}",) if number else ()
            # Guards are spread over all roles.
            guarded = number * guards // nodes != (number - 1) * guards // nodes
            sim = self.mesh.add(name, connect_to=connect_to, neighbour_guard=guarded, **burst)
            own = bytes((10, 8, number >> 8, number & 255))
            role = number - entries
            held = [shared(role // HOLDERS)] if 0 <= role < addresses * HOLDERS else []
            self.hosts.append(Host(sim, mac_of(number), own, *held))
        first = entries + addresses * HOLDERS
        self.clients = self.hosts[first : first + clients]
        self.addresses = addresses

    def guards(self) -> list[SimNode]:
        """Return the nodes with a guard."""
        return [sim for sim in self.mesh.nodes.values() if sim.settings.neighbour_guard]

    def totals(self) -> Counter[str]:
        """Return the sum of the counters of all guards."""
        totals: Counter[str] = Counter()
        for sim in self.guards():
            counters = sim.node.guard_summary().counters
            totals.update({name: getattr(counters, name) for name in COUNTED})
        return totals

    def count(self, run: Run, seconds: int) -> None:
        """Let time pass, and record the messages sent in each second."""
        before = self.totals()
        for _ in range(seconds):
            self.mesh.run(1)
            after = self.totals()
            for name in COUNTED:
                run.series[name].append(after[name] - before[name])
            before = after
            watched = max(sim.node.guard_summary().watched for sim in self.guards())
            run.watched_most = max(run.watched_most, watched)


def measure(name: str, nodes: int, addresses: int, clients: int, guards: int) -> Run:
    """Run the whole scenario with this number of ``guards``."""
    run = Run(name, nodes, guards)
    start = time.process_time()
    world = World(nodes, addresses, clients, guards)
    mesh = world.mesh
    for sim in mesh.nodes.values():
        sim.start()
        mesh.run(0.02)
    mesh.run_until(mesh.converged, 300)
    print(f"{name}: {nodes} nodes agree after {time.process_time() - start:.0f} s of CPU time", flush=True)
    for number, client in enumerate(world.clients):
        mesh.at(mesh.now + number * 0.01, partial(client.ping, shared(number % addresses), PING_INTERVAL))
    world.count(run, SETTLE + QUIET)
    used = Counter(entry.mac for client in world.clients for entry in client.entries.values())
    mac = used.most_common(1)[0][0]
    run.moved = used[mac]
    holder = next(host for host in world.hosts if host.mac == mac)
    run.cut_at = len(run.series["probes"])
    mesh.underlay.cut.add(holder.sim.name)
    cut = mesh.now
    world.count(run, AFTER)
    moves = [when for client in world.clients for when, _, to in client.moves if when > cut and to != mac]
    assert not any(entry.mac == mac for client in world.clients for entry in client.entries.values())
    run.moved_s = max(moves) - cut
    run.cpu_s = time.process_time() - start
    return run


def soak(hours: float) -> None:
    """Run ten nodes with disturbances that are not faults."""
    world = World(10, 2, 2, 10)
    mesh = world.mesh
    mesh.start()
    mesh.run_until(mesh.converged, 60)
    mesh.underlay.loss = 0.01
    for number, client in enumerate(world.clients):
        client.ping(shared(number % 2), 5.0)
    mesh.run(30)
    start = time.process_time()
    for minute in range(round(hours * 60)):
        if minute % 60 == 30:
            for sim in mesh.nodes.values():
                sim.wall_offset += mesh.rng.choice((-3600.0, 3600.0))
        if minute % 120 == 60:
            mesh.nodes["n000"].sleep(20)  # an entry, which holds no address
            mesh.run(20)
        for sim in mesh.nodes.values():
            sim.stall(0.1)
            mesh.run(6)
        if minute % 60 == 59:
            totals = world.totals()
            used = ", ".join(f"{name} {totals[name]:,}" for name in COUNTED)
            for sim in mesh.nodes.values():
                for line in [line for line in sim.logs if " asked; " in line]:
                    print(f"  {sim.name}: {line}", flush=True)
                sim.logs.clear()
            print(
                f"{(minute + 1) / 60:.0f} h ({time.process_time() - start:.0f} s of CPU time): {used}",
                flush=True,
            )
    asked = sum(len(ping.sent) for client in world.clients for ping in client.pings)
    answered = sum(len(ping.answered) for client in world.clients for ping in client.pings)
    print(f"{asked:,} pings, {answered:,} answered")
    for client in world.clients:
        print(f"{client.sim.name}: its entry changed {len(client.moves) - 1} times")


def report(runs: list[Run], addresses: int, clients: int) -> str:
    """Return the figures as Markdown."""
    rows = {
        "nodes / guards": lambda run: f"{run.nodes} / {run.guards}",
        "probes a second, quiet minute": lambda run: f"{_mean(run, 'probes'):,.0f}",
        "per guard": lambda run: f"{_mean(run, 'probes') / run.guards:.1f}",
        "lone questions a second, quiet minute": lambda run: f"{_mean(run, 'lone_questions'):.1f}",
        "lone questions in the busiest second": lambda run: f"{max(run.series['lone_questions']):,}",
        "peers watched by one node, at most": lambda run: f"{run.watched_most}",
        "clients of the holder that was cut off": lambda run: f"{run.moved}",
        "until the last of them used another one": lambda run: f"{run.moved_s:.2f} s",
        "questions asked in clients' names": lambda run: f"{sum(run.series['questions']):,}",
        "suspicions": lambda run: f"{sum(run.series['suspicions'])}",
        "false suspicions": lambda run: f"{sum(run.series['false_suspicions'])}",
        "CPU time of all nodes": lambda run: f"{run.cpu_s:.0f} s",
    }
    lines = [
        "# The guard of shared addresses in a large mesh",
        "",
        "Written by `benchmarks/guard.py`, which explains the counts. Figures are of all nodes together.",
        "",
        f"{addresses} shared addresses with {HOLDERS} holders each, {clients} clients.",
        f"Python {platform.python_version()}, Linux {platform.release()}.",
        "",
        "| | " + " | ".join(run.name for run in runs) + " |",
        "|---|" + "---|" * len(runs),
        *(f"| {title} | " + " | ".join(map(figure, runs)) + " |" for title, figure in rows.items()),
    ]
    return "\n".join([*lines, ""])


def _mean(run: Run, name: str) -> float:
    quiet = run.series[name][SETTLE : SETTLE + QUIET]
    return sum(quiet) / len(quiet)


def plot(runs: list[Run], path: Path) -> None:
    """Draw the series if matplotlib is installed."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    figure, every = plt.subplots(3, 1, figsize=(10, 9), sharex=True)
    for axes, name in zip(every, ("probes", "lone_questions", "questions"), strict=True):
        for run in runs:
            axes.plot(run.series[name], label=run.name)
        axes.axvline(runs[0].cut_at, color="grey", linestyle=":")
        axes.set_title(f"{name.replace('_', ' ')} a second, of all nodes")
        axes.grid(visible=True, alpha=0.3)
    every[0].legend()
    every[-1].set_xlabel("virtual seconds; dotted: a holder is cut off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the measurement or the soak test."""
    parser = argparse.ArgumentParser(description="The guard of shared addresses in a large mesh")
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--addresses", type=int, default=20)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--soak", type=float, metavar="HOURS")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.soak:
        soak(options.soak)
        return
    sizes = (options.nodes, options.addresses, options.clients)
    runs = [
        measure("guards everywhere", *sizes, options.nodes),
        measure(f"{FEW} guards", *sizes, FEW),
    ]
    text = report(runs, options.addresses, options.clients)
    print(text)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "guard.md").write_text(text)
    data = {run.name: {"nodes": run.nodes, "guards": run.guards, **run.series} for run in runs}
    (options.results / "guard.json").write_text(json.dumps(data) + "\n")
    plot(runs, options.results / "guard.png")


if __name__ == "__main__":
    main()

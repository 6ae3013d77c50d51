"""The cost of changes of a large mesh: whole nodes in one process, virtual clock (tests/sim/simulator.py).

    .venv/bin/python benchmarks/scale.py [--nodes 10 30 100 300] [--cpu SECONDS] [--results DIRECTORY]

For each number of nodes, it measures these changes: all start at once, all restart at once, ten restart one
after the other, one link flaps for a minute, a node restarts while another one receives everything two
seconds late, and the mesh splits in two and rejoins. It counts the announcements (ADD_EDGE, DEL_EDGE,
ADD_SUBNET, DEL_SUBNET) of all nodes together, and the bytes of all requests. The time until all agree is
virtual; the CPU time is that of this process, for all nodes. It writes scale.json, scale.md and (with
matplotlib) scale.png into benchmarks/results.

Everything is measured by pytinc's rules, by tinc's (tests/sim/tinc_rules.py), and with every third node by
tinc's. ``--events`` and ``--rules`` choose some of that: the merge of 300 alone is

    .venv/bin/python benchmarks/scale.py --nodes 300 --events start merge --rules pytinc --no-memory
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pytinc.node.node import Node
from pytinc.wire.requests import Number
from sim.simulator import Mesh, RequestCounter, SimNode, ethernet
from sim.tinc_rules import tinc_rules

FLOODED = (Number.ADD_EDGE, Number.DEL_EDGE, Number.ADD_SUBNET, Number.DEL_SUBNET)
NODES = (10, 30, 100, 300)
RULES = ("pytinc", "tinc", "mixed")
LINKS_PER_NODE = 3
STEP = 0.25
"""Virtual seconds between two checks whether all agree."""
LOOK = 0.02
"""Virtual seconds between two checks of the amount sent: a storm grows within this time."""
STORM = 20
"""An event is given up, with all later ones, after this many times the announcements that are needed when
every node sends everything to every neighbour."""
LIMIT = 300.0
QUIET = 20.0
"""Virtual seconds to wait for late announcements after an event."""
SLOW = 2.0


@dataclass
class Row:
    """One event in a mesh of one size."""

    event: str
    nodes: int
    links: int
    announcements: int
    kilobytes: float
    seconds: float | None
    """Virtual seconds until all agree; None: not within `LIMIT`, or there was a storm."""
    storm: bool
    cut: bool
    """Given up, because it took too much CPU time."""
    cpu: float
    rules: str
    """Whose rules: one of `RULES`."""


def rules(name: str, nodes: int) -> AbstractContextManager[None]:
    """Let nodes flood by these rules."""
    if name == "pytinc":
        return nullcontext()
    return tinc_rules(None if name == "tinc" else {f"n{number}" for number in range(0, nodes, 3)})


def main() -> None:
    """Run everything, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES)
    parser.add_argument(
        "--cpu", type=float, default=900, help="seconds after which an event is given up (900)"
    )
    parser.add_argument("--events", nargs="+", choices=EVENTS, default=tuple(EVENTS))
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--no-memory", action="store_true", help="do not measure the memory per peer")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rows: list[Row] = []
    memory: dict[int, tuple[float, float]] = {}
    for nodes in options.nodes:
        for name in options.rules:
            with rules(name, nodes):
                for row in events(nodes, options.events, options.cpu, name):
                    rows.append(row)
                    print(line(row), flush=True)
        if not options.no_memory:
            memory[nodes] = memory_per_peer(nodes)
            print(
                f"{nodes} nodes: {memory[nodes][0]:.1f} KB per peer, {memory[nodes][1]:.1f} KB with a key",
                flush=True,
            )
        write(rows, memory, options.results)


def write(rows: list[Row], memory: dict[int, tuple[float, float]], results: Path) -> None:
    """Write the results so far."""
    results.mkdir(parents=True, exist_ok=True)
    data = {"rows": [asdict(row) for row in rows], "kilobytes_per_peer": memory}
    (results / "scale.json").write_text(json.dumps(data, indent=1) + "\n")
    (results / "scale.md").write_text(report(rows, memory))
    plot(rows, results / "scale.png")


def build(nodes: int, seed: int = 1) -> Mesh:
    """Return a mesh, not started, in which every node dials three earlier ones."""
    mesh = Mesh(seed)
    for number in range(nodes):
        known = list(mesh.nodes)
        mesh.add(
            f"n{number}",
            connect_to=mesh.rng.sample(known, min(LINKS_PER_NODE, len(known))),
            max_timeout=20,
            max_connection_burst=1000,
        )
    return mesh


def links(mesh: Mesh) -> int:
    """Return the number of meta connections."""
    return sum(len(sim.node.core.activated) for sim in mesh.running()) // 2


def agreed(mesh: Mesh) -> bool:
    """Return whether all agree on the nodes and the working links; checks the cheap sign first."""
    expected = len(mesh.running())
    for sim in mesh.running():
        if sum(peer.reachable for peer in sim.node.peers.values()) != expected:
            return False
    return mesh.paths_agree()


class Watch:
    """Counts announcements while time passes, and ends a storm."""

    def __init__(self, mesh: Mesh, counter: RequestCounter, max_cpu: float) -> None:
        self.mesh = mesh
        self.counter = counter
        self.limit = STORM * full_exchange(mesh)
        self.end = time.process_time() + max_cpu

    def sent(self) -> int:
        """Return the number of announcements so far."""
        return sum(self.counter.sent[kind] for kind in FLOODED)

    def storm(self) -> bool:
        """Return whether there are far too many announcements."""
        return self.sent() > self.limit

    def cut(self) -> bool:
        """Return whether the event has taken more CPU time than allowed."""
        return time.process_time() > self.end

    def given_up(self) -> bool:
        """Return whether the event must be given up."""
        return self.storm() or self.cut()

    def run(self, seconds: float) -> None:
        """Let time pass until the event is given up."""
        end = self.mesh.now + seconds
        while self.mesh.now < end and not self.given_up():
            self.mesh.run(min(LOOK, end - self.mesh.now))

    def settle(self) -> float | None:
        """Let time pass until all agree; return the virtual seconds, None if they do not."""
        start = self.mesh.now
        while self.mesh.now - start <= LIMIT and not self.given_up():
            self.run(STEP)
            if agreed(self.mesh):
                return self.mesh.now - start
        return None


def full_exchange(mesh: Mesh) -> int:
    """Return the number of lines if both edges of each link cross each link in both directions."""
    planned = sum(len(sim.settings.connect_to) for sim in mesh.nodes.values())
    return (2 * planned) ** 2


def settle(mesh: Mesh) -> None:
    """Let time pass until all agree."""
    with RequestCounter() as counter:
        Watch(mesh, counter, math.inf).settle()


def events(nodes: int, wanted: Sequence[str], max_cpu: float, name: str) -> Iterator[Row]:
    """Apply events to a mesh of ``nodes``; yield a row for each, up to the first that is given up."""
    mesh = build(nodes)
    for event, act in EVENTS.values():
        if act not in [EVENTS[each][1] for each in wanted]:
            continue
        with RequestCounter() as counter, cpu() as used:
            watch = Watch(mesh, counter, max_cpu)
            act(watch)
            seconds = watch.settle()
            watch.run(QUIET)
        yield Row(
            event,
            nodes,
            links(mesh),
            watch.sent(),
            counter.bytes / 1000,
            seconds,
            watch.storm(),
            watch.cut(),
            used[0],
            name,
        )
        if watch.given_up():
            return


def start(watch: Watch) -> None:
    """Start all nodes at once."""
    watch.mesh.start()


def restart_all(watch: Watch) -> None:
    """Let all nodes crash and start at once."""
    for sim in watch.mesh.running():
        sim.crash()
    for sim in watch.mesh.nodes.values():
        sim.start()


def restart_ten(watch: Watch) -> None:
    """Let ten nodes restart, one after the other."""
    for sim in watch.mesh.rng.sample(list(watch.mesh.nodes.values()), 10):
        restart(watch.mesh, sim)
        watch.run(2)


def part_and_merge(watch: Watch) -> None:
    """Split the mesh in two until all nodes have noticed, and join it again."""
    watch.mesh.underlay.island = set(list(watch.mesh.nodes)[::2])
    watch.run(90)
    watch.mesh.underlay.island = set()


def flap(watch: Watch) -> None:
    """Interrupt a link ten times."""
    sim = watch.mesh.rng.choice(watch.mesh.running())
    name = watch.mesh.rng.choice(sim.node.core.activated).name
    for _ in range(10):
        sim.call(lambda node, now: node.disconnect(name, now))
        watch.run(6)


def beside_a_slow_one(watch: Watch) -> None:
    """Restart a node while another one receives everything late."""
    slow, other = watch.mesh.rng.sample(list(watch.mesh.nodes.values()), 2)
    watch.mesh.underlay.slow[slow.name] = SLOW
    restart(watch.mesh, other)


def restart(mesh: Mesh, sim: SimNode) -> None:
    """Stop a node in an orderly way, and start it a second later."""
    sim.stop()
    mesh.run(1)
    sim.start()


EVENTS: dict[str, tuple[str, Callable[[Watch], None]]] = {
    "start": ("start", start),
    "restart": ("restart of all", restart_all),
    "turns": ("10 restarts in turn", restart_ten),
    "flap": ("a link flaps 10 times", flap),
    "slow": ("a slow node", beside_a_slow_one),
    "merge": ("parted and merged", part_and_merge),
}


@contextmanager
def cpu() -> Iterator[list[float]]:
    """Measure the CPU seconds of a block."""
    used: list[float] = [0.0]
    start = time.process_time()
    yield used
    used[0] = time.process_time() - start


def memory_per_peer(nodes: int) -> tuple[float, float]:
    """Return the kilobytes of Python objects per peer in a node: for known peers, and with a key."""
    mesh = build(nodes)
    mesh.start()
    settle(mesh)
    sim = next(iter(mesh.nodes.values()))
    restart(mesh, sim)
    settle(mesh)
    mesh.run(QUIET)
    known = held(sim.node)
    for number, name in enumerate(mesh.nodes):
        if name != sim.name:
            mac = b"\x02\x00" + number.to_bytes(4, "big")
            sim.call(lambda node, now, name=name, mac=mac: learn(node, name, mac))  # type: ignore[misc]
            sim.send_frame(ethernet(mac, b"\x02\x01" + bytes(4), bytes(64)))
    mesh.run(QUIET)
    return known / 1000 / (nodes - 1), held(sim.node) / 1000 / (nodes - 1)


def held(root: object) -> int:
    """Return the bytes of all objects reachable from this one, without code and the surrounding mesh."""
    gc.collect()
    seen = {id(root)}
    found, total = [root], 0
    while found:
        each = found.pop()
        total += sys.getsizeof(each)
        inside = each.__closure__ or () if isinstance(each, FunctionType) else gc.get_referents(each)
        for other in inside:
            if id(other) not in seen and not isinstance(other, _OUTSIDE):
                seen.add(id(other))
                found.append(other)
    return total


_OUTSIDE = (type, ModuleType, CodeType, SimNode, Mesh)


def learn(node: Node, name: str, mac: bytes) -> None:
    """Tell a node the owner of a MAC, so that it needs a key with the owner."""
    node.table.macs[mac] = node.peers[name].slot


HEADER = ("event", "nodes", "links", "rules", "announcements", "kB of requests", "seconds", "CPU s")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text."""
    return (
        row.event,
        str(row.nodes),
        str(row.links),
        "mixed" if row.rules == "mixed" else f"{row.rules}'s",
        f"{row.announcements:,}",
        f"{row.kilobytes:,.0f}",
        _ending(row),
        f"{row.cpu:.1f}",
    )


def _ending(row: Row) -> str:
    """Return the time until all agreed, or why it is unknown."""
    if row.storm or row.cut:
        return "storm" if row.storm else "cut"
    return "never" if row.seconds is None else f"{row.seconds:.1f}"


def line(row: Row) -> str:
    """Return a row for the terminal."""
    return "  ".join(f"{cell:>14}" for cell in cells(row))


def report(rows: list[Row], memory: dict[int, tuple[float, float]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Changes of a large mesh",
        "",
        "Written by `benchmarks/scale.py`, which explains the counts. Seconds are virtual, until all agree",
        f'on the nodes and the links that work ("never": not within {LIMIT:g}; "storm": more than {STORM}',
        'times the lines with which every node sends everything to every neighbour, given up; "cut":',
        "given up because it took too much CPU time). CPU time is of all nodes together, in one process.",
        "",
        f"Python {platform.python_version()}, Linux {platform.release()}.",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
        *("| " + " | ".join(cells(row)) + " |" for row in rows),
        "",
        "| nodes | KB of Python objects per peer | with a key for each |",
        "|---|---|---|",
        *(f"| {nodes} | {known:.1f} | {with_key:.1f} |" for nodes, (known, with_key) in memory.items()),
        "",
    ]
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Draw announcements and time by number of nodes, if matplotlib is installed."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5))
    for number, event in enumerate(dict.fromkeys(row.event for row in rows)):
        own = [row for row in rows if row.event == event]
        colour = f"C{number}"
        for rules, style in zip(RULES, ("o-", "x--", "+:"), strict=True):
            part = [row for row in own if row.rules == rules]
            nodes, label = [row.nodes for row in part], event if rules == "pytinc" else None
            left.loglog(nodes, [row.announcements for row in part], style, color=colour, label=label)
            seconds = [float("nan") if row.seconds is None else row.seconds for row in part]
            right.loglog(nodes, seconds, style, color=colour)
    left.set_title("announcements of all nodes (dashed: tinc's rules, dotted: mixed)")
    right.set_title("virtual seconds until all agree")
    for axes in (left, right):
        axes.set_xlabel("nodes")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.set_xticks(
            sorted({row.nodes for row in rows}), [str(n) for n in sorted({row.nodes for row in rows})]
        )
    left.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

"""A day of random faults in a mixed mesh in memory: whole nodes, virtual clock (tests/sim/simulator.py).

    .venv/bin/python benchmarks/soak.py [--hours 24] [--nodes 9] [--seed 1]

Every third node floods by tinc's rules (tests/sim/tinc_rules.py). Each minute there is a fault: a node
restarts in an orderly way or crashes, a link ends, a host is cut off for a while, datagrams are lost, all
keys of a node are renewed, or a node reloads its configuration. After each one all nodes must agree again
within a minute, or the run ends with an error.

Meanwhile each node sends a frame to the next one every ten seconds. A lost frame is explained by a fault that
is still going on, by the time from a fault until all agree and `GRACE` seconds, or because there was no key:
the first frame to a node that has restarted begins the key exchange, and is not kept. The rest is counted as
unexplained, with a line for each. Every hour a line tells the counts so far, the memory of the process, and
the sizes of all tables of the nodes together; after the first hours these must not grow.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sim.simulator import Mesh, SimNode, ethernet
from sim.tinc_rules import tinc_rules

LIMIT = 60.0
"""Virtual seconds within which all must agree after a fault."""
PING_EVERY = 10.0
ANSWER = 1.0
GRACE = 15.0
"""Seconds after all agree in which new keys and addresses may still be found out."""
KINDS = ("restart", "crash", "flap", "cut", "loss", "keys", "reload")


class Soak:
    """The mesh, its faults, and what became of the pings."""

    def __init__(self, nodes: int, seed: int) -> None:
        self.mesh = Mesh(seed)
        self.counts: Counter[str] = Counter()
        self.calm_since = 0.0
        self.slowest = 0.0
        self.last_fault = "the start"
        self._pings = 0
        for number in range(nodes):
            known = list(self.mesh.nodes)
            self.mesh.add(
                f"n{number}",
                connect_to=self.mesh.rng.sample(known, min(2, len(known))),
                max_timeout=20,
                max_connection_burst=1000,
            )
        self.macs = {name: b"\x02\x00\x00\x00\x00" + bytes([i]) for i, name in enumerate(self.mesh.nodes)}

    def agreed(self) -> bool:
        """Return whether all running nodes reach each other and agree on the links."""
        count = len(self.mesh.running())
        return self.mesh.paths_agree() and all(
            sum(peer.reachable for peer in sim.node.peers.values()) == count for sim in self.mesh.running()
        )

    def run(self, hours: float) -> None:
        """Let so many hours pass; raise `AssertionError` when the mesh does not agree again."""
        self.mesh.start()
        self.mesh.run_until(self.agreed, LIMIT)
        self.mesh.at(self.mesh.now, self._ping_all)
        for hour in range(round(hours)):
            for _ in range(60):
                self.minute()
            self.report(hour + 1)

    def minute(self) -> None:
        """Do one fault, and wait until all agree."""
        mesh, begin = self.mesh, self.mesh.now
        kind = mesh.rng.choice(KINDS)
        self.counts[f"fault {kind}"] += 1
        self.calm_since = float("inf")
        self.fault(kind, mesh.rng.choice(mesh.running()))
        end = mesh.now
        mesh.run_until(self.agreed, LIMIT)
        self.slowest = max(self.slowest, mesh.now - end)
        self.calm_since = mesh.now + GRACE
        mesh.run(max(0.0, begin + 60 - mesh.now))

    def fault(self, kind: str, sim: SimNode) -> None:
        """Do something to the mesh, and let it pass until it is over."""
        mesh = self.mesh
        self.last_fault = f"{kind} of {sim.name}"
        if kind in ("restart", "crash"):
            sim.stop() if kind == "restart" else sim.crash()
            mesh.run(mesh.rng.uniform(0.5, 10))
            sim.start()
        elif kind == "flap":
            name = mesh.rng.choice(sim.node.core.activated).name
            sim.call(lambda node, now: node.disconnect(name, now))
        elif kind == "cut":
            mesh.underlay.cut.add(sim.name)
            mesh.run(mesh.rng.uniform(1, 30))
            mesh.underlay.cut.discard(sim.name)
        elif kind == "loss":
            mesh.underlay.loss = mesh.rng.uniform(0.01, 0.3)
            mesh.run(20)
            mesh.underlay.loss = 0.0
        elif kind == "keys":
            sim.call(lambda node, now: node.sessions.rekey_all(now))
        else:
            sim.call(lambda node, now: node.reload(sim.settings, now))

    def _ping_all(self) -> None:
        names = list(self.mesh.nodes)
        for name, other in zip(names, names[1:] + names[:1], strict=True):
            if self.mesh.nodes[name].running:
                self._ping(name, other)
        self.mesh.at(self.mesh.now + PING_EVERY, self._ping_all)

    def _ping(self, name: str, other: str) -> None:
        self._pings += 1
        frame = ethernet(self.macs[other], self.macs[name], self._pings.to_bytes(50, "big"))
        is_calm = self.mesh.now >= self.calm_since
        session = self.mesh.nodes[name].node.table.slots[other].session
        has_key = session is not None and session.can_send
        self.counts["pings"] += 1
        self.mesh.nodes[name].send_frame(frame)

        def look() -> None:
            target = self.mesh.nodes[other]
            if frame in target.frames:
                target.frames.clear()
            elif is_calm and self.mesh.now >= self.calm_since:
                if not has_key:
                    self.counts["lost, no key yet"] += 1
                    return
                self.counts["lost, unexplained"] += 1
                since = self.mesh.now - self.calm_since
                print(f"unexplained: {name} to {other}, {since:.0f} s after {self.last_fault}", flush=True)
            else:
                self.counts["lost by a fault"] += 1

        self.mesh.at(self.mesh.now + ANSWER, look)

    def report(self, hour: int) -> None:
        """Print the state after an hour."""
        gc.collect()
        sims = self.mesh.running()
        for sim in sims:
            for kept in (sim.scripts, sim.logs, sim.frames):
                kept.clear()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes = {
            "seen lines": sum(len(sim.node.seen) for sim in sims),
            "peers": sum(len(sim.node.peers) for sim in sims),
            "edges": sum(sum(1 for _ in sim.node.topology.graph.edges()) for sim in sims),
            "connections": sum(len(sim.node.core.connections) for sim in sims),
            "MACs": sum(len(sim.node.table.macs) for sim in sims),
            "slots": sum(len(sim.node.table.slots) for sim in sims),
        }
        errors = sum(len(sim.errors) for sim in sims)
        print(
            f"hour {hour}: {pages * 4096 / 1e6:.1f} MB, slowest agreement {self.slowest:.1f} s, "
            f"{errors} error lines, CPU {time.process_time():.0f} s; {dict(self.counts)}; {sizes}",
            flush=True,
        )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--nodes", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tinc_rules({f"n{number}" for number in range(0, options.nodes, 3)}):
        Soak(options.nodes, options.seed).run(options.hours)


if __name__ == "__main__":
    main()

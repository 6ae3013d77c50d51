"""TCP throughput through two nodes, by kind: ``python benchmarks/iperf.py [--seconds N] [--rounds N]``.

Four nodes in namespaces, two of each kind, one direct path between each two. The kinds take turns, round
after round, so that a slow minute of the machine hits all of them alike. Output names machine, kernel, Python
and commit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pytinc.lab.namespaces import Lab, LabError
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, wait_until
from pytinc.lab.privileges import ensure_root
from pytinc.lab.traffic import IperfReport, answers, iperf

NODES = {"c_1": Kind.C, "c_2": Kind.C, "py_1": Kind.PY, "py_2": Kind.PY}
FLOWS = (("c_1", "c_2"), ("py_1", "c_1"), ("c_1", "py_1"), ("py_1", "py_2"))


def title(flow: tuple[str, str]) -> str:
    """A flow by the kinds of its ends."""
    return " -> ".join(NODES[name].title for name in flow)


def machine() -> dict[str, str]:
    """Where these figures come from."""
    here = Path(__file__).parent
    commit = subprocess.run(
        ("git", "describe", "--always", "--dirty"), cwd=here, capture_output=True, text=True, check=False
    ).stdout.strip()
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line for line in cpuinfo if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    return {
        "machine": f"{os.cpu_count()} x {model}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit or "none",
    }


def build(lab: Lab) -> Network:
    """The network, up, with UDP and the path MTU found wherever a flow goes."""
    network = Network(lab)
    for name, kind in NODES.items():
        node = network.add(name, kind, connect_to=list(network.nodes))
        node.debug = 0
    network.exchange_keys()
    network.start()
    network.wait_converged()
    for sender, receiver in FLOWS:
        one, other = network[sender], network[receiver]
        wait_until(lambda one=one, other=other: answers(one.host, other.address), 20, f"{receiver} answers")
        for here, there in ((one, receiver), (other, sender)):
            wait_until(
                lambda here=here, there=there: here.nodes()[there].mtu_known, 30, f"the MTU to {there}"
            )
    return network


def measure(network: Network, seconds: int, rounds: int) -> dict[tuple[str, str], list[IperfReport]]:
    """Let the flows take turns."""
    reports: dict[tuple[str, str], list[IperfReport]] = {flow: [] for flow in FLOWS}
    for number in range(rounds):
        for sender, receiver in FLOWS:
            one, other = network[sender], network[receiver]
            report = iperf(one.host, other.host, other.address, seconds)
            reports[sender, receiver].append(report)
            print(
                f"round {number + 1}: {title((sender, receiver)):24} {report.megabits:8.1f} Mbit/s",
                file=sys.stderr,
            )
    return reports


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(description="TCP throughput by kind of node")
    parser.add_argument("--seconds", type=int, default=10, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    try:
        ensure_root([sys.executable, __file__, *arguments])
        with Lab() as lab:
            reports = measure(build(lab), options.seconds, options.rounds)
    except LabError as error:
        print(f"iperf: {error}", file=sys.stderr)
        return 1
    rates = {title(flow): [report.megabits for report in runs] for flow, runs in reports.items()}
    if options.json:
        print(json.dumps({**machine(), "seconds": options.seconds, "megabits": rates}))
        return 0
    for name, value in machine().items():
        print(f"{name:8} {value}")
    print(f"TCP, {options.rounds} rounds of {options.seconds} s, Mbit/s: median (lowest to highest)")
    for name, values in rates.items():
        print(f"  {name:24} {statistics.median(values):8.1f}  ({min(values):.1f} to {max(values):.1f})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Faults and attacks, C and pytinc beside each other: pings lost, seconds to recover, CPU and memory.

    .venv/bin/python benchmarks/faults.py [--faults kill,storm,...] [--runs N] [--output PATH]

For each fault a mesh of four nodes is built in network namespaces, first of tincd and then of pytincd, and
the node in the middle has the fault (``comparison/fault_kinds.py`` has them all). A probe pings it every
10 ms from a neighbour. Writes faults.json, and the same as a table, into benchmarks/results; faults that are
not measured keep the figures of an earlier run.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from comparison.fault_kinds import FAULTS
from comparison.fault_report import KINDS, median, table
from comparison.fault_stand import Figures, load, measure, version
from comparison.machine import commit, processor
from pytinc.lab.namespaces import sweep
from pytinc.lab.node import Kind
from pytinc.lab.privileges import ensure_root

RESULTS: Final = Path(__file__).parent / "results"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options; end the program if they are wrong."""
    parser = argparse.ArgumentParser(
        description="Measure faults and attacks", epilog=f"faults: {', '.join(FAULTS)}"
    )
    parser.add_argument("--faults", type=lambda text: text.split(","), default=list(FAULTS))
    parser.add_argument("--runs", type=int, default=1, help="of each fault; the table has medians")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / "faults", help="path of the report without its ending"
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.faults) - FAULTS.keys())
    if unknown or options.runs < 1:
        parser.error(f"no such fault: {', '.join(unknown)}" if unknown else "--runs starts at 1")
    return options


def measured(name: str, runs: int) -> dict[str, Any]:
    """Measure a fault with both kinds in turn."""
    started = load()
    found: dict[Kind, list[Figures]] = {kind: [] for kind in KINDS}
    for _ in range(runs):
        for kind in KINDS:
            figures = measure(kind, FAULTS[name].fault, FAULTS[name].seconds)
            found[kind].append(figures)
            print(f"{name} {kind.title}: {figures}", flush=True)
    return {
        "load": started,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        **{kind.value: median(found[kind]) for kind in KINDS},
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, and write the report after each fault."""
    options = parse(arguments)
    ensure_root([sys.executable, __file__, *arguments])
    sweep()
    path = options.output.with_suffix(".json")
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"faults": {}}
    report["machine"] = f"{processor()}, Linux {platform.release()}, Python {platform.python_version()}"
    report["versions"] = {kind.value: version(kind) for kind in KINDS}
    for name in options.faults:
        report["faults"][name] = measured(name, options.runs)
        path.write_text(json.dumps(report, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

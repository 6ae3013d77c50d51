"""Measure how long a client is without its virtual address, for many faults and casts, in network namespaces.

    .venv/bin/python benchmarks/failover.py [--quick] [--casts C,members] [--faults cut,kill] [--runs N]

Several nodes hold one address, and the node that the client uses fails in one of eight ways. A probe on the
client's host measures for how long it got no answers. Casts differ in the nodes that run pytinc; for
comparison there are also a network of C nodes only, and keepalived inside the same tinc network. The report
goes to ``benchmarks/results/failover.*`` and explains each figure.

Each combination of cast and family is a lane: a separate process with its own networks. A few lanes of casts
with pytinc run at once (``--jobs``); all other lanes run at the same time, because they mostly wait.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from comparison.failover_figures import CASTS, FAMILIES, FAULTS, PLAIN, Results
from comparison.failover_report import as_json, markdown, plot
from comparison.failover_runs import Lane, narrate
from comparison.machine import commit, processor
from pytinc.lab.namespaces import LabError, run, sweep
from pytinc.lab.node import Kind
from pytinc.lab.privileges import ensure_root

RESULTS: Final = Path(__file__).parent / "results"
RUNS: Final = 10
PLAIN_RUNS: Final = 3
MANY_RUNS: Final = 50
MANY: Final = frozenset((("bystander", "cut", "ipv4"), ("members", "cut", "ipv4")))
"""Cells with enough runs for a 99th percentile."""
QUICK_RUNS: Final = 2
QUICK_CASTS: Final = ("bystander", "members", "pytinc")
QUICK_FAULTS: Final = ("stop", "kill", "cut")
FLIPS_S: Final = 30.0
JOBS: Final = 3
END_TIMEOUT_S: Final = 30.0


def names(allowed: Mapping[str, str], *, none: bool = False) -> Any:
    """The type of an option that takes names separated by commas."""

    def parse(text: str) -> list[str]:
        if none and text == "none":
            return []
        chosen = [word.strip() for word in text.split(",") if word.strip()]
        for word in chosen:
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(allowed)}")
        return [name for name in allowed if name in chosen]

    return parse


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options; end the program if they are wrong."""
    parser = argparse.ArgumentParser(
        description="Measure how long a client is without its virtual address",
        epilog=f"casts: {', '.join(CASTS)}; faults: {', '.join(FAULTS)}; families: {', '.join(FAMILIES)}",
    )
    parser.add_argument(
        "--runs",
        type=int,
        help=f"of each cell ({RUNS}; {PLAIN_RUNS} without pytinc; {MANY_RUNS} for silent cuts, C client)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="two runs of a few cells, unless other options say otherwise"
    )
    parser.add_argument("--casts", type=names(CASTS), metavar="NAME,...")
    parser.add_argument("--faults", type=names(FAULTS, none=True), metavar="NAME,...", help='or "none"')
    parser.add_argument("--families", type=names(FAMILIES), metavar="NAME,...")
    parser.add_argument(
        "--flips",
        type=float,
        metavar="SECONDS",
        help=f"count moves without a fault for this time ({FLIPS_S:g}; 0: not at all)",
    )
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"lanes with pytinc at once ({JOBS})")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / "failover", help="path of the report without its ending"
    )
    parser.add_argument("--lane", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if (options.runs is not None and options.runs < 1) or options.jobs < 1:
        parser.error("--runs and --jobs start at 1")
    if options.casts is None:
        options.casts = list(QUICK_CASTS if options.quick else CASTS)
    if options.faults is None:
        options.faults = list(QUICK_FAULTS if options.quick else FAULTS)
    if options.families is None:
        options.families = ["ipv4"] if options.quick else list(FAMILIES)
    if options.flips is None:
        options.flips = 0.0 if options.quick else FLIPS_S
    return options


def runs_of(options: argparse.Namespace, cast: str, fault: str, family: str) -> int:
    """Return how often a cell is measured."""
    if options.runs is not None:
        return int(options.runs)
    if options.quick:
        return QUICK_RUNS
    if (cast, fault, family) in MANY:
        return MANY_RUNS
    return PLAIN_RUNS if cast in PLAIN else RUNS


def in_order(options: argparse.Namespace, casts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the lanes, those with most work first, so that none of them runs alone at the end."""

    def work(lane: tuple[str, str]) -> int:
        cast, family = lane
        return sum(runs_of(options, cast, fault, family) for fault in options.faults)

    return sorted(((cast, family) for cast in casts for family in options.families), key=work, reverse=True)


def tell(kind: str, fields: Mapping[str, Any]) -> None:
    """Print the results of a lane for the parent."""
    print(json.dumps([kind, fields]), flush=True)


def be_lane(options: argparse.Namespace) -> int:
    """Measure one lane; the parent reads the output."""
    cast, family = options.lane.split(":")
    runs = {fault: runs_of(options, cast, fault, family) for fault in options.faults}
    try:
        Lane(cast, family, runs, options.flips, tell).go()
    except KeyboardInterrupt:
        return 130
    return 0


class Lanes:
    """Runs the lanes and collects their results."""

    def __init__(self, arguments: Sequence[str], jobs: int) -> None:
        self._arguments = arguments
        self._jobs = jobs
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[str]] = []
        self._ended = False
        self.results = Results()
        self.notes: list[str] = []

    def run(self, lanes: Sequence[tuple[str, str]]) -> None:
        """Run all lanes; end the running ones if the user interrupts."""
        plain = [lane for lane in lanes if lane[0] in PLAIN]
        ours = [lane for lane in lanes if lane[0] not in PLAIN]
        with ThreadPoolExecutor(len(plain) + self._jobs) as workers, contextlib.ExitStack() as stack:
            stack.callback(self._end)
            # The lanes without pytinc come first, so that each of them has a worker from the start.
            turns: list[Future[None]] = [workers.submit(self._follow, *lane) for lane in (*plain, *ours)]
            for turn in turns:
                turn.result()

    def _follow(self, cast: str, family: str) -> None:
        """Run a lane to its end."""
        with self._lock:
            if self._ended:
                return
            process = subprocess.Popen(
                (sys.executable, __file__, *self._arguments, "--lane", f"{cast}:{family}"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._processes.append(process)
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._hear(line)
        if process.wait() != 0:
            self._note(f"{cast}, {family}: the lane ended with status {process.returncode}")

    def _hear(self, line: str) -> None:
        try:
            kind, fields = json.loads(line)
        except ValueError:
            self._note(line.strip())
            return
        print(narrate(kind, fields), file=sys.stderr, flush=True)
        with self._lock:
            if kind == "note":
                self.notes.append(fields["text"])
            else:
                self.results.add(kind, fields)

    def _note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        with self._lock:
            self.notes.append(text)

    def _end(self) -> None:
        """End the running lanes; each removes its network."""
        with self._lock:
            self._ended = True
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def facts(arguments: Sequence[str], started: float) -> dict[str, str]:
    """Return where, when and how the figures were measured."""
    try:
        tincd = run(Kind.C.programs()[1], "--version", check=False).stdout.splitlines()[0]
    except (LabError, IndexError):
        tincd = "no tincd"
    keepalived = "no keepalived"
    if shutil.which("keepalived") is not None:
        version = run("keepalived", "--version", check=False).stderr.splitlines()
        keepalived = version[0].partition("(")[0].strip() if version else "keepalived"
    return {
        "Date": time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(started)),
        "Machine": f"{os.cpu_count()} x {processor()}",
        "System": f"Linux {platform.release()}, Python {platform.python_version()}",
        "Programs": f"pytinc commit {commit() or 'unknown'}; {tincd}; {keepalived}",
        "Command": " ".join(("benchmarks/failover.py", *arguments)),
    }


def report(options: argparse.Namespace, about: dict[str, str], results: Results, notes: list[str]) -> None:
    """Print the report and write its files."""
    base: Path = options.output
    base.parent.mkdir(parents=True, exist_ok=True)
    text = markdown(about, results, notes)
    base.with_suffix(".md").write_text(text)
    base.with_suffix(".json").write_text(as_json(about, results, notes))
    print(text)
    picture = base.with_suffix(".png")
    # A plot of an earlier run does not belong to these figures.
    picture.unlink(missing_ok=True)
    trouble = plot(picture, about, results)
    if trouble is not None:
        print(f"failover: {trouble}", file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write the report; return the exit status."""
    options = parse(arguments)
    if options.lane:
        return be_lane(options)
    started = time.time()
    about = facts(arguments, started)
    try:
        ensure_root([sys.executable, __file__, *arguments])
        sweep()
    except LabError as error:
        print(f"failover: {error}", file=sys.stderr)
        return 1
    lanes = Lanes(arguments, options.jobs)
    casts = list(options.casts)
    if "keepalived" in casts and shutil.which("keepalived") is None:
        casts.remove("keepalived")
        lanes.notes.append("keepalived: not installed (interop/setup.sh bench)")
    # Raise an exception, so that everything is removed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = 0
    try:
        lanes.run(in_order(options, casts))
    except KeyboardInterrupt:
        lanes.notes.append("interrupted: not everything was measured")
        status = 130
    about["Took"] = f"{(time.time() - started) / 60:.0f} minutes"
    if not lanes.results.runs and not lanes.results.flips:
        print("failover: nothing was measured", file=sys.stderr)
        return status or 1
    report(options, about, lanes.results, lanes.notes)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`make fuzz`: feed the targets, keep inputs that make them fail, and print how to repeat them.

With atheris the inputs are guided by coverage, and the corpus grows from run to run. Without it (there is no
wheel for this Python, say) `fuzz.mutate` makes them.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import itertools
import random
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Final, NamedTuple

from fuzz.mutate import mutations
from fuzz.registry import MAX_SEED, TESTS, Target
from fuzz.targets import TARGETS

STATE: Final = TESTS.parent / ".fuzz"
"""Holds the corpus that atheris has found, and the inputs that made a target fail."""
SLOW_S: Final = 30
"""An input that takes longer is a failure, too."""


class Result(NamedTuple):
    """What the run of one target came to."""

    inputs: int
    per_second: float
    failures: list[Path]


def keep(target: Target, data: bytes, state: Path) -> Path:
    """Write an input that makes a target fail into a file."""
    path = state / "failures" / target.name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def plain(target: Target, seconds: float, runs: int, state: Path, seed: int = 0) -> Result:
    """Run one target with the mutator until the time is over, the inputs are used up, or it fails."""
    start, count = time.monotonic(), 0
    for data in itertools.islice(mutations(target, random.Random(seed)), runs or None):
        count += 1
        try:
            target.run(data)
        except Exception:
            traceback.print_exc()
            return Result(count, count / (time.monotonic() - start), [keep(target, data, state)])
        if time.monotonic() - start > seconds > 0:
            break
    return Result(count, count / (time.monotonic() - start), [])


def guided(target: Target, seconds: float, runs: int, state: Path) -> Result:
    """Run one target under atheris, in a process of its own."""
    corpus, failures = state / "corpus" / target.name, state / "failures" / target.name
    for folder in (corpus, failures):
        folder.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (corpus / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    known = set(failures.iterdir())
    options = {
        "max_total_time": int(seconds),
        "runs": runs or -1,
        "max_len": MAX_SEED,
        "timeout": SLOW_S,
        "report_slow_units": SLOW_S,
        "artifact_prefix": f"{failures}/",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    command = [sys.executable, "-m", "fuzz.guided", target.name, str(corpus)]
    command += [f"-{option}={value}" for option, value in options.items()]
    done = subprocess.run(command, cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = done.stdout.decode(errors="replace")
    inputs = re.search(r"number_of_executed_units: (\d+)\s+stat::average_exec_per_sec: +(\d+)", output)
    found = sorted(set(failures.iterdir()) - known)
    if found or done.returncode or inputs is None:
        print(re.sub(r"INFO: Instrumenting .*\n", "", output)[-8000:])
        if not found:
            raise SystemExit(f"{target.name}: atheris ended with status {done.returncode}")
    count, rate = map(int, inputs.groups()) if inputs else (0, 0)
    return Result(count, rate, found)


def main(arguments: list[str] | None = None) -> int:
    """Run the targets that are named, or all; or one of them with the content of a file."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=5, help="for each target (5); 0: no limit")
    parser.add_argument("--runs", type=int, default=0, help="inputs for each target; 0: no limit")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--file", type=Path, help="run one target with the content of this file only")
    parser.add_argument("--state", type=Path, default=STATE, help="where corpus and failures are kept")
    options = parser.parse_args(arguments)
    names = options.targets or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; the targets are {', '.join(TARGETS)}")
    if options.file is not None:
        TARGETS[names[0]].run(options.file.read_bytes())
        print(f"{names[0]}: nothing wrong with this input")
        return 0
    run = guided
    if options.plain or importlib.util.find_spec("atheris") is None:
        print("fuzz: without atheris: a simple mutator makes the inputs, which sees no coverage")
        run = plain
    failures: list[tuple[str, Path]] = []
    print(f"{'target':<20} {'inputs':>12} {'per second':>11}")
    for name in names:
        result = run(TARGETS[name], options.seconds, options.runs, options.state.resolve())
        print(f"{name:<20} {result.inputs:>12,} {result.per_second:>11,.0f}", flush=True)
        failures += [(name, path) for path in result.failures]
    for name, path in failures:
        print(f"FAILED {name}; to see it again: make fuzz ARGS='{name} --file {path}'")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Nine hosts, C and pytinc mixed, for an hour or longer, with random faults: lost pings and memory growth.

    .venv/bin/python benchmarks/long_run.py [--minutes N] [--seed N] [--results DIRECTORY] [--logs DIRECTORY]

Every half minute or so one host is restarted, killed, cut off, loses frames, or reloads its configuration;
all make new keys every two minutes. Twelve pairs of hosts ping each other five times a second. A fault of a
host at an end of the path, or of one that may have relayed it, must explain each ping that is lost; a reload
and new keys explain none (interop/chaos.py). Hosts n5 and n9 run pytinc and are never restarted: the memory
and the descriptors of their daemons are noted every ten seconds. Logs must have no traceback, and nothing
invalid. Writes its report into benchmarks/results.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

import chaos
from chaos import END_RECOVERS_S, NAMES, PING_INTERVAL_S, PING_TIMEOUT_S, Fault, Pings
from comparison.machine import commit
from pytinc.lab.namespaces import Lab
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node
from pytinc.lab.privileges import ensure_root

CAST: Final = dict(zip(NAMES, (Kind.PY if letter == "P" else Kind.C for letter in "PCPCPPCCP"), strict=True))
STEADY: Final = ("n5", "n9")
RESTARTS: Final = ("stop", "kill", "both")
OTHERS: Final = ("cut", "loss", "reload")
SETTINGS: Final = (("KeyExpire", "120"),)
PAUSE_S: Final = (15.0, 35.0)
LASTS_S: Final = (0.5, 15.0)
LOSS_PERCENT: Final = 20
UNNOTICED_S: Final = PING_INTERVAL_S + PING_TIMEOUT_S
LOOK_S: Final = 10.0
WARM_UP_S: Final = 600.0
"""Memory is compared from this time on."""


@dataclass(frozen=True)
class Look:
    """The state of one daemon: seconds since the start, resident memory in KiB, open descriptors."""

    when: float
    memory: int
    descriptors: int


class Watch(threading.Thread):
    """Looks at the daemons that are never restarted."""

    def __init__(self, pids: dict[str, int], zero: float) -> None:
        super().__init__(daemon=True)
        self._pids, self._zero = pids, zero
        self._end = threading.Event()
        self.looks: dict[str, list[Look]] = defaultdict(list)

    def run(self) -> None:
        """Look until `end` is called."""
        while not self._end.wait(LOOK_S):
            for name, pid in self._pids.items():
                status = Path(f"/proc/{pid}/status").read_text()
                memory = int(status.partition("VmRSS:")[2].split()[0])
                descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                self.looks[name].append(Look(time.monotonic() - self._zero, memory, descriptors))

    def end(self) -> None:
        """Look no more."""
        self._end.set()
        self.join()

    def rows(self) -> Iterator[str]:
        """Yield the rows of a table."""
        yield "| daemon | memory after ten minutes, MB | at the end | least | most | descriptors |"
        yield "|---|---|---|---|---|---|"
        for name, looks in self.looks.items():
            warm = [look for look in looks if look.when >= WARM_UP_S] or looks
            memory = [look.memory / 1024 for look in warm]
            counts = [look.descriptors for look in warm]
            yield (
                f"| {name} | {memory[0]:.1f} | {memory[-1]:.1f} | {min(memory):.1f} | {max(memory):.1f} "
                f"| {counts[0]} first, {min(counts)} to {max(counts)}, {counts[-1]} last |"
            )


def restart(node: Node, how: str, lasts: float) -> None:
    """End a daemon, and start it again."""
    chaos.bring_down(node, how)
    time.sleep(min(lasts, 5.0))
    node.start()


def cut(node: Node, lasts: float) -> None:
    """Carry nothing from or to a host."""
    lab = node.host.lab
    lab.cut_off(node.host)
    time.sleep(lasts)
    lab.reconnect(node.host)


def lose(node: Node, lasts: float) -> None:
    """Lose a part of a host's frames."""
    lab = node.host.lab
    lab.set_loss(node.host, LOSS_PERCENT)
    time.sleep(lasts)
    lab.set_loss(node.host, 0)


def faults(network: Network, choose: random.Random, until: float) -> Iterator[Fault]:
    """Cause one fault after the other until the time is up. A reload is carried out, and is no fault."""
    while True:
        pause, lasts = choose.uniform(*PAUSE_S), choose.uniform(*LASTS_S)
        node = network[choose.choice(NAMES)]
        how = choose.choice(OTHERS if node.name in STEADY else RESTARTS + OTHERS)
        if time.monotonic() + pause + lasts > until:
            return
        time.sleep(pause)
        began = time.monotonic()
        if how == "reload":
            node.tinc("reload")
            print(f"{node.name} reload", flush=True)
            continue
        if how == "cut":
            cut(node, lasts)
        elif how == "loss":
            lose(node, lasts)
        else:
            restart(node, how, lasts)
        over = time.monotonic()
        print(f"{node.name} {how} for {over - began:.1f} s", flush=True)
        yield Fault(node.name, how, began, over, 0.0 if how in RESTARTS else UNNOTICED_S)


def bad_lines(network: Network) -> Iterator[str]:
    """Yield the log lines that must not be there."""
    for node in network:
        for line in node.log().splitlines():
            if chaos.BAD.search(line) and not (node.kind is Kind.C and chaos.CROSSING.search(line)):
                yield f"{node.name}: {line}"


def measure(minutes: float, seed: int, logs: Path | None) -> list[str]:
    """Return the lines of the report. With ``logs``, leave the logs of all nodes in that directory."""
    with Lab() as lab:
        network = chaos.build(lambda *settings: Network(lab, settings), CAST.values(), *SETTINGS)
        zero = time.monotonic()
        pids = {name: pid for name in STEADY if (pid := network[name].pid()) is not None}
        watch = Watch(pids, zero)
        watch.start()
        pings = Pings(network)
        until = zero + minutes * 60 - END_RECOVERS_S - UNNOTICED_S
        done = list(faults(network, random.Random(seed), until))
        time.sleep(max(0.0, zero + minutes * 60 - time.monotonic()))
        watch.end()
        report, _ = chaos.report(pings.stop(), done, zero, CAST)
        lines = list(bad_lines(network))
        if logs is not None:
            for node in network:
                (logs / f"{node.name}.log").write_text(node.log())
    return [*report, "", *watch.rows(), "", f"{len(lines)} log lines that must not be there.", *lines[:100]]


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--logs", type=Path)
    options = parser.parse_args(words)
    ensure_root([sys.executable, *sys.argv])
    title = f"# A long run: {options.minutes:g} minutes, seed {options.seed}, commit {commit()}\n"
    report = "\n".join([title, *measure(options.minutes, options.seed, options.logs)]) + "\n"
    print(report)
    (options.results / "long_run.md").write_text(report)


if __name__ == "__main__":
    main()

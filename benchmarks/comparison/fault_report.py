"""The table of ``benchmarks/faults.py``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from comparison.fault_kinds import FAULTS
from comparison.fault_stand import GIVE_UP_S, Figures
from pytinc.lab.node import Kind

KINDS: Final = (Kind.C, Kind.PY)
"""In the order of the columns."""
HEAD: Final = """\
# Faults and attacks: tincd and pytincd

Made by `benchmarks/faults.py`, which says how. Each pair of figures is tincd | pytincd, measured one after
the other on a busy machine: compare them with each other only. Pings are sent every 10 ms, through the VPN,
to the node that has the fault; *back* is the time from the end of the fault to the last lost ping. CPU and
memory (the most RSS) are those of that node's daemon, from the fault to three seconds after it answers again.
"""
REASONS: Final = """
## Where pytinc does worse, and why

* **After a start** (kill, interface deleted, a peer that restarts): a Python daemon takes about a second
  of CPU time to start, which is three to four seconds when four others want the two cores. What is left
  of *back* is the time until the peer dials again: at random, up to five seconds.
* **Little memory**: 20,000 MACs take 20 MB in pytinc and 2.5 MB in tinc, so that 4 MiB are too little for
  one and enough for the other. pytinc keeps at most 16,384 of them. It logs the MemoryError and ends;
  systemd starts it again.
* **CPU**: 100 pings a second cost tinc one per cent of a core, and pytinc four or five. Floods cost both
  about the same, since what is dropped or copied costs pytinc little.
  The row of forged datagrams, for example: without the flood tinc takes 1.4 to 1.9 per cent and pytinc 5.3 to
  5.6, with it 8.4 to 9.4 and 13.1 to 13.4. So 20,000 forged datagrams a second cost tinc 7 and pytinc 8 per
  cent. Of the 4 µs that one takes in pytinc, reading it from the socket is most: 1.6 µs for the system call
  with the address as Python has it (recvmmsg, which Python lacks, would take 1.0). Finding out that it cannot
  be right takes 0.5; the rest is the kernel's.

What a full disk leaves behind, and a loop or a storm, is worse with tinc: it has no limit for broadcasts,
does not notice loops, and looks for stations in the wrong place for up to ten minutes after one
(`MACExpire`).
"""
COLUMNS: Final = """\
| Fault | pings lost | back, s | CPU, % of a core | memory, MB | load before | observed |
|---|---|---|---|---|---|---|"""


def median(runs: Sequence[Figures]) -> dict[str, Any]:
    """Return the medians of several runs as plain data; notes are those of the last run."""
    backs = [run.back_s for run in runs]
    return {
        "lost": round(statistics.median(run.lost for run in runs)),
        "back_s": None if None in backs else statistics.median(back for back in backs if back is not None),
        "cpu_percent": statistics.median(run.cpu_percent for run in runs),
        "memory_mb": statistics.median(run.memory_mb for run in runs),
        "notes": runs[-1].notes,
        "runs": [asdict(run) for run in runs],
    }


def table(report: dict[str, Any]) -> str:
    """Return the report as a page."""
    rows = [HEAD, f"{report['machine']}; {report['versions']['c']}; {report['versions']['py']}.\n", COLUMNS]
    for name, kind in FAULTS.items():
        row = report["faults"].get(name)
        if row is None:
            continue
        pair = [row[each.value] for each in KINDS]
        cells = [
            kind.title,
            " \\| ".join(str(each["lost"]) for each in pair),
            " \\| ".join(seconds(each["back_s"]) for each in pair),
            " \\| ".join(f"{each['cpu_percent']:.0f}" for each in pair),
            " \\| ".join(f"{each['memory_mb']:.0f}" for each in pair),
            row["load"].split()[0],
            observed(*pair),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n" + REASONS


def seconds(back: float | None) -> str:
    """Return a time as a cell."""
    return f"> {GIVE_UP_S:.0f}" if back is None else f"{back:.1f}"


def observed(one: dict[str, Any], two: dict[str, Any]) -> str:
    """Return the notes of both kinds."""
    if one["notes"] == two["notes"]:
        return "; ".join(one["notes"])
    return f"C: {'; '.join(one['notes']) or 'nothing'}. pytinc: {'; '.join(two['notes']) or 'nothing'}"

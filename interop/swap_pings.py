"""Pings from one client during the swap of several servers of one address: which are lost, and on which hop.

`SwapPings` pings the shared address and each server's own address at the same time, and records to which MAC
address each ping to the shared one went. So a lost ping is known to have gone to a server that was being
swapped just then, to another one, or to nobody. Used by ``interop/test_ansible_swap.py``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pytinc.lab.echo import EchoReport, ping
from pytinc.lab.namespaces import Host
from pytinc.lab.node import PATIENCE_S, wait_until

INTERVAL_S: Final = 0.05
LATE_S: Final = 5.0
_MANY: Final = 1_000_000
_REQUEST: Final = re.compile(r"> ([0-9a-f:]{17}), .*ICMP echo request, id \d+, seq (\d+)")


@dataclass(slots=True)
class Swap:
    """What was lost while one server was away, because its daemon was swapped."""

    start: float
    """When the last ping was sent that it answered before (monotonic clock)."""
    end: float
    """When the first one was sent that it answered afterwards."""
    own_lost: int
    """Pings to the server's own address in this time, which nobody else can answer."""
    other_lost: int
    """Pings to its own address at any other time, when it was not the one that was swapped."""
    shared_lost: dict[str, int] = field(default_factory=dict)
    """Pings to the shared address in this time, by where they went: ``itself``, a server, ``nobody``."""

    @property
    def seconds(self) -> float:
        """For how long the server was away, at most."""
        return self.end - self.start


class SwapPings:
    """Pings ``shared`` and the ``own`` addresses by name, in a ``with`` block; read the reports after it."""

    def __init__(self, client: Host, device: str, shared: str, own: Mapping[str, str], record: Path) -> None:
        self._client, self._device, self._shared, self._own = client, device, shared, own
        self._record = record
        self._enough = threading.Event()
        self._threads = ThreadPoolExecutor(1 + len(own))
        self._futures: dict[str, Future[EchoReport]] = {}
        self.reports: dict[str, EchoReport] = {}
        """By name; that of the shared address is its address."""

    def __enter__(self) -> Self:
        with self._record.open("w") as output:
            self._capture = self._client.spawn(
                "tcpdump", "-l", "-n", "-e", "-i", self._device, f"icmp and dst {self._shared}", output=output
            )
        wait_until(lambda: "listening on" in self._record.read_text(), PATIENCE_S, "tcpdump listens")
        for name, address in {self._shared: self._shared, **self._own}.items():
            self._futures[name] = self._threads.submit(
                ping, self._client, address, _MANY, interval=INTERVAL_S, wait=LATE_S, enough=self._enough
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        self._threads.shutdown()
        self._capture.terminate()
        self._capture.wait(PATIENCE_S)
        if error is None:
            self.reports = {name: future.result() for name, future in self._futures.items()}

    @property
    def shared(self) -> EchoReport:
        """The report of the shared address."""
        return self.reports[self._shared]

    def swaps(self, macs: Mapping[str, str]) -> dict[str, Swap]:
        """Return what was lost in the time of each server that was away once, by its name.

        ``macs`` has the server of each MAC address, those of before and after the swap.
        """
        went_to = {int(number): mac for mac, number in _REQUEST.findall(self._record.read_text())}
        swaps = {name: _swap(self.reports[name]) for name in self._own}
        for number, when in _lost_at(self.shared).items():
            server = macs.get(went_to[number], "a former holder") if number in went_to else "nobody"
            # The nearest swap: its server is away, or about to go.
            name = min(swaps, key=lambda name: max(swaps[name].start - when, when - swaps[name].end, 0.0))
            hop = "itself" if server == name else server
            lost_to = swaps[name].shared_lost
            lost_to[hop] = lost_to.get(hop, 0) + 1
        return swaps

    def table(self, macs: Mapping[str, str]) -> str:
        """Return all of it as lines of text."""
        lines = [f"{self._shared}: {self.shared.lost} of {self.shared.sent} pings lost"]
        for name, swap in self.swaps(macs).items():
            hops = ", ".join(f"{count} to {hop}" for hop, count in swap.shared_lost.items()) or "none"
            lines.append(
                f"{name}: away for {swap.seconds:.2f} s; of {self.reports[name].sent} pings to its own "
                f"address lost then {swap.own_lost}, at other times {swap.other_lost}; of those to "
                f"{self._shared} lost then: {hops}"
            )
        return "\n".join(lines)


def _swap(report: EchoReport) -> Swap:
    """Return the swap of the server that has sent these answers: the longest run of pings without any."""
    answered = [0, *sorted(report.answered_at), report.sent + 1]
    before, after = max(pairwise(answered), key=lambda pair: pair[1] - pair[0])
    lost = after - before - 1
    start, end = report.sent_at[max(before, 1)], report.sent_at[min(after, report.sent)]
    return Swap(start, end, lost, report.lost - lost)


def _lost_at(report: EchoReport) -> dict[int, float]:
    """Return when each request without an answer was sent, by its number."""
    return {number: when for number, when in report.sent_at.items() if number not in report.answered_at}

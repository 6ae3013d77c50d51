"""Measures how long a client is without its server: the gaps between answered pings and between connections.

`Watch` runs ``lab.probe`` on a host and collects the lines it prints in a `Trace`, which computes the gaps.
Used by ``benchmarks/failover.py`` and the demo.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Self, TypeVar

from pytinc.lab.namespaces import Host, LabError
from pytinc.lab.node import wait_until

Answer = TypeVar("Answer")

PATIENCE_S: Final = 1.0
"""A later answer does not count: no client waits so long for what a frozen daemon had in its buffer."""
STEADY_S: Final = 0.5
STEADY_SHARE: Final = 0.9
"""The server is back when it has answered this share of the pings for `STEADY_S`."""
FLIGHT_S: Final = 0.1
"""Pings that are younger than this are ignored, because their answers may still be under way."""
POLL_S: Final = 0.05


def longest_gap(times: Iterable[float], since: float, until: float) -> float:
    """Return the longest time between two successive ``times``, from the last one before ``since``.

    The gap after the last one ends at ``until``.
    """
    ordered = sorted(times)
    before = [time_ for time_ in ordered if time_ < since]
    after = [time_ for time_ in ordered if since <= time_ < until]
    points = [before[-1] if before else since, *after, until]
    return max(later - earlier for earlier, later in pairwise(points))


@dataclass
class Trace:
    """What a probe has printed: when each ping was sent and answered, by number, and all connections.

    A connection is a pair of the times when it was started and when its byte came back.
    """

    sent: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    connected: list[tuple[float, float]] = field(default_factory=list)

    def feed(self, line: str) -> None:
        """Take in a line that the probe printed. Raises LabError for any other line."""
        try:
            match line.split():
                case ["ping", number, when]:
                    self.sent[int(number)] = float(when)
                case ["pong", number, when]:
                    self.answered.setdefault(int(number), float(when))
                case ["tcp", started, ended]:
                    self.connected.append((float(started), float(ended)))
                case _:
                    raise ValueError
        except ValueError as error:
            raise LabError(f"the probe says: {line.strip()}") from error

    def in_time(self, number: int) -> bool:
        """Return whether a ping was answered within `PATIENCE_S`."""
        return number in self.answered and self.answered[number] - self.sent[number] <= PATIENCE_S

    def silence(self, since: float, until: float) -> float:
        """Return the longest time between the sending of two answered pings, from just before ``since``."""
        return longest_gap((when for number, when in self.sent.items() if self.in_time(number)), since, until)

    def wait(self, since: float, until: float) -> float:
        """Return the longest time between two answers, as a client sees it that waits for each of them."""
        return longest_gap(
            (when for number, when in self.answered.items() if self.in_time(number)), since, until
        )

    def lost(self, since: float, until: float) -> int:
        """Return how many pings got no answer in time. Those of the last `FLIGHT_S` do not count."""
        until -= FLIGHT_S
        return sum(
            since - FLIGHT_S <= when < until and not self.in_time(number)
            for number, when in self.sent.items()
        )

    def connection_gap(self, since: float, until: float) -> float:
        """Return the longest time between two connections that were made."""
        return longest_gap((ended for _, ended in self.connected), since, until)

    def steady(self, since: float, now: float) -> bool:
        """Return whether the server has answered pings and connections well in the last `STEADY_S`.

        Only those that started after ``since`` count.
        """
        until = now - FLIGHT_S
        start = until - STEADY_S
        if start < since:
            return False
        recent = [number for number, when in self.sent.items() if start <= when < until]
        good = sum(self.in_time(number) for number in recent)
        connects = any(start <= started for started, _ in self.connected)
        return bool(recent) and good >= STEADY_SHARE * len(recent) and connects


class Watch:
    """Runs a probe on a host and reads its lines. Use it in ``with``."""

    def __init__(self, host: Host, address: str, port: int) -> None:
        self._trace = Trace()
        self._lock = threading.Lock()
        self._trouble: LabError | None = None
        command = (sys.executable, "-m", "pytinc.lab.probe", "watch", address, str(port))
        self._process = subprocess.Popen(
            host.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the probe; its trace stays."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # The last line may be incomplete.
            if not line.endswith("\n"):
                break
            with self._lock:
                try:
                    self._trace.feed(line)
                except LabError as error:
                    self._trouble = self._trouble or error

    def ask(self, question: Callable[[Trace], Answer]) -> Answer:
        """Return ``question(trace)`` for the trace so far. Raises LabError if the probe has failed."""
        with self._lock:
            if self._trouble is not None:
                raise self._trouble
            return question(self._trace)

    def steady(self, since: float) -> bool:
        """Return whether the server answers well now, judged by what started after ``since``."""
        return self.ask(lambda trace: trace.steady(since, time.monotonic()))

    def wait_steady(self, since: float, timeout: float) -> float:
        """Wait until the server answers well, and return how many seconds that took."""
        return wait_until(lambda: self.steady(since), timeout, "the server answers", interval=POLL_S)


def serve(host: Host, port: int) -> None:
    """Start the server for the probe's connections; it runs until the host's processes are ended.

    Raises LabError if it does not start.
    """
    process = host.spawn(sys.executable, "-m", "pytinc.lab.probe", "serve", str(port))
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "listening\n":
        raise LabError(f"no server for the probe: {line}{process.stdout.read()}")

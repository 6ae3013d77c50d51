"""A program that acts as a bad network: it carries frames between two interfaces, loses some and delays some.

A kernel without netem can drop packets at random (nftables) but cannot reorder them. ``Lab.impair`` runs this
program in the switch's namespace, between a host's port and the bridge. The interfaces must hand over frames
as they are on a wire, with checksums and not joined. The frames must have no VLAN tags, because the kernel
would remove them.

`Impairment` decides which frames are lost or delayed, and knows no sockets; the rest carries the frames. Each
direction has random numbers of its own from one seed, so a second run with the same frames meets the same
faults.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

MAX_SHIFT: Final = 20
"""At most this many frames overtake a delayed one."""
HOLD_S: Final = 0.001
"""A delayed frame waits no longer than this, so that the last frame of a burst arrives as well."""
BATCH: Final = 64
"""How many frames are read from one side before the other has its turn."""
MAX_FRAME: Final = 65536
BUFFER_BYTES: Final = 8 << 20
"""The size of the receive buffer, so large that the kernel itself loses nothing."""
_ALL_PROTOCOLS: Final = 0x0003  # ETH_P_ALL
_SOL_PACKET: Final = 263
_IGNORE_OUTGOING: Final = 23  # PACKET_IGNORE_OUTGOING: do not read what we sent
_STATISTICS: Final = 6  # PACKET_STATISTICS: two numbers, how many came and how many of them were dropped
_RCVBUFFORCE: Final = 33
_IDLE_S: Final = 1.0


class Impairment:
    """Decides the fate of the frames of one direction. ``loss`` and ``reorder`` are shares from 0 to 1."""

    def __init__(self, loss: float, reorder: float, random_: random.Random) -> None:
        self._loss = loss
        self._either = loss + reorder
        self._random = random_
        self._held: list[tuple[int, float, bytes]] = []
        """Delayed frames, each with the count of carried frames and the time at which it goes on."""
        self.carried = 0
        self.lost = 0
        self.delayed = 0

    @property
    def deadline(self) -> float | None:
        """The time when the first of the delayed frames must go on, or None without any."""
        # All wait equally long, so the first has the earliest deadline.
        return self._held[0][1] if self._held else None

    def carry(self, frames: Sequence[bytes], now: float) -> list[bytes]:
        """Take frames that came in this order, and return those that leave now."""
        leaving: list[bytes] = []
        draw, loss, either = self._random.random, self._loss, self._either
        for frame in frames:
            self.carried += 1
            drawn = draw()
            if drawn < loss:
                self.lost += 1
            elif drawn < either:
                self.delayed += 1
                shift = self._random.randint(1, MAX_SHIFT)
                self._held.append((self.carried + shift, now + HOLD_S, frame))
                continue
            else:
                leaving.append(frame)
            if self._held:
                leaving += self.release(now)
        return leaving

    def release(self, now: float) -> list[bytes]:
        """Return the delayed frames that have waited long enough."""
        due = [frame for count, latest, frame in self._held if self.carried >= count or now >= latest]
        if due:
            self._held = [held for held in self._held if self.carried < held[0] and now < held[1]]
        return due


class Side:
    """An interface: whole frames are read from it and written to it."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setblocking(False)
        self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, BUFFER_BYTES)
        except PermissionError:  # in a user namespace the system's limit applies
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.bind((interface, _ALL_PROTOCOLS))
        self.overruns = 0
        """Frames that the kernel did not take: loss that was not asked for, on an overloaded machine."""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> list[bytes]:
        """Return up to `BATCH` frames."""
        frames: list[bytes] = []
        receive = self._socket.recv
        with contextlib.suppress(BlockingIOError):
            for _ in range(BATCH):
                frames.append(receive(MAX_FRAME))
        return frames

    def write(self, frames: Sequence[bytes]) -> None:
        """Send frames in this order."""
        send = self._socket.send
        for frame in frames:
            try:
                send(frame)
            except OSError:
                self.overruns += 1

    def dropped(self) -> int:
        """Return how many frames did not fit into the receive buffer since the last call."""
        packets_and_drops = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8)
        return int.from_bytes(packets_and_drops[4:8], "little")


class Carrier:
    """Carries frames between two interfaces, in both directions."""

    def __init__(self, interfaces: tuple[str, str], loss: float, reorder: float, seed: int) -> None:
        one, other = Side(interfaces[0]), Side(interfaces[1])
        self._sides = (one, other)
        self._ways = {
            one: (other, Impairment(loss, reorder, random.Random(f"{seed} there"))),
            other: (one, Impairment(loss, reorder, random.Random(f"{seed} back"))),
        }
        self.running = True

    def run(self) -> None:
        """Carry frames until `running` is False."""
        while self.running:
            deadlines = [way.deadline for _, way in self._ways.values() if way.deadline is not None]
            timeout = max(min(deadlines) - time.monotonic(), 0) if deadlines else _IDLE_S
            readable, _, _ = select.select(self._sides, (), (), timeout)
            now = time.monotonic()
            for side, (target, way) in self._ways.items():
                frames = side.read() if side in readable else []
                leaving = way.carry(frames, now)
                leaving += way.release(now)
                target.write(leaving)

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal: end `run`."""
        self.running = False

    def report(self) -> dict[str, int]:
        """Return the counts of frames, both directions together."""
        ways = [way for _, way in self._ways.values()]
        return {
            "carried": sum(way.carried for way in ways),
            "lost": sum(way.lost for way in ways),
            "delayed": sum(way.delayed for way in ways),
            "overruns": sum(side.overruns + side.dropped() for side in self._sides),
        }


def main(words: Sequence[str] | None = None) -> None:
    """Carry frames until SIGTERM comes, then print the counts as JSON."""
    parser = argparse.ArgumentParser(prog="python -m pytinc.lab.impair", description="Be a bad network.")
    parser.add_argument("interfaces", nargs=2, metavar="INTERFACE")
    parser.add_argument("--loss", type=float, default=0, help="per cent of the frames of each direction")
    parser.add_argument("--reorder", type=float, default=0, help="per cent that others overtake")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    one, other = options.interfaces
    try:
        carrier = Carrier((one, other), options.loss / 100, options.reorder / 100, options.seed)
    except OSError as error:
        parser.exit(1, f"cannot carry between {one} and {other}: {error.strerror}\n")
    signal.signal(signal.SIGTERM, carrier.stop)
    _tell("carrying")
    carrier.run()
    _tell(json.dumps(carrier.report()))


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

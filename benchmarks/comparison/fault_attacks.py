"""Attackers and noisy stations, each as a program that runs on a lab host until it is ended.

    python fault_attacks.py idle ADDRESS COUNT            connect so often, and say nothing
    python fault_attacks.py guests ADDRESS COUNT          slow invitation clients, and others that guess
    python fault_attacks.py forge ADDRESS NAME RATE       datagrams in the name of a node
    python fault_attacks.py macs INTERFACE COUNT RATE     broadcasts of so many stations
    python fault_attacks.py shout INTERFACE RATE          broadcasts of one station

It prints a line when it has begun. ``benchmarks/comparison/fault_kinds.py`` starts it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from pytinc.wire import b64
from pytinc.wire.datagram import NULL_ID, node_id

PORT: Final = 655
BURST_S: Final = 0.01
DRIP_S: Final = 1.0
GUESSES_PER_S: Final = 20
PAYLOAD: Final = 100
BROADCAST: Final = b"\xff" * 6
EXPERIMENTAL: Final = b"\x88\xb5"


def begun() -> None:
    """Tell that the attack has begun."""
    print("begun", flush=True)


def at_rate(rate: int, send: Callable[[int], object]) -> None:
    """Call ``send`` with the numbers from 0 on, so often a second, in bursts of a hundredth of a second."""
    begun()
    start, number = time.monotonic(), 0
    while True:
        while number < (time.monotonic() - start) * rate:
            # A flood is meant to fill the queue of the device.
            with contextlib.suppress(OSError):
                send(number)
            number += 1
        time.sleep(BURST_S)


def connect(address: str) -> socket.socket | None:
    """Connect to a daemon; None if it takes nobody now."""
    try:
        return socket.create_connection((address, PORT), timeout=0.1)
    except OSError:
        return None


def idle(address: str, count: int) -> None:
    """Hold connections open; those that are closed are opened again, one a second each."""
    held: list[socket.socket | None] = [connect(address) for _ in range(count)]
    begun()
    while True:
        time.sleep(DRIP_S)
        for number, connection in enumerate(held):
            if connection is None or is_closed(connection):
                held[number] = connect(address)


def is_closed(connection: socket.socket) -> bool:
    """Tell whether the other end has closed; its data is discarded."""
    connection.setblocking(False)
    try:
        return not connection.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True


def guests(address: str, count: int) -> None:
    """Connect as somebody with an invitation, a byte a second; meanwhile others guess keys and cookies."""
    greeting = f"0 ?{b64.encode(os.urandom(32))} 17.1\n".encode()
    slow: list[tuple[socket.socket | None, Iterator[int]]] = []
    slow = [(connect(address), iter(greeting)) for _ in range(count)]
    begun()
    while True:
        for number, (connection, rest) in enumerate(slow):
            byte = next(rest, None)
            if connection is None or byte is None or is_closed(connection):
                slow[number] = (connect(address), iter(greeting))
                continue
            with contextlib.suppress(OSError):
                connection.send(bytes((byte,)))
        for _ in range(GUESSES_PER_S):
            guess = connect(address)
            if guess is not None:
                with contextlib.suppress(OSError):
                    guess.send(greeting + b"\0\x41" + os.urandom(65))
                guess.close()
            time.sleep(DRIP_S / GUESSES_PER_S)


def forge(address: str, name: str, rate: int) -> None:
    """Send datagrams with the id of a node and the numbers that are likely next, but no key."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((address, PORT))
    head, rest = NULL_ID + node_id(name), os.urandom(PAYLOAD)
    at_rate(rate, lambda number: sender.send(head + (number % 4096).to_bytes(4, "big") + rest))


def open_interface(interface: str) -> socket.socket:
    """Return a socket that sends Ethernet frames through an interface."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    opened.bind((interface, 0))
    return opened


def macs(interface: str, count: int, rate: int) -> None:
    """Send a broadcast from each of many stations, again and again."""
    sender = open_interface(interface)

    def send(number: int) -> None:
        station = b"\x02\x01" + (number % count).to_bytes(4, "big")
        sender.send(BROADCAST + station + EXPERIMENTAL + bytes(46))

    at_rate(rate, send)


def shout(interface: str, rate: int) -> None:
    """Send broadcasts from one station, no two alike."""
    sender = open_interface(interface)
    head = BROADCAST + b"\x02\x02\0\0\0\1" + EXPERIMENTAL
    at_rate(rate, lambda number: sender.send(head + number.to_bytes(8, "big") + bytes(92)))


def main() -> None:
    """Run the attack of the command line."""
    match sys.argv[1:]:
        case ["idle", address, count]:
            idle(address, int(count))
        case ["guests", address, count]:
            guests(address, int(count))
        case ["forge", address, name, rate]:
            forge(address, name, int(rate))
        case ["macs", interface, count, rate]:
            macs(interface, int(count), int(rate))
        case ["shout", interface, rate]:
            shout(interface, int(rate))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

"""The cost of sealing and opening one record: microseconds for each 1,450-byte payload, median of rounds.

    .venv/bin/python benchmarks/micro_sptps.py

Compare only figures of the same run on the same machine; the last lines split the cost of one record.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cryptography
from cryptography.hazmat.primitives.poly1305 import Poly1305

from pytinc.crypto.aead import RecordCipher
from pytinc.crypto.keys import PrivateKey
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role
from pytinc.protocol.sptps.replay import ReplayWindow
from pytinc.wire.datagram import NULL_ID, PREFIX_SIZE, TYPE_MAC

T = TypeVar("T")

PAYLOAD_SIZE = 1450
RECORDS = 2000
ROUNDS = 9
BATCH = 40
"""About the number of records from one super-frame of 64 KB."""


def main() -> None:
    """Print one line for each operation."""
    print(
        f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}, "
        f"cryptography {cryptography.__version__}, commit {commit()}"
    )
    a, b = established()
    payloads = [os.urandom(PAYLOAD_SIZE)] * RECORDS
    prefix = NULL_ID + bytes(PREFIX_SIZE - len(NULL_ID))
    runs = [payloads[start : start + BATCH] for start in range(0, RECORDS, BATCH)]

    report("seal", lambda: None, lambda _: [a.seal(TYPE_MAC, payload) for payload in payloads])
    report(
        "open (receive)",
        lambda: [a.seal(TYPE_MAC, payload) for payload in payloads],
        lambda sealed: [b.receive(each) for each in sealed],
    )
    report(
        f"seal_batch of {BATCH}",
        lambda: None,
        lambda _: [a.seal_batch(prefix, TYPE_MAC, run) for run in runs],
    )
    report(
        f"open_batch of {BATCH}",
        lambda: [a.seal_batch(prefix, TYPE_MAC, run) for run in runs],
        lambda sealed: [b.open_batch(run, PREFIX_SIZE) for run in sealed],
    )
    report(
        "open_batch of garbage",
        lambda: [os.urandom(PAYLOAD_SIZE + 33)] * RECORDS,
        lambda garbage: b.open_batch(garbage, PREFIX_SIZE),
    )

    # Two pytinc nodes with FastTag; the same calls.
    b.accept_fast()
    report(
        "usual tag, fast one allowed",
        lambda: [a.seal_batch(prefix, TYPE_MAC, run) for run in runs],
        lambda sealed: [b.open_batch(run, PREFIX_SIZE) for run in sealed],
    )
    a.peer_accepts_fast = True
    report(
        "seal_batch, fast tag",
        lambda: None,
        lambda _: [a.seal_batch(prefix, TYPE_MAC, run) for run in runs],
    )
    report(
        "open_batch, fast tag",
        lambda: [a.seal_batch(prefix, TYPE_MAC, run) for run in runs],
        lambda sealed: [b.open_batch(run, PREFIX_SIZE) for run in sealed],
    )
    report(
        "open_batch of garbage, fast",
        lambda: [os.urandom(PAYLOAD_SIZE + 33)] * RECORDS,
        lambda garbage: b.open_batch(garbage, PREFIX_SIZE),
    )

    cipher, key, window = RecordCipher(os.urandom(64)), os.urandom(32), ReplayWindow(16)
    report("  RecordCipher.seal", lambda: None, lambda _: [cipher.seal(5, payload) for payload in payloads])
    report("  RecordCipher.seal_fast", lambda: None, lambda _: [cipher.seal_fast(5, p) for p in payloads])
    report("  Poly1305 alone", lambda: None, lambda _: [Poly1305.generate_tag(key, p) for p in payloads])
    report(
        "  replay window, in order",
        lambda: range(window.next, window.next + RECORDS),
        lambda numbers: [window.accept(number) for number in numbers],
    )


def report(name: str, prepare: Callable[[], T], run: Callable[[T], object]) -> None:
    """Time ``run`` on the result of ``prepare``, and print the cost of one of its RECORDS operations."""
    costs = []
    for _ in range(ROUNDS):
        prepared = prepare()
        start = time.perf_counter()
        run(prepared)
        costs.append((time.perf_counter() - start) / RECORDS * 1e6)
    print(f"{name:28} {statistics.median(costs):6.2f} µs   (best {min(costs):.2f})")


def established() -> tuple[DatagramSession, DatagramSession]:
    """Return two ends of a session whose keys are in force."""
    keys = [PrivateKey.from_seed(os.urandom(32)) for _ in range(2)]
    a = DatagramSession(Role.INITIATOR, keys[0], keys[1].public, b"benchmark", os.urandom)
    b = DatagramSession(Role.RESPONDER, keys[1], keys[0].public, b"benchmark", os.urandom)
    for kex_a, kex_b in zip(a.start(), b.start(), strict=True):
        b.receive(kex_a)
        a.receive(kex_b)
    b.receive(*a.take_output())
    a.receive(*b.take_output())
    assert a.can_send
    assert b.can_send
    return a, b


def commit() -> str:
    """Return the commit that is checked out."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


if __name__ == "__main__":
    main()

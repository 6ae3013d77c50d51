"""Faults of a node, as context managers: each one lasts as long as the ``with`` block."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pytinc.lab.node import Node

FREEZE_S = 5


def send_signal(node: Node, number: signal.Signals) -> None:
    pid = node.pid()
    assert pid is not None
    os.kill(pid, number)


@contextmanager
def cut_off(node: Node) -> Iterator[None]:
    lab = node.host.lab
    lab.cut_off(node.host)
    try:
        yield
    finally:
        lab.reconnect(node.host)


@contextmanager
def killed(node: Node) -> Iterator[None]:
    node.kill()
    try:
        yield
    finally:
        node.start()


@contextmanager
def stopped(node: Node) -> Iterator[None]:
    node.stop()
    try:
        yield
    finally:
        node.start()


@contextmanager
def frozen(node: Node) -> Iterator[None]:
    """Suspend a daemon with SIGSTOP, for at least `FREEZE_S` seconds."""
    start = time.monotonic()
    send_signal(node, signal.SIGSTOP)
    try:
        yield
        time.sleep(max(start + FREEZE_S - time.monotonic(), 0))
    finally:
        send_signal(node, signal.SIGCONT)


FAULTS = {"cut": cut_off, "kill": killed, "stop": stopped, "freeze": frozen}

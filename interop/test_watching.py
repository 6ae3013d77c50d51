"""What people see of a running network: its events while a failover happens.

    one, two, client ──> entry        all others connect to entry

``one`` and ``two`` have the same address; the client pings it all the time. ``entry`` runs tinc's daemon.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest

from faults import cut_off
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node
from shared_address import VIP4, addresses, entries, pinging, wait_guarded

# entry, one, two, client
CASTS = ("CPPP",)
ROLES = ("entry", "one", "two", "client")
Event = dict[str, Any]


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Iterator[Network]:
    if cast[1] is Kind.C:
        pytest.skip("tincd has no events")
    network = new_network()
    for number, (role, kind) in enumerate(zip(ROLES, cast, strict=True), 1):
        shared = [VIP4] if role in ("one", "two") else []
        network.add(role, kind, addresses(number, *shared), () if role == "entry" else ("entry",))
    network.exchange_keys()
    network.start()
    network.wait_converged()
    with pinging(network["client"].host, [VIP4]):
        wait_guarded(network, [VIP4])
        yield network


def holder(network: Network) -> str:
    """Return the node whose host the client uses."""
    mac = entries(network["client"].host, [VIP4])[VIP4]
    return next(node.name for node in network if node.mac == mac)


class Follower:
    """The command ``events --follow --json`` on a node, read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: Queue[str] = Queue()
        self.events: list[Event] = []
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def wait_for(self, kind: str, **fields: object) -> Event:
        """Return the first event of this kind with these fields; fail after a minute."""
        wanted = {"kind": kind, **fields}
        seen, end = 0, time.monotonic() + PATIENCE_S
        while True:
            for event in self.events[seen:]:
                if wanted.items() <= event.items():
                    return event
            seen = len(self.events)
            try:
                line = self._lines.get(timeout=max(end - time.monotonic(), 0))
            except Empty:
                pytest.fail(f"no {wanted} within {PATIENCE_S} s, but {self.events}")
            self.events.append(json.loads(line))


@contextmanager
def following(node: Node, *words: str) -> Iterator[Follower]:
    """Follow the events of a node while the block runs."""
    words = (node.tinc_program, *node.globals, "events", "--follow", "--json", *words)
    process = node.host.spawn(*words, output=subprocess.PIPE)
    try:
        yield Follower(process)
    finally:
        process.kill()
        process.wait()


def test_the_events_since_the_start_tell_how_the_network_came_up(network: Network) -> None:
    with following(network["client"]) as client:
        start = client.wait_for("start")
        assert (start["seq"], start["name"]) == (1, "client")
        client.wait_for("script", name="tinc-up", status=0)
        client.wait_for("connection-up", node="entry", dialled=True)
        for node in ("entry", "one", "two"):
            client.wait_for("node-up", node=node)
        client.wait_for("path", node="entry", path="udp")
    numbers = [event["seq"] for event in client.events]
    assert numbers == list(range(1, len(numbers) + 1))
    text = network["client"].tinc("events").stdout
    assert "start           pytincd" in text
    assert "entry: UDP, before " in text


def test_a_failover_is_told_while_it_happens_with_its_times(network: Network) -> None:
    client = network["client"]
    gone = holder(network)
    other = "two" if gone == "one" else "one"
    last = json.loads(client.tinc("events", "--json").stdout.splitlines()[-1])["seq"]
    with following(client, "--since", str(last)) as follower:
        with cut_off(network[gone]):
            began = time.time()
            silent = follower.wait_for("silent", node=gone)
            failover = follower.wait_for("failover", address=VIP4, from_node=gone)
            seen = time.time()
        follower.wait_for("answers", node=gone)
    assert all(event["seq"] > last for event in follower.events)
    assert began - 1 < silent["time"] <= failover["time"] < seen
    assert (failover["reason"], failover["to_node"]) == ("silent", other)
    stretches = [failover[name] for name in ("silence_ms", "detection_ms", "healing_ms")]
    assert failover["total_ms"] == sum(stretches)
    assert failover["total_ms"] < (failover["time"] - began + 1) * 1000
    print(f"silence, detection, healing: {stretches} ms")


def test_a_c_daemon_is_said_to_have_no_events(network: Network) -> None:
    entry, program = network["entry"], network["client"].tinc_program
    done = entry.host.run(program, *entry.globals, "events", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "This daemon does not report events: it is not pytinc's, or an older one.\n"


def test_requests_and_runs_of_the_graph_are_counted(network: Network) -> None:
    told = json.loads(network["client"].tinc("info", "--json", "client").stdout)["daemon"]
    assert told["graph_runs"] > 0
    assert told["requests_in"]["ADD_EDGE"] >= 3
    assert told["requests_out"]["ACK"] >= 1

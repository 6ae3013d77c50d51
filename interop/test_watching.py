"""The view of a running network for people: events of a failover, `top` on a terminal, owners of addresses.

    one, two, client ──> entry        all others connect to entry

``one`` and ``two`` have the same address; the client pings it all the time. ``entry`` runs tinc's daemon.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest

from cli.terminal import Terminal
from faults import cut_off
from pytinc.lab.echo import ping
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node
from shared_address import VIP4, addresses, entries, own, pinging, wait_guarded

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


# -- top --


def test_top_shows_paths_rates_addresses_and_events(network: Network) -> None:
    client = network["client"]
    command = client.host.command(client.tinc_program, *client.globals, "top")
    with Terminal(command, os.environ) as screen:

        def row(name: str) -> list[str]:
            return next((line.split() for line in screen.lines if line.startswith(f"{name} ")), [""] * 9)

        def number(name: str, column: int) -> int:
            """Return the number there; 0 as long as the row is half drawn."""
            values = row(name)[column : column + 1]
            return int(values[0]) if values and values[0].isdecimal() else 0

        # The line at the bottom is drawn last.
        lines = screen.wait_for(
            lambda lines: (
                row("one")[1] == "UDP" and row("client")[1] == "self" and lines[-1].endswith("h help  q quit")
            )
        )
        assert lines[0].startswith("Tinc ")
        assert f"shared {VIP4}: " in lines[1]
        # The pings go to one of the two, 98 bytes every 50 ms.
        used = holder(network)
        screen.wait_for(lambda lines: all(number(used, column) > 1000 for column in (4, 5)))
        screen.wait_for(lambda lines: number(used, 6) >= 1)  # it has a MAC address
        screen.press("2")
        screen.wait_for(
            lambda lines: all(f"{node} " in "\n".join(lines) for node in ROLES) and "<->" in lines[3]
        )
        screen.press("3")
        screen.wait_for(lambda lines: any(line.startswith(VIP4) for line in lines))
        screen.wait_for(lambda lines: any(line.split()[:2] == [used, "alive"] for line in lines))
        screen.press("4")
        screen.wait_for_text("entry (")
        other = "two" if used == "one" else "one"
        with cut_off(network[used]):
            screen.wait_for_text(f"led from {used} (silent) to {other}: silence ")
        screen.wait_for_text(f"{used} answers again")
        screen.press("q")
        assert screen.process.wait(60) == 0


def test_top_shows_what_a_c_daemon_tells(network: Network) -> None:
    entry, program = network["entry"], network["client"].tinc_program
    with Terminal(entry.host.command(program, *entry.globals, "top"), os.environ) as screen:
        screen.wait_for(lambda lines: any(line.split()[:2] == ["one", "UDP"] for line in lines))
        screen.press("2")
        screen.wait_for_text("<->")
        screen.press("3")
        screen.wait_for_text("not pytinc's")
        screen.press("4")
        screen.wait_for_text("not pytinc's")
        screen.press("1d")
        screen.wait_for_text("OUT pkts  OUT bytes")
        screen.press("q")
        assert screen.process.wait(60) == 0


# -- info ADDRESS --


@pytest.mark.parametrize("version", [4, 6])
def test_info_finds_the_owner_of_an_address_once_it_was_pinged(network: Network, version: int) -> None:
    client, one, two = network["client"], network["one"], network["two"]
    for node in (one, two):
        address = own(node, version)
        assert ping(client.host, address, count=3).lost < 3
        # The guard knows it as well, and tells more; the kernel is asked where it does not.
        told = client.tinc("info", address).stdout
        assert re.search(rf"^(Owner|Held by): +{node.name}\b", told, re.MULTILINE), told
    address = own(client, version)
    assert "client" in client.tinc("info", address).stdout


def test_info_asks_the_neighbour_table_of_a_host_without_a_guard(network: Network) -> None:
    entry, program = network["entry"], network["client"].tinc_program
    address = own(network["two"])
    info = partial(entry.host.run, program, *entry.globals, "info", check=False)
    unknown = info("10.1.1.77")
    assert unknown.stderr.startswith("Unknown address 10.1.1.77.\nIn switch mode nodes own MAC addresses")
    assert ping(entry.host, address, count=3).lost < 3
    done = info(address)
    assert "Owner:  two\nFound:  neighbour table of this host, interface vpn\n" in done.stdout
    assert ping(entry.host, own(network["one"], 6), count=3).lost < 3
    told = json.loads(info("--json", own(network["one"], 6)).stdout)
    assert (told["mac"], told["interface"]) == (network["one"].mac, "vpn")
    assert [each["owner"] for each in told["subnets"]] == ["one"]
    assert "Owner:  two\n" in info(network["two"].mac).stdout
    assert "Owner:  entry\nFound:  this host's own address, interface vpn\n" in info(own(entry)).stdout
    assert ping(entry.host, "10.1.1.77", wait=4).lost == 1
    assert "No host answers for it on interface vpn." in info("10.1.1.77").stderr

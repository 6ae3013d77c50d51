"""The cost of `pytinc view` for a daemon: CPU time with 300 nodes in its tables.

    .venv/bin/python -m pytinc.lab .venv/bin/python benchmarks/view_cost.py [--nodes 300] [--seconds 60]

A real pytincd runs on a host of the lab. A peer logs in over a real meta connection and announces the other
nodes, with two links and a subnet each. The CPU time of the daemon is taken from the kernel, first without a
watcher, then while one watcher takes the stream of `pytinc view`, which asks once a second. The difference is
the cost of watching.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

from browser import viewing
from fuzz_stand import KEY, NAME, OPTIONS, PORT, Attacker
from pytinc.lab.namespaces import Lab
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SETTLE_S = 5


class Neighbour:
    """A peer that has announced a mesh behind it, and keeps its connection."""

    def __init__(self, attacker: Attacker, nodes: int) -> None:
        self._attacker = attacker
        self._ended = threading.Event()
        rng = random.Random(1)
        attacker._do("login", b"")
        attacker._do("edge", b"")
        names = [NAME, *(f"node_{number}" for number in range(nodes - 2))]
        for number, name in enumerate(names[1:], 1):
            for other in {names[(number - 1) // 20 * 20], rng.choice(names[:number])}:
                for one, two in ((name, other), (other, name)):
                    attacker.meta.send_line(
                        f"12 {rng.getrandbits(31):x} {one} {two} 198.51.100.{number % 250 + 1} {PORT} "
                        f"{OPTIONS:x} 10"
                    )
            mac = f"02:00:00:00:{number >> 8:x}:{number & 255:x}"
            attacker.meta.send_line(f"10 {rng.getrandbits(31):x} {name} {mac}#10")
            attacker._pump()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while not self._ended.is_set():
            self._attacker._pump()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._attacker.close()


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has had, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def share(pid: int, seconds: float) -> float:
    """Return the part of a core that a process takes."""
    begin, before = time.monotonic(), cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - before) / (time.monotonic() - begin)


@contextmanager
def watched(node: Node) -> Iterator[tuple[int, list[int]]]:
    """Have one watcher; yields the pid of the page's server, and a list with the number of bytes it gets."""
    with viewing(node.pidfile) as (url, process):
        place = urlsplit(url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE_S)
        connection.request("GET", f"/?{place.query}")
        with connection.getresponse() as answer:
            cookie = str(answer.headers["set-cookie"]).partition(";")[0]
            page = answer.headers["location"]
            answer.read()
        connection.request("GET", f"{page}stream", headers={"Cookie": cookie})
        stream, got = connection.getresponse(), [0]
        ended = threading.Event()

        def read() -> None:
            while not ended.is_set():
                got[0] += len(stream.readline())

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield process.pid, got
        finally:
            ended.set()
            thread.join()
            stream.close()
            connection.close()


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with Lab() as lab:
        network = Network(lab)
        node = network.add("watched", Kind.PY)
        (node.confbase / "hosts" / NAME).write_text(f"Ed25519PublicKey = {KEY.public.text}\n")
        node.start()
        peer = Neighbour(Attacker(lab.host("peer"), node, 1), options.nodes)
        pid = node.pid()
        assert pid is not None

        def is_known() -> bool:
            return sum(view.reachable for view in node.nodes().values()) == int(options.nodes)

        wait_until(is_known, PATIENCE_S, "the daemon knows all nodes")
        time.sleep(SETTLE_S)
        alone = share(pid, options.seconds)
        with watched(node) as (server, got):
            time.sleep(SETTLE_S)
            before = got[0]
            server_before = cpu_s(server)
            seen = share(pid, options.seconds)
            bytes_a_second = (got[0] - before) / options.seconds
            server_share = (cpu_s(server) - server_before) / options.seconds
        peer.close()
    print(f"{options.nodes} nodes, {options.seconds:.0f} s each")
    print(f"daemon alone    {alone:.2%} of a core")
    print(f"daemon watched  {seen:.2%} of a core")
    print(f"watching costs  {seen - alone:.2%}")
    print(f"page's server   {server_share:.2%} of a core, {bytes_a_second:.0f} bytes a second to the browser")


if __name__ == "__main__":
    main()

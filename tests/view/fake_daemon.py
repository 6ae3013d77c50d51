"""A daemon's control socket with a mesh that is made up: any number of nodes, and any events.

It speaks the real protocol over a real socket, so that the page's server does not know the difference. It is
for what no laboratory can have: hundreds of nodes, names that no daemon accepts, and a daemon that hangs.
"""

from __future__ import annotations

import json
import math
import random
import socketserver
import threading
import time
from pathlib import Path
from typing import Any, Final

from pytinc.control.messages import (
    CONTROL,
    NOT_IMPLEMENTED,
    ConnectionRow,
    EdgeRow,
    Greeting,
    NodeRow,
    Request,
    SubnetRow,
    format_end,
    parse_hello,
    parse_request,
)
from pytinc.control.shared import CLIENT_FIELDS, COUNTERS
from pytinc.control.statistics import DROPS
from pytinc.control.vips import CHECK_FIELDS
from pytinc.wire.address import UNSPEC, Address

COOKIE: Final = "AB" * 32
EVENTS: Final = 4100
OPTIONS: Final = 0x700000C


class FakeMesh:
    """What the daemon would know: a ring of hubs with leaves, traffic that rises and falls."""

    def __init__(self, nodes: int, *, seed: int = 1, tincd: bool = False) -> None:
        self.random = random.Random(seed)
        self.tincd = tincd
        self.began = time.time()
        self.names = [f"node_{number}" for number in range(nodes)]
        self.hubs = max(1, round(math.sqrt(nodes) / 1.5))
        self.links: list[tuple[int, int]] = []
        for number in range(1, nodes):
            if number < self.hubs:
                self.links += [(number, number - 1)]
            else:
                self.links += [(number, number % self.hubs)]
            if number % 3 == 0:
                self.links += [(number, self.random.randrange(number))]
        self.links = sorted({(a, b) for a, b in self.links if a != b})
        self.unreachable: set[int] = set()
        self.relayed = {number for number in range(self.hubs, nodes) if number % 7 == 3}
        self.tcp = {number for number in range(1, nodes) if number % 11 == 5}
        self.activity = [self.random.paretovariate(0.7) for _ in self.names]
        self.events: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        self.hangs = threading.Event()
        """While it is set, nothing is answered, as by a process that is stopped."""
        self.asked: list[Request] = []
        """The requests so far."""
        self.shared: list[dict[str, Any]] = []
        self.vips: list[dict[str, Any]] = []

    def tell(self, kind: str, **fields: Any) -> None:
        """Add an event."""
        with self.changed:
            seq = len(self.events) + 1
            self.events.append({"seq": seq, "time": time.time(), "kind": kind, **fields})
            self.changed.notify_all()

    def bytes_of(self, number: int, now: float) -> int:
        """Return how many bytes a node has sent so far."""
        age = now - self.began + 600
        wave = age + 20 * math.sin(age / 7 + number)
        return int(self.activity[number] * 900 * wave)

    def rtt_us(self, number: int, now: float) -> int:
        """Return a round trip time."""
        base = 300 + 240 * (number % 97) * (1 + number % 5)
        return int(base * (1 + 0.2 * math.sin(now / 3 + number)))

    def via(self, number: int) -> int:
        """Return the hub through which a node is reached."""
        return max(1, number % self.hubs)

    @staticmethod
    def _address(number: int) -> Address:
        return Address(f"192.0.2.{number % 250 + 1}", "655")

    # -- rows --

    def nodes(self) -> list[str]:
        """Return the rows of DUMP_NODES."""
        now = time.time()
        rows = []
        for number, name in enumerate(self.names):
            up = number not in self.unreachable
            direct = number not in self.relayed
            by_udp = number not in self.tcp
            rows.append(
                NodeRow(
                    name=name,
                    node_id=f"{number:012x}",
                    address=Address("MYSELF" if number == 0 else f"192.0.2.{number % 250 + 1}", "655"),
                    options=OPTIONS,
                    status=(0xD2 if by_udp else 0x52) if up else 0,
                    nexthop=(name if direct else self.names[self.via(number)]) if up else "-",
                    via=(name if direct else self.names[self.via(number)]) if up else "-",
                    distance=(0 if number == 0 else 1 if direct else 2) if up else -1,
                    pmtu=1459 if by_udp else 0,
                    min_mtu=1459 if by_udp and up else 0,
                    max_mtu=1459,
                    last_state_change=int(self.began) - 60 * number,
                    rtt_us=self.rtt_us(number, now) if by_udp and up and number else -1,
                    rx_packets=self.bytes_of(number, now) // 400,
                    rx_bytes=self.bytes_of(number, now),
                    tx_packets=self.bytes_of(number + 1 if number + 1 < len(self.names) else 0, now) // 400,
                    tx_bytes=self.bytes_of(number, now) // 3,
                ).format()
            )
        return rows

    def edges(self) -> list[str]:
        """Return the rows of DUMP_EDGES: both edges of each link."""
        return [
            EdgeRow(self.names[a], self.names[b], self._address(b), UNSPEC, OPTIONS, 10)
            .format()
            for one, other in self.links
            if one not in self.unreachable and other not in self.unreachable
            for a, b in ((one, other), (other, one))
        ]  # fmt: skip

    def subnets(self) -> list[str]:
        """Return the rows of DUMP_SUBNETS."""
        return [
            SubnetRow(f"2:0:0:0:{number >> 8:x}:{number & 255:x}", name).format()
            for number, name in enumerate(self.names)
        ]

    def connections(self) -> list[str]:
        """Return the rows of DUMP_CONNECTIONS."""
        others = [a + b for a, b in self.links if 0 in (a, b)]
        return [
            ConnectionRow(self.names[number], Address("192.0.2.1", "655"), OPTIONS, 9, 0x2).format()
            for number in others
        ]

    def statistics(self) -> list[str]:
        """Return the rows of DUMP_STATISTICS."""
        now = time.time()
        age = int(now - self.began)
        told = {"ADD_EDGE": 40 * len(self.names) + 3 * age, "DEL_EDGE": age, "PING": age}
        daemon = {
            "uptime_s": age + 600, "connections": 3, "macs": len(self.names), "own_macs": 1,
            "macs_learned": 1, "macs_moved": 0, "macs_claimed": 0, "frames_returned": 0,
            "lag_max_us": 2100, "lag_mean_us": 90, "device_offloads": [], "udp_offloads": [],
            "drops": {**dict.fromkeys(DROPS, 0), "unreachable": 17, "not_authentic": 3 * age, "storm": 5},
            "requests_in": told, "requests_out": told, "graph_runs": 40 + age,
        }  # fmt: skip
        rows = [_row(Request.DUMP_STATISTICS, "daemon", daemon)]
        for number, name in enumerate(self.names):
            up = number not in self.unreachable
            path = (
                "self" if number == 0 else "none" if not up else "relayed" if number in self.relayed
                else "tcp" if number in self.tcp else "udp"
            )  # fmt: skip
            node = {
                "name": name, "path": path, "pmtu": 1459 if path in ("udp", "relayed") else None,
                "relay": self.names[self.via(number)] if path == "relayed" else None,
                "rtt_us": self.rtt_us(number, now) if path == "udp" else None, "key_age_s": age,
                "fast_tag_sending": True, "fast_tag_accepting": True, "super_frames_sending": False,
                "super_frames_accepting": False, "runs_pytinc": number % 3 != 1, "macs": 1,
                "rx_packets": 0, "rx_bytes": 0, "tx_packets": 0, "tx_bytes": 0,
                "drops": {"no_key": number} if number % 50 == 7 else {},
            }  # fmt: skip
            rows.append(_row(Request.DUMP_STATISTICS, "node", node))
        return rows

    def shared_rows(self) -> list[str]:
        """Return the rows of DUMP_SHARED."""
        guard = {"enabled": True, "interval_ms": 50, "watched": 2, "last_failover_ms": 312,
                 "addresses_total": len(self.shared), **dict.fromkeys(COUNTERS, 0)}  # fmt: skip
        rows = [_row(Request.DUMP_SHARED, "guard", guard)]
        return rows + [_row(Request.DUMP_SHARED, "address", each) for each in self.shared]

    def vip_rows(self) -> list[str]:
        """Return the rows of DUMP_VIPS."""
        policy = {"draining": False, "addresses_total": len(self.vips)}
        rows = [_row(Request.DUMP_VIPS, "policy", policy)]
        return rows + [_row(Request.DUMP_VIPS, "address", each) for each in self.vips]

    def add_addresses(self) -> None:
        """Have a virtual IP with three members and clients, and an address that two nodes share."""
        one, two, three = self.names[1], self.names[2], self.names[3]

        def mac(number: int) -> str:
            return f"02:00:00:00:00:{number:02x}"

        def client(number: int, holder: int) -> dict[str, Any]:
            values = {"mac": mac(40 + number), "address": f"10.1.1.{140 + number}",
                      "node": self.names[4 + number], "holder": mac(holder),
                      "idle_ms": 400 * number}  # fmt: skip
            return {name: values[name] for name in CLIENT_FIELDS}

        def holder(number: int, state: str, rtt: int | None, clients: int) -> dict[str, Any]:
            return {"mac": mac(number), "node": self.names[number], "state": state, "rtt_us": rtt,
                    "answered_ms": 700, "clients": clients}  # fmt: skip

        failover = {"ago_ms": 8000, "reason": "silent", "from_node": three, "to_node": one,
                    "silent_ms": 290, "took_ms": 312, "clients": 3}  # fmt: skip
        self.shared = [
            {"address": "10.1.1.10", "shared": True, "holders_total": 2,
             "holders": [holder(1, "alive", 420, 3), holder(3, "silent", None, 0)], "clients_total": 3,
             "clients": [client(number, 1) for number in range(3)], "failover": failover},
            {"address": "fd00:1::10", "shared": True, "holders_total": 2,
             "holders": [holder(1, "alive", 420, 1), holder(2, "unwatched", None, 1)], "clients_total": 2,
             "clients": [client(0, 1), client(1, 2)], "failover": None},
        ]  # fmt: skip

        def member(name: str, state: str, priority: int, flows: int | None, *, alive: bool = True) -> Any:
            return {"node": name, "state": state, "priority": priority, "heard_ms": 80, "alive": alive,
                    "balance": "flow", "weight": 1, "guardian": two if name == three else None,
                    "clients": None, "flows": flows}  # fmt: skip

        check = {"check": "http http://10.1.1.20/health", "node": None, "well": True, "detail": "status 200",
                 "took_us": 2300, "since_ms": 421000}  # fmt: skip
        bad = {**check, "check": "tcp 10.1.1.20:5432", "node": three, "well": False,
               "detail": "connection refused", "since_ms": 9000}  # fmt: skip
        self.vips = [
            {"address": "10.1.1.20", "owner": one, "state": "backup", "term": 4, "frozen": False,
             "balance": "flow", "preempt_ms": 3000, "held_ms": 0, "members_total": 3,
             "members": [member(one, "active", 200, 41), member(two, "active", 150, 38),
                         member(three, "fault", 100, 0, alive=False)],
             "checks": [{name: each[name] for name in CHECK_FIELDS} for each in (check, bad)],
             "clients": 7,
             "transitions": [{"ago_ms": 8000, "state": "backup", "owner": one,
                              "reason": f"{three} is silent"}]},
        ]  # fmt: skip


def _row(request: Request, kind: str, values: dict[str, Any]) -> str:
    return f"{CONTROL} {request:d} {kind} {json.dumps(values)}"


class FakeDaemon:
    """Serves a mesh at a control socket in a directory, with a pid file, while the ``with`` block runs."""

    def __init__(self, directory: Path, mesh: FakeMesh) -> None:
        self.mesh = mesh
        self.pidfile = directory / "pid"
        self.socket = directory / "pid.socket"
        self._server: socketserver.ThreadingUnixStreamServer | None = None
        self.pid = 4242

    def __enter__(self) -> FakeDaemon:
        mesh, pid = self.mesh, self.pid
        self.pidfile.write_text(f"{pid} {COOKIE} 127.0.0.1 port 655\n")

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                _serve(self, mesh, pid)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self.socket.unlink(missing_ok=True)
        self._server = Server(str(self.socket), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self.socket.unlink(missing_ok=True)


def _serve(handler: socketserver.StreamRequestHandler, mesh: FakeMesh, pid: int) -> None:
    def send(*lines: str) -> None:
        handler.wfile.write("".join(f"{line}\n" for line in lines).encode())

    try:
        if parse_hello(handler.rfile.readline().decode().strip()) != COOKIE:
            return
        send(Greeting(mesh.names[0], 7, pid).format())
        while line := handler.rfile.readline().decode().strip():
            while mesh.hangs.is_set():
                time.sleep(0.05)
            number, words = parse_request(line)
            if number == EVENTS and not mesh.tincd:
                _follow(send, mesh, int(words[0]))
                continue
            _dump(send, mesh, number)
    except OSError:
        return  # the client has left


def _dump(send: Any, mesh: FakeMesh, number: int) -> None:
    rows_of = {
        Request.DUMP_NODES: mesh.nodes,
        Request.DUMP_EDGES: mesh.edges,
        Request.DUMP_SUBNETS: mesh.subnets,
        Request.DUMP_CONNECTIONS: mesh.connections,
    }
    if not mesh.tincd:
        rows_of |= {
            Request.DUMP_STATISTICS: mesh.statistics,
            Request.DUMP_SHARED: mesh.shared_rows,
            Request.DUMP_VIPS: mesh.vip_rows,
        }
    known = {int(request): make for request, make in rows_of.items()}
    if number not in known:
        send(NOT_IMPLEMENTED)
        return
    mesh.asked.append(Request(number))
    send(*known[number](), format_end(number))


def _follow(send: Any, mesh: FakeMesh, since: int) -> None:
    last = len(mesh.events)
    send(f"{CONTROL} {EVENTS} ring {json.dumps({'started': mesh.began, 'first': 1, 'last': last})}")
    sent = since if since <= last else 0
    while True:
        with mesh.changed:
            new = mesh.events[sent:]
            if not new:
                mesh.changed.wait(0.2)
                new = mesh.events[sent:]
        if new:
            send(*(f"{CONTROL} {EVENTS} event {json.dumps(event)}" for event in new))
        sent += len(new)

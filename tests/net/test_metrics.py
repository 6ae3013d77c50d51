"""The listener for Prometheus: its text, and misbehaving clients."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from net.daemon_stats import BETA, daemon, peer
from pytinc.errors import DeviceError
from pytinc.net import metrics
from pytinc.net.metrics import MetricsServer, bind_metrics_socket, exposition, require_library
from pytinc.net.statistics import DaemonStats
from pytinc.net.timers import Lag
from pytinc.node.path_kind import PathKind
from pytinc.vip.views import (
    CheckView,
    GuardCounters,
    GuardSummary,
    MemberState,
    MemberView,
    PolicyView,
    VirtualIpView,
)
from pytinc.wire.address import Address

if TYPE_CHECKING:
    from net.conftest import OnLoop

ANYWHERE = Address("127.0.0.1", "0")


async def until(condition: Callable[[], object]) -> None:
    """Poll for a condition that has no event."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Parse the text with the library's own parser: name and labels (by name) to value."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found[sample.name, *(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


# -- the text --


def test_all_statistics_are_exported() -> None:
    found = samples(exposition(daemon(BETA, peer("gamma", PathKind.NONE))))
    assert found["pytinc_uptime_seconds",] == 12.5
    assert found["pytinc_loop_lag_max_seconds",] == 0.25
    assert found["pytinc_macs_moved_total",] == 2
    assert found["pytinc_macs_claimed_total",] == 3
    assert found["pytinc_frames_returned_total",] == 7
    assert found["pytinc_graph_runs_total",] == 6
    assert found["pytinc_meta_requests_total", "in", "ADD_EDGE"] == 12
    assert found["pytinc_dropped_packets_total", "no_key"] == 4
    assert found["pytinc_dropped_packets_total", "oversized"] == 0
    assert found["pytinc_device_received_bytes_total",] == 1000
    assert found["pytinc_peer_rtt_seconds", "beta"] == 0.0015
    assert found["pytinc_peer_pmtu_bytes", "beta"] == 1439
    assert found["pytinc_peer_key_age_seconds", "beta"] == 60
    assert found["pytinc_peer_fast_tag_sending", "beta"] == 0
    assert found["pytinc_peer_fast_tag_accepting", "beta"] == 1
    assert found["pytinc_peer_super_frames_sending", "beta"] == 1
    assert found["pytinc_peer_super_frames_accepting", "beta"] == 0
    assert found["pytinc_peer_sent_packets_total", "gamma"] == 20
    offloads = {key[1:] for key, value in found.items() if key[0] == "pytinc_offload" and value == 1}
    assert offloads == {("TSO4", "device"), ("checksum", "device"), ("GSO", "udp")}
    assert (found["pytinc_peer_reachable", "beta"], found["pytinc_peer_reachable", "gamma"]) == (1, 0)


def test_a_peer_has_one_of_several_paths() -> None:
    found = samples(exposition(daemon(BETA)))
    paths = {key[1]: value for key, value in found.items() if key[0] == "pytinc_peer_path"}
    assert paths == {"udp": 1, "relayed": 0, "tcp": 0, "none": 0}


def test_an_unknown_value_has_no_sample() -> None:
    found = samples(exposition(daemon(peer("gamma", PathKind.NONE), lag=Lag(0, 0.0, 0.0))))
    names = {key[0] for key in found}
    assert not names & {"pytinc_peer_rtt_seconds", "pytinc_peer_pmtu_bytes", "pytinc_peer_key_age_seconds"}
    assert not any("fast_tag" in name for name in names)
    assert not any("lag" in name for name in names)


def test_the_own_node_is_no_peer_and_unused_reasons_have_no_series() -> None:
    found = samples(exposition(daemon(BETA)))
    assert not [key for key in found if key[0].startswith("pytinc_peer") and "alpha" in key]
    assert [key for key in found if key[0].startswith("pytinc_peer_dropped")] == [
        ("pytinc_peer_dropped_packets_total", "beta", "no_key")
    ]


def test_the_guard_is_exported() -> None:
    counters = GuardCounters(
        failovers=3, suspicions=9, false_suspicions=6, probes=500, probe_bytes=40000, questions=7
    )
    found = samples(exposition(daemon(guard=GuardSummary(4, 2, 0.412, counters))))
    assert found["pytinc_failovers_total",] == 3
    assert found["pytinc_last_failover_seconds",] == 0.412
    assert found["pytinc_suspicions_total",] == 9
    assert found["pytinc_false_suspicions_total",] == 6
    assert found["pytinc_watched_peers",] == 4
    assert found["pytinc_guard_probes_total",] == 500
    assert found["pytinc_guard_probe_bytes_total",] == 40000
    assert found["pytinc_guard_questions_total",] == 7
    assert found["pytinc_shared_addresses",] == 2


def test_there_is_no_failover_duration_before_the_first_failover() -> None:
    found = samples(exposition(daemon()))
    assert found["pytinc_failovers_total",] == 0
    assert ("pytinc_last_failover_seconds",) not in found


MEMBERS = (
    MemberView("alpha", MemberState.DRAIN, 150, None, True),
    MemberView("beta", MemberState.ACTIVE, 100, 0.3, True, clients=9, flows=5),
    MemberView("gamma", MemberState.FAULT, 50, 9.0, False),
    MemberView("delta", MemberState.INIT, 50, 0.1, True),
)
CHECKS = (CheckView("tcp:80", False, "refused", 0.001, 3.0), CheckView("exec:x", None, "", None, None))
SERVED = VirtualIpView(
    address="10.1.1.10",
    owner="beta",
    state=MemberState.DRAIN,
    term=4,
    frozen=True,
    preempt_s=None,
    members=MEMBERS,
    checks=CHECKS,
    clients=12,
    transitions=(),
    transition_counts=(("silent", 2), ("drain", 1)),
)
FOREIGN = VirtualIpView("fd00::1", "epsilon", None, 1, False, None, (), (), 0, ())
POLICY = PolicyView(draining=True, addresses=(SERVED, FOREIGN), flows=6, flows_evicted=2)


def test_members_that_are_configured_differently_are_told_and_one_that_is_held_back() -> None:
    odd = MemberView("delta", MemberState.BACKUP, 50, 0.1, True, "client")
    mixed = replace(SERVED, members=(*MEMBERS[:3], odd), held_s=3.0)
    gone = replace(SERVED, members=(*MEMBERS[:3], replace(odd, alive=False)))
    for vip, differ, held in ((mixed, 1, 1), (gone, 0, 0)):
        found = samples(exposition(daemon(policy=PolicyView(False, (vip,)))))
        assert found["pytinc_vip_config_mismatch", "10.1.1.10"] == differ
        assert found["pytinc_vip_held", "10.1.1.10"] == held


def test_virtual_ips_are_exported() -> None:
    found = samples(exposition(daemon(policy=POLICY)))
    vips = {key: value for key, value in found.items() if key[0].startswith("pytinc_vip")}

    def of(name: str) -> dict[str, float]:
        return {key[2]: value for key, value in vips.items() if key[:2] == (name, "10.1.1.10")}

    assert vips["pytinc_vip_draining",] == 1
    assert vips["pytinc_vip_term", "10.1.1.10"] == 4
    assert vips["pytinc_vip_members", "10.1.1.10"] == 3
    assert vips["pytinc_vip_clients", "10.1.1.10"] == 12
    assert (vips["pytinc_vip_frozen", "10.1.1.10"], vips["pytinc_vip_frozen", "fd00::1"]) == (1, 0)
    assert vips["pytinc_vip_config_mismatch", "10.1.1.10"] == vips["pytinc_vip_held", "10.1.1.10"] == 0
    assert of("pytinc_vip_state") == {state.value: state is SERVED.state for state in MemberState}
    assert of("pytinc_vip_owner") == {"alpha": 0, "beta": 1, "gamma": 0, "delta": 0}
    assert of("pytinc_vip_member_up") == {"alpha": 1, "beta": 1, "gamma": 0, "delta": 1}
    assert of("pytinc_vip_member_healthy") == {"alpha": 1, "beta": 1, "gamma": 0, "delta": 0}
    assert of("pytinc_vip_member_clients") == {"beta": 9}
    assert of("pytinc_vip_member_flows") == {"beta": 5}
    assert (vips["pytinc_vip_flows",], vips["pytinc_vip_flows_evicted_total",]) == (6, 2)
    assert of("pytinc_vip_transitions_total") == {"silent": 2, "drain": 1}


def test_a_foreign_virtual_ip_has_an_owner_but_no_own_state() -> None:
    found = samples(exposition(daemon(policy=POLICY)))
    assert found["pytinc_vip_owner", "fd00::1", "epsilon"] == 1
    assert not [key for key in found if key[:2] == ("pytinc_vip_state", "fd00::1")]


def test_a_health_check_without_a_result_has_no_sample_and_one_given_twice_has_one() -> None:
    of_ward = tuple(replace(check, node="delta") for check in CHECKS)
    twice = PolicyView(draining=False, addresses=(replace(SERVED, checks=(*CHECKS, *CHECKS, *of_ward)),))
    text = exposition(daemon(policy=twice)).decode()
    assert re.findall(r"^pytinc_vip_check_\w+\{.*", text, re.MULTILINE) == [
        f'pytinc_vip_check_{name}{{address="10.1.1.10",check="tcp:80",node="{node}"}} {value}'
        for name, value in (("up", 0.0), ("seconds", 0.001))
        for node in ("", "delta")
    ]


def test_without_virtual_ips_there_are_no_metrics_of_them() -> None:
    assert b"pytinc_vip" not in exposition(daemon())


def test_the_document_names_every_metric() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs/deployment.md").read_text()
    named = set(re.findall(r"`(pytinc_\w+)`", document))
    for prefix, one, other, end in re.findall(r"`(pytinc_\w*)\{(\w+),(\w+)\}(\S*)`", document):
        ends = re.findall(r"_\{(\w+),(\w+)\}(\w+)", end)[0]
        named |= {f"{prefix}{way}_{what}{ends[2]}" for way in (one, other) for what in ends[:2]}
    guard = GuardSummary(0, 0, 0.5, GuardCounters())
    found = {key[0] for key in samples(exposition(daemon(BETA, guard=guard, policy=POLICY)))}
    assert found <= named


def test_metrics_of_the_process_are_not_exported() -> None:
    assert {key[0].partition("_")[0] for key in samples(exposition(daemon(BETA)))} == {"pytinc"}


# -- the server --


@dataclass
class World:
    server: MetricsServer
    address: Address
    made: int = 0

    def statistics(self) -> DaemonStats:
        self.made += 1
        return daemon(BETA)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.address.host, int(self.address.port))

    async def ask(self, request: bytes) -> bytes:
        reader, writer = await self.connect()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def world(*, timeout: float = 5.0) -> AsyncIterator[World]:  # noqa: ASYNC109
    made: list[World] = []
    server = MetricsServer(asyncio.get_running_loop(), lambda: made[0].statistics(), timeout=timeout)
    made.append(World(server, await server.start(bind_metrics_socket(ANYWHERE))))
    try:
        yield made[0]
    finally:
        server.close()
        await asyncio.sleep(0.01)


def test_a_scrape_returns_the_text(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with world() as w:
            for request in (GET, b"GET /metrics?x=y HTTP/1.0\n\n"):
                head, _, body = (await w.ask(request)).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=")
                assert f"Content-Length: {len(body)}\r\n".encode() in head
                assert samples(body)["pytinc_peer_pmtu_bytes", "beta"] == 1439

    on_loop(main)


def test_all_clients_that_ask_while_a_text_is_made_get_this_text(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with world() as w:
            answers = await asyncio.gather(*(w.ask(GET) for _ in range(metrics.MAX_CLIENTS)))
            assert w.made == 1
            assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK"}

    on_loop(main)


def test_a_client_that_leaves_before_the_text_is_made_does_no_harm(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(stats: DaemonStats) -> bytes:
        time.sleep(0.2)
        return b"done\n"

    async def main() -> None:
        monkeypatch.setattr(metrics, "exposition", slowly)
        async with world() as w:
            _, writer = await w.connect()
            writer.write(GET)
            await asyncio.sleep(0.05)
            writer.transport.abort()
            assert (await w.ask(GET)).endswith(b"done\n")
            assert w.made == 1

    on_loop(main)


def test_a_text_is_reused_for_a_while(on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with world() as w:
            monkeypatch.setattr(metrics, "FRESH", 60.0)
            assert await w.ask(GET) == await w.ask(GET)
            assert w.made == 1
            monkeypatch.setattr(metrics, "FRESH", 0.0)
            await w.ask(GET)
            assert w.made == 2

    on_loop(main)


def test_other_requests_are_refused_without_making_a_text(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with world() as w:
            for request, status in {
                b"GET / HTTP/1.1\r\n\r\n": b"404",
                b"GET /metrics/../etc HTTP/1.1\r\n\r\n": b"404",
                b"GET http://elsewhere/metrics HTTP/1.1\r\n\r\n": b"404",
                b"POST /metrics HTTP/1.1\r\n\r\n": b"405",
                b"HEAD /metrics HTTP/1.1\r\n\r\n": b"405",
                b"GET /metrics\r\n\r\n": b"400",
                b"GET /metrics HTTP/2.0\r\n\r\n": b"400",
                b"\r\n\r\n": b"400",
                b"\xff\x00\xfe\r\n\r\n": b"400",
            }.items():
                answer = await w.ask(request)
                assert answer.startswith(b"HTTP/1.1 " + status), request
            assert w.made == 0

    on_loop(main)


def test_a_request_in_pieces_is_one_request(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with world() as w:
            reader, writer = await w.connect()
            for byte in GET:
                writer.write(bytes((byte,)))
                await writer.drain()
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()

    on_loop(main)


def test_only_the_first_of_several_requests_is_answered(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with world() as w:
            assert (await w.ask(GET * 3)).count(b"HTTP/1.1") == 1

    on_loop(main)


def test_endless_headers_are_refused(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with world() as w:
            reader, writer = await w.connect()
            writer.write(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * metrics.MAX_REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.1 431")
            writer.close()

    on_loop(main)


def test_silent_and_slow_clients_are_disconnected_in_time(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with world(timeout=0.1) as w:
            for begin in (b"", b"GET /metr"):
                reader, writer = await w.connect()
                writer.write(begin)
                async with asyncio.timeout(60):
                    with suppress(ConnectionError):
                        assert await reader.read() == b""
                writer.close()

    on_loop(main)


def test_a_client_that_does_not_read_the_answer_is_disconnected_in_time(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(metrics, "exposition", lambda stats: b"x" * 50_000_000)
        async with world(timeout=1.0) as w:
            with socket.create_connection((w.address.host, int(w.address.port))) as slow:
                slow.sendall(GET)
                await until(lambda: w.made == 1)
                await until(lambda: len(w.server._clients) == 0)

    on_loop(main)


def test_the_number_of_clients_is_bounded_and_leaving_makes_room(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with world() as w:
            held = [await w.connect() for _ in range(metrics.MAX_CLIENTS)]
            await until(lambda: len(w.server._clients) == metrics.MAX_CLIENTS)
            reader, writer = await w.connect()
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            for _, holder in held:
                holder.close()
            await until(lambda: len(w.server._clients) == 0)
            assert (await w.ask(GET)).startswith(b"HTTP/1.1 200")

    on_loop(main)


def test_closing_aborts_present_connections(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with world() as w:
            _, writer = await w.connect()
            await until(lambda: len(w.server._clients) == 1)
            w.server.close()
            await until(lambda: len(w.server._clients) == 0)
            with pytest.raises(ConnectionError):
                await w.connect()
            writer.close()

    on_loop(main)


# -- the start --


def test_an_address_in_use_is_an_error() -> None:
    with closing(bind_metrics_socket(ANYWHERE)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(DeviceError, match=f"{port}/tcp for MetricsListen: Address already"):
            bind_metrics_socket(Address("127.0.0.1", port))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_library()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(DeviceError, match="prometheus-client, which is not installed"):
        require_library()

"""The guard's view as rows: their content, their units, and their bounds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from pytinc.control.shared import MAX_ADDRESSES, MAX_CLIENTS, MAX_CLIENTS_IN_ALL, MAX_HOLDERS, parse_rows
from pytinc.net.shared import rows
from pytinc.vip.views import (
    AddressView,
    ClientView,
    FailoverView,
    GuardCounters,
    GuardView,
    HolderState,
    HolderView,
)

HOLDERS = (
    HolderView("02:00:00:00:00:03", "node_3", HolderState.ALIVE, 0.000632, 1.25),
    HolderView("02:00:00:00:00:02", None, HolderState.UNREACHABLE, None, 90.0),
)


def client(number: int, *, idle_s: float = 0.31, holder: str | None = "02:00:00:00:00:03") -> ClientView:
    mac = f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}"
    return ClientView(mac, f"10.1.{number >> 8}.{number & 255}", "alpha", holder, idle_s)


FAILOVER = FailoverView(12.3456, "silent", "node_2", "node_3", 0.3052, 0.4118, 2)
SHARED = AddressView("10.1.1.10", True, HOLDERS, (client(1), client(2, holder=None)), 2, FAILOVER)
USED = AddressView("fd00::1", False, (), (), 0, None)
VIEW = GuardView(
    enabled=True,
    interval_s=0.1,
    watched=2,
    last_failover_s=0.4118,
    counters=GuardCounters(failovers=3, probes=500, probe_bytes=40000, withheld=1),
    addresses=(SHARED, USED),
)


def test_the_row_of_a_guard_has_whole_numbers() -> None:
    told = parse_rows(rows(VIEW)).guard
    assert (told["enabled"], told["interval_ms"], told["watched"]) == (True, 100, 2)
    assert (told["last_failover_ms"], told["addresses_total"]) == (412, 2)
    assert (told["failovers"], told["probes"], told["probe_bytes"], told["withheld"]) == (3, 500, 40000, 1)
    assert parse_rows(rows(replace(VIEW, last_failover_s=None))).guard["last_failover_ms"] is None


def test_the_row_of_an_address_has_holders_clients_and_failover() -> None:
    first, second = parse_rows(rows(VIEW)).addresses
    assert (first["address"], first["shared"]) == ("10.1.1.10", True)
    assert first["holders"] == [
        {
            "mac": "02:00:00:00:00:03",
            "node": "node_3",
            "state": "alive",
            "rtt_us": 632,
            "answered_ms": 1250,
            "clients": 1,
        },
        {
            "mac": "02:00:00:00:00:02",
            "node": None,
            "state": "unreachable",
            "rtt_us": None,
            "answered_ms": 90000,
            "clients": 0,
        },
    ]
    assert [each["holder"] for each in first["clients"]] == ["02:00:00:00:00:03", None]
    assert first["failover"] == {
        "ago_ms": 12346,
        "reason": "silent",
        "from_node": "node_2",
        "to_node": "node_3",
        "silent_ms": 305,
        "took_ms": 412,
        "clients": 2,
    }
    assert (second["shared"], second["holders"], second["clients"], second["failover"]) == (
        False,
        [],
        [],
        None,
    )


def test_only_the_most_recently_active_clients_are_listed_but_all_are_counted() -> None:
    clients = tuple(client(number, idle_s=float(4096 - number)) for number in range(4096))
    (told,) = parse_rows(
        rows(replace(VIEW, addresses=(replace(SHARED, clients=clients, clients_total=len(clients)),)))
    ).addresses
    assert [each["idle_ms"] for each in told["clients"]] == [1000 * n for n in range(1, MAX_CLIENTS + 1)]
    assert told["clients_total"] == 4096
    assert told["holders"][0]["clients"] == 4096


def test_only_the_holders_that_answered_last_are_listed() -> None:
    holders = tuple(
        HolderView(f"02:00:00:00:00:{n:02x}", None, HolderState.UNWATCHED, None, float(100 - n))
        for n in range(40)
    )
    (told,) = parse_rows(rows(replace(VIEW, addresses=(replace(SHARED, holders=holders),)))).addresses
    assert told["holders_total"] == 40
    assert [each["mac"][-2:] for each in told["holders"]] == [f"{39 - n:02x}" for n in range(MAX_HOLDERS)]


def test_the_size_of_an_answer_is_bounded() -> None:
    clients = tuple(client(number) for number in range(MAX_CLIENTS))
    addresses = tuple(
        replace(SHARED, address=f"10.2.{n >> 8}.{n & 255}", clients=clients, clients_total=len(clients))
        for n in range(MAX_ADDRESSES + 5)
    )
    told = parse_rows(rows(replace(VIEW, addresses=addresses)))
    assert len(told.addresses) == MAX_ADDRESSES
    assert told.guard["addresses_total"] == MAX_ADDRESSES + 5
    assert sum(len(address["clients"]) for address in told.addresses) == MAX_CLIENTS_IN_ALL
    # The last addresses, the least interesting ones, have no lists; their clients are still counted.
    assert told.addresses[-1]["clients"] == []
    assert told.addresses[-1]["clients_total"] == MAX_CLIENTS


def test_a_time_slightly_in_the_future_counts_as_now() -> None:
    late = replace(SHARED, clients=(client(1, idle_s=-0.25),))
    (told,) = parse_rows(rows(replace(VIEW, addresses=(late,)))).addresses
    assert told["clients"][0]["idle_ms"] == 0


def test_every_state_is_documented() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs/json.md").read_text()
    (section,) = re.findall(r"^## shared holder\n(.*?)(?=^## )", document, re.MULTILINE | re.DOTALL)
    (meaning,) = re.findall(r"^\| state \| string \| (.*)$", section, re.MULTILINE)
    assert re.findall(r"`(\w+)`", meaning) == [state.value for state in HolderState]

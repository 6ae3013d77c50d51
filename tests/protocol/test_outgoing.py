"""Which node to dial next: order of addresses, back-off, address cache, AutoConnect.

See docs/protocol-meta.md, "Dialling" to "AutoConnect".
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.protocol.outgoing import (
    MAX_CACHED,
    MAX_RESOLVED,
    QUICK_ROUNDS,
    AddressCache,
    AutoConnect,
    Candidate,
    Next,
    Outgoing,
    Prospect,
    ResolveNext,
    Try,
    Wait,
    auto_connect,
)
from pytinc.wire.address import UNSPEC, Address


def address(number: int) -> Address:
    return Address(f"192.0.2.{number}", "655")


def configured(*numbers: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"192.0.2.{number}", "655") for number in numbers)


def a_round(
    outgoing: Outgoing, candidate: Candidate, names: dict[str, list[Address]] | None = None
) -> list[Next]:
    """Return all addresses that are tried until none is left; names are looked up at once."""
    steps: list[Next] = []
    while not steps or not isinstance(steps[-1], Wait):
        steps.append(outgoing.next(candidate))
        if isinstance(steps[-1], ResolveNext):
            outgoing.resolved((names or {}).get(steps[-1].host, []))
    return steps


def tried(steps: Sequence[Next]) -> list[int]:
    return [int(step.address.host.rpartition(".")[2]) for step in steps if isinstance(step, Try)]


# -- order --


def test_the_order_is_cached_then_graph_then_configured_addresses() -> None:
    candidate = Candidate((address(3), address(2)), (address(9), address(8)), configured(5, 6))
    steps = a_round(Outgoing("a", 900), candidate)
    assert tried(steps) == [3, 2, 9, 8, 5, 6]
    assert steps[-1] == Wait(5)


def test_an_address_is_tried_once_per_round() -> None:
    candidate = Candidate((address(1), address(2)), (address(2), address(3), address(3)), configured(3, 1, 4))
    assert tried(a_round(Outgoing("a", 900), candidate)) == [1, 2, 3, 4]


def test_later_rounds_start_with_configured_addresses_until_the_node_is_reached() -> None:
    outgoing, candidate = Outgoing("a", 900), Candidate((address(1),), (address(2),), configured(3))
    assert tried(a_round(outgoing, candidate)) == [1, 2, 3]
    assert tried(a_round(outgoing, candidate)) == [3]
    assert tried(a_round(outgoing, candidate)) == [3]
    outgoing.restart()
    assert tried(a_round(outgoing, candidate)) == [1, 2, 3]


def test_later_rounds_repeat_the_others_if_no_address_is_configured() -> None:
    outgoing, candidate = Outgoing("a", 900), Candidate((address(1),), (address(2),))
    assert tried(a_round(outgoing, candidate)) == [1, 2]
    assert tried(a_round(outgoing, candidate)) == [1, 2]


def test_later_rounds_repeat_the_others_while_no_configured_name_resolves() -> None:
    outgoing = Outgoing("a", 900)
    candidate = Candidate((address(1),), (address(2),), (("a.example", "655"), ("b.example", "655")))
    for _ in range(3):
        assert tried(a_round(outgoing, candidate)) == [1, 2]
    assert tried(a_round(outgoing, candidate, {"b.example": [address(3)]})) == [1, 2, 3]
    assert tried(a_round(outgoing, candidate, {"b.example": [address(3)]})) == [3]
    assert tried(a_round(outgoing, candidate, {"b.example": [address(1)]})) == [1]
    assert tried(a_round(outgoing, candidate)) == []
    assert tried(a_round(outgoing, candidate)) == [1, 2]


def test_addresses_that_become_known_during_a_round_are_tried_too() -> None:
    outgoing = Outgoing("a", 900)
    assert outgoing.next(Candidate((address(1),))) == Try(address(1))
    assert outgoing.next(Candidate((address(1), address(2)))) == Try(address(2))


@pytest.mark.parametrize(
    "bad", [UNSPEC, Address("unix", "socket"), Address("192.0.2.1", "0"), Address("", "")]
)
def test_an_invalid_address_is_skipped(bad: Address) -> None:
    candidate = Candidate((bad, address(1)), (bad, address(2)))
    assert tried(a_round(Outgoing("a", 900), candidate)) == [1, 2]


def test_a_command_may_be_given_port_0_but_no_other_invalid_address() -> None:
    found = Address("192.0.2.7", "0")
    graph, name = (Address("", ""), Address("192.0.2.8", "0")), ("a.example", "0")
    for for_command, expected in ((True, [8, 7, 9]), (False, [])):
        candidate = Candidate((), graph, (name, ("192.0.2.9", "0")), for_command)
        assert tried(a_round(Outgoing("a", 900), candidate, {"a.example": [found]})) == expected


def test_a_node_without_any_address_gives_a_wait() -> None:
    assert a_round(Outgoing("a", 900), Candidate()) == [Wait(5)]


def test_for_the_only_node_that_is_missing_the_wait_grows_late() -> None:
    outgoing, candidate = Outgoing("a", 12), Candidate(only_missing=True)
    for _ in range(2):
        for _ in range(QUICK_ROUNDS):
            assert a_round(outgoing, candidate) == [Wait(5, spread=True)]
        assert a_round(outgoing, candidate) == [Wait(10)]
        assert a_round(outgoing, candidate) == [Wait(12)]
        outgoing.reset_backoff()
    assert a_round(Outgoing("a", 3), candidate) == [Wait(3, spread=True)]


# -- names --


def test_addresses_of_a_name_are_tried_in_reverse_order() -> None:
    candidate = Candidate(configured=(("a.example", "655"), *configured(9)))
    steps = a_round(Outgoing("a", 900), candidate, {"a.example": [address(1), address(2), address(3)]})
    assert steps[0] == ResolveNext("a.example", "655")
    assert tried(steps) == [3, 2, 1, 9]


def test_an_unknown_name_is_skipped_and_looked_up_again_in_the_next_round() -> None:
    outgoing, candidate = Outgoing("a", 900), Candidate(configured=(("a.example", "655"), *configured(9)))
    for _ in range(2):
        steps = a_round(outgoing, candidate)
        assert steps[0] == ResolveNext("a.example", "655")
        assert tried(steps) == [9]


def test_a_named_port_is_looked_up() -> None:
    candidate = Candidate(configured=(("192.0.2.1", "tinc"),))
    assert Outgoing("a", 900).next(candidate) == ResolveNext("192.0.2.1", "tinc")


def test_an_ipv6_address_is_tried_in_its_short_form() -> None:
    candidate = Candidate(configured=(("FD00:0::1", "655"),))
    assert Outgoing("a", 900).next(candidate) == Try(Address("fd00::1", "655"))


def test_the_number_of_addresses_of_a_name_is_bounded() -> None:
    candidate = Candidate(configured=(("a.example", "655"),))
    answer = [address(number) for number in range(1, 200)]
    assert len(tried(a_round(Outgoing("a", 900), candidate, {"a.example": answer}))) == MAX_RESOLVED


def test_an_address_is_not_tried_again_under_its_name() -> None:
    candidate = Candidate((address(1),), (), (("a.example", "655"),))
    steps = a_round(Outgoing("a", 900), candidate, {"a.example": [address(1), UNSPEC, address(2)]})
    assert tried(steps) == [1, 2]


# -- back-off --


def test_each_wait_is_five_seconds_longer_up_to_the_maximum() -> None:
    outgoing = Outgoing("a", 12)
    assert [a_round(outgoing, Candidate())[-1] for _ in range(4)] == [Wait(5), Wait(10), Wait(12), Wait(12)]


def test_a_reset_restarts_the_back_off() -> None:
    outgoing = Outgoing("a", 900)
    a_round(outgoing, Candidate())
    a_round(outgoing, Candidate())
    outgoing.reset_backoff()
    assert a_round(outgoing, Candidate()) == [Wait(5)]


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 6), max_size=3),
            st.lists(st.integers(1, 6), max_size=3),
            st.lists(st.sampled_from(["192.0.2.1", "192.0.2.7", "a.example", "b.example"]), max_size=3),
            st.sampled_from(["none", "restart", "reset"]),
        ),
        max_size=6,
    )
)
def test_every_round_ends_and_tries_nothing_twice(
    rounds: list[tuple[list[int], list[int], list[str], str]],
) -> None:
    outgoing = Outgoing("a", 30)
    names = {"a.example": [address(1), address(8)], "b.example": []}
    for cached, from_graph, hosts, event in rounds:
        candidate = Candidate(
            tuple(map(address, cached)), tuple(map(address, from_graph)), tuple((h, "655") for h in hosts)
        )
        numbers = tried(a_round(outgoing, candidate, names))
        assert len(numbers) == len(set(numbers))
        assert set(numbers) <= {*cached, *from_graph, 1, 7, 8}
        assert 0 < outgoing.backoff <= 30
        if event == "restart":
            outgoing.restart()
        elif event == "reset":
            outgoing.reset_backoff()


# -- address cache --


def test_the_address_that_worked_last_is_first() -> None:
    cache = AddressCache([address(1), address(2)])
    assert cache.add(address(3))
    assert cache.add(address(2))
    assert cache.addresses == (address(2), address(3), address(1))


def test_adding_the_first_address_again_changes_nothing() -> None:
    cache = AddressCache()
    assert cache.add(address(1))
    assert not cache.add(address(1))
    assert cache.add(Address("192.0.2.1", "656"))


def test_the_cache_holds_eight_addresses() -> None:
    cache = AddressCache(map(address, range(1, 20)))
    assert len(cache.addresses) == MAX_CACHED
    cache.add(address(100))
    assert cache.addresses == tuple(map(address, (100, 1, 2, 3, 4, 5, 6, 7)))


# -- AutoConnect --


def prospect(
    name: str,
    *,
    connected: bool = False,
    dialled: bool = False,
    has_entry: bool = False,
    reachable: bool = True,
    has_address: bool = True,
    is_known: bool = True,
    edges: int = 3,
) -> Prospect:
    return Prospect(
        name, connected or dialled, dialled, has_entry or dialled, reachable, has_address, is_known, edges
    )


def test_auto_connect_passes_over_a_node_that_could_not_log_in() -> None:
    stranger, lost = prospect("gamma", is_known=False), prospect("delta", is_known=False, reachable=False)
    assert auto_connect([stranger, prospect("beta")], lambda: 0.0).connect == "beta"
    assert auto_connect([*connected(3), lost], lambda: 0.999).connect is None


def connected(count: int) -> list[Prospect]:
    return [prospect(f"n{number}", connected=True) for number in range(count)]


def choices(prospects: Sequence[Prospect]) -> set[AutoConnect]:
    """Return every decision that the random numbers can lead to."""
    return {auto_connect(prospects, lambda number=number: number / 100) for number in range(100)}  # type: ignore[misc]


def test_with_few_connections_one_more_is_made_to_any_suitable_node() -> None:
    prospects = [
        *connected(2),
        prospect("reachable", has_address=False),
        prospect("addressed", reachable=False),
        prospect("neither", reachable=False, has_address=False),
    ]
    assert choices(prospects) == {AutoConnect("reachable"), AutoConnect("addressed")}


def test_a_node_that_is_dialled_already_is_not_dialled_again() -> None:
    assert choices([prospect("a", has_entry=True)]) == {AutoConnect()}
    assert choices([prospect("a", has_entry=True), prospect("b")]) == {AutoConnect(), AutoConnect("b")}


def test_no_suitable_node_is_no_error() -> None:
    assert choices([]) == {AutoConnect()}
    assert choices(connected(2)) == {AutoConnect()}


def test_with_three_connections_only_waiting_entries_are_dropped() -> None:
    assert choices([*connected(3), prospect("a")]) == {AutoConnect(drop_waiting=True)}


def test_with_too_many_connections_one_that_the_peer_can_spare_is_closed() -> None:
    prospects = [
        *connected(2),
        prospect("spare", dialled=True, edges=2),
        prospect("leaf", dialled=True, edges=1),
    ]
    assert choices(prospects) == {AutoConnect(disconnect="spare", drop_waiting=True)}
    assert choices([*connected(2), *prospects[-1:], prospect("x", connected=True)]) == {
        AutoConnect(drop_waiting=True)
    }


def test_an_unreachable_part_of_the_mesh_is_dialled_now_and_then() -> None:
    prospects = [
        *connected(3),
        prospect("lost", reachable=False),
        prospect("unknown", reachable=False, has_address=False),
        prospect("dialled", reachable=False, has_entry=True),
    ]
    assert choices(prospects) == {AutoConnect(drop_waiting=True), AutoConnect("lost", drop_waiting=True)}


def test_a_random_number_of_one_is_accepted() -> None:
    assert auto_connect([prospect("a")], lambda: 1.0) == AutoConnect("a")

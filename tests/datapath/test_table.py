"""The forwarding table: paths, addresses and owners, as the control plane writes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytinc.datapath.peer_slot import Drops, PeerSlot, UdpPath
from pytinc.datapath.table import ForwardingTable
from pytinc.wire.datagram import NULL_ID, node_id

MAC = b"\x02\0\0\0\0\x01"


def address(number: int) -> tuple[str, int]:
    return (f"192.0.2.{number}", 655)


def table_with(*names: str) -> ForwardingTable:
    table = ForwardingTable(PeerSlot("me", is_me=True))
    for number, name in enumerate(names, 1):
        slot = table.add(name)
        slot.reachable = True
        table.set_route(slot, slot, slot)
        slot.minmtu = 1400
        slot.confirmed = True
        table.set_address(slot, address(number), 0)
    return table


# -- slots --


def test_a_node_is_found_by_name_and_by_id_until_it_is_removed() -> None:
    table = table_with("one")
    slot = table.slots["one"]

    assert table.add("one") is slot
    assert table.by_id[node_id("one")] is slot
    table.remove("one")

    assert set(table.slots) == {"me"}
    assert set(table.by_id) == {node_id("me")}
    assert table.confirmed == {}
    table.remove("one")


def test_the_total_of_drops_has_those_of_every_node_and_of_none_and_never_falls() -> None:
    table = table_with("one", "two")
    table.drops.looped = 1
    table.slots["one"].drops.looped = 10
    table.slots["two"].drops.no_key = 100
    table.me.drops.looped = 1000

    assert table.total_drops() == Drops(looped=1011, no_key=100)
    table.remove("one")
    table.remove("two")
    assert table.total_drops() == Drops(looped=1011, no_key=100)


# -- routes --


def test_datagrams_go_to_the_last_node_that_takes_udp_or_else_to_the_next_hop() -> None:
    table = table_with("hop", "relay", "far")
    hop, relay, far = (table.slots[name] for name in ("hop", "relay", "far"))

    for via, expected in ((far, far), (relay, relay), (table.me, hop)):
        table.set_route(far, via, hop)
        assert (far.relay, far.nexthop) == (expected, hop)
    table.set_route(far, None, None)
    assert (far.relay, far.nexthop) == (None, None)
    assert table.me.relay is table.me


# -- paths --


def test_a_node_reached_straight_has_one_path_with_no_destination_id() -> None:
    table = table_with("one")
    slot = table.slots["one"]

    table.refresh(slot)

    assert slot.paths == (UdpPath(1400, 0, address(1), NULL_ID + table.me.id, slot),)


def test_a_node_behind_a_static_relay_is_named_in_the_prefix_and_the_relay_sets_the_limit() -> None:
    table = table_with("relay", "far")
    relay, far = table.slots["relay"], table.slots["far"]
    table.set_route(far, relay, relay)
    relay.minmtu = 1200

    table.refresh(far)

    assert far.paths == (UdpPath(1200, 0, address(1), far.id + table.me.id, relay),)


def test_where_the_straight_way_is_shorter_than_the_next_hop_both_are_kept_in_order() -> None:
    table = table_with("hop", "far")
    hop, far = table.slots["hop"], table.slots["far"]
    far.nexthop, far.minmtu = hop, 600

    table.refresh(far)

    assert [(path.limit, path.relay) for path in far.paths] == [(600, far), (1400, hop)]


def test_when_the_first_indirect_edge_is_ours_only_the_next_hop_is_used() -> None:
    table = table_with("hop", "far")
    hop, far = table.slots["hop"], table.slots["far"]
    table.set_route(far, table.me, hop)

    table.refresh(far)

    assert [path.relay for path in far.paths] == [hop]


def test_nothing_goes_by_udp_without_proof_or_address_or_where_it_is_forbidden() -> None:
    table = table_with("one")
    slot = table.slots["one"]
    for name, value in (("minmtu", 0), ("address", None), ("tcp_only", True), ("relay", None)):
        before = getattr(slot, name)
        setattr(slot, name, value)
        if name == "relay":
            slot.nexthop = None
        table.refresh(slot)
        assert slot.paths == ()
        setattr(slot, name, before)


def test_a_change_of_a_relay_reaches_all_who_use_it() -> None:
    table = table_with("relay", "one", "two")
    for name in ("one", "two"):
        table.set_route(table.slots[name], table.slots["relay"], table.slots["relay"])

    table.slots["relay"].minmtu = 900
    table.refresh_all()

    assert [table.slots[name].paths[0].limit for name in ("relay", "one", "two")] == [900, 900, 900]


def test_the_socket_that_took_a_datagram_is_used_for_answers_and_by_those_behind() -> None:
    table = table_with("relay", "far")
    table.set_route(table.slots["far"], table.slots["relay"], table.slots["far"])
    table.refresh_all()

    table.use_socket(table.slots["relay"], 1)

    assert table.slots["relay"].socket == 1
    assert [table.slots[name].paths[0].socket for name in ("relay", "far")] == [1, 1]


# -- confirmed addresses --


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("one", "two", "three")),
            st.one_of(st.none(), st.integers(1, 3)),
            st.booleans(),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_a_confirmed_address_always_belongs_to_a_node_that_has_it_confirmed(
    changes: list[tuple[str, int | None, bool, bool]],
) -> None:
    """Several nodes may share an address; one of them answers to it as long as any has it confirmed."""
    table = table_with("one", "two", "three")
    for name, number, confirmed, removed in changes:
        if removed:
            table.remove(name)
        slot = table.add(name)
        slot.confirmed = confirmed
        table.set_address(slot, None if number is None else address(number), 0)
    holders: dict[tuple[str, int], set[str]] = {}
    for slot in table.slots.values():
        if slot.confirmed and slot.address is not None:
            holders.setdefault(slot.address[:2], set()).add(slot.name)
    assert set(table.confirmed) == set(holders)
    assert all(slot.name in holders[where] for where, slot in table.confirmed.items())


def test_an_ipv6_address_is_known_by_host_and_port_alone() -> None:
    table = table_with("one")

    table.slots["one"].confirmed = True
    table.set_address(table.slots["one"], ("2001:db8::1", 655, 0, 3), 1)

    assert table.confirmed == {("2001:db8::1", 655): table.slots["one"]}


# -- owners --


def test_a_mac_learned_here_is_ours_although_another_node_still_announces_it() -> None:
    table = table_with("one")
    table.macs[MAC] = table.slots["one"]

    assert table.owner_of(MAC) is table.slots["one"]
    table.own_macs[MAC] = 1.0
    assert table.owner_of(MAC) is table.me


def test_nobody_owns_an_unknown_mac() -> None:
    assert table_with("one").owner_of(MAC) is None

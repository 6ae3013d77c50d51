"""Who owns an IP address: longest prefix, address, weight, name; only reachable owners."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.routes import MAX_KEPT, NoOwner, RouteTable
from pytinc.wire.subnet import DEFAULT_BROADCAST_SUBNETS, Subnet, SubnetKind, parse_subnet

NAMES = ("a", "b", "c")
Owned = tuple[Subnet, str | None]


class World:
    """A route table and three nodes that can be reached."""

    def __init__(self) -> None:
        self.slots = {name: PeerSlot(name) for name in NAMES}
        for slot in self.slots.values():
            slot.reachable = True
        self.routes = RouteTable()

    def add(self, text: str, owner: str | None) -> None:
        self.routes.add(parse_subnet(text), None if owner is None else self.slots[owner])

    def delete(self, text: str, owner: str | None) -> None:
        self.routes.delete(parse_subnet(text), None if owner is None else self.slots[owner])

    def lose(self, *names: str) -> None:
        for name in names:
            self.slots[name].reachable = False
        self.routes.flush()

    def silence(self, *names: str) -> None:
        for name, slot in self.slots.items():
            slot.silent = name in names
        self.routes.flush()

    def owner(self, address: str) -> str | NoOwner:
        found = self.routes.lookup(parse_subnet(address).address)
        return found if isinstance(found, NoOwner) else found.name


@pytest.fixture
def world() -> World:
    return World()


def test_an_address_in_no_subnet_is_unknown(world: World) -> None:
    world.add("10.0.0.0/8", "a")
    assert world.owner("11.0.0.1") is NoOwner.UNKNOWN
    assert world.owner("fd00::1") is NoOwner.UNKNOWN


@pytest.mark.parametrize("block", ["10.0.0.0/8", "0.0.0.0/0"])
def test_the_longest_prefix_wins_whatever_the_weights(world: World, block: str) -> None:
    world.add(block + "#-5", "a")
    world.add("10.1.0.0/16#99", "b")
    world.add("10.1.1.1", "c")
    assert [world.owner(f"10.{rest}") for rest in ("9.9.9", "1.2.3", "1.1.1")] == ["a", "b", "c"]


def test_a_default_route_serves_each_family_for_itself(world: World) -> None:
    world.add("0.0.0.0/0", "a")
    world.add("::/0", "b")
    assert (world.owner("192.0.2.1"), world.owner("2001:db8::1")) == ("a", "b")


def test_the_smaller_weight_wins_among_equal_prefixes_and_then_the_smaller_name(world: World) -> None:
    world.add("10.0.0.0/8", "c")
    world.add("10.0.0.0/8", "b")
    assert world.owner("10.0.0.1") == "b"
    world.add("10.0.0.0/8#5", "c")
    assert world.owner("10.0.0.1") == "c"


def test_when_an_owner_is_lost_the_next_weight_takes_over_and_then_a_shorter_prefix(world: World) -> None:
    world.add("10.1.0.0/16#1", "a")
    world.add("10.1.0.0/16#2", "b")
    world.add("10.0.0.0/8", "c")
    assert world.owner("10.1.0.1") == "a"
    world.lose("a")
    assert world.owner("10.1.0.1") == "b"
    world.lose("b")
    assert world.owner("10.1.0.1") == "c"
    world.lose("c")
    assert world.owner("10.1.0.1") is NoOwner.UNREACHABLE


def test_a_silent_owner_is_passed_over_until_it_is_heard_again(world: World) -> None:
    world.add("10.1.0.0/16#1", "a")
    world.add("10.1.0.0/16#2", "b")
    world.add("10.0.0.0/8", "c")
    world.silence("a")
    assert world.owner("10.1.0.1") == "b"
    world.silence("a", "b")
    assert world.owner("10.1.0.1") == "c"
    world.silence()
    assert world.owner("10.1.0.1") == "a"


def test_an_owner_that_is_only_silent_is_better_than_none(world: World) -> None:
    world.add("10.1.0.0/16#1", "a")
    world.add("10.1.0.0/16#2", "b")
    world.silence("a", "b")
    assert world.owner("10.1.0.1") == "a"
    world.lose("a")
    assert world.owner("10.1.0.1") == "b"
    world.lose("b")
    assert world.owner("10.1.0.1") is NoOwner.UNREACHABLE


def test_packets_for_a_silent_owner_within_a_broadcast_subnet_go_to_all(world: World) -> None:
    world.add("224.1.0.0/16", "a")
    world.routes.add(parse_subnet("224.0.0.0/4"), None)
    assert world.owner("224.1.0.1") == "a"
    world.silence("a")
    assert world.owner("224.1.0.1") is NoOwner.BROADCAST


def test_no_node_can_take_a_broadcast_subnet_but_part_of_one(world: World) -> None:
    world.add("224.0.0.0/4#-100", "a")
    for subnet in DEFAULT_BROADCAST_SUBNETS:
        if subnet.kind is not SubnetKind.MAC:
            world.routes.add(subnet, None)
    assert world.owner("224.1.1.1") is world.owner("255.255.255.255") is NoOwner.BROADCAST
    assert world.owner("ff02::1") is NoOwner.BROADCAST
    world.add("239.1.0.0/16", "b")
    assert world.owner("239.1.0.1") == "b"


def test_a_subnet_that_comes_or_goes_counts_at_once(world: World) -> None:
    world.add("10.0.0.0/8", "a")
    assert world.owner("10.0.0.1") == "a"
    world.add("10.0.0.0/24", "b")
    assert world.owner("10.0.0.1") == "b"
    world.delete("10.0.0.0/24", "b")
    assert world.owner("10.0.0.1") == "a"
    world.delete("10.0.0.0/8", "a")
    assert world.owner("10.0.0.1") is NoOwner.UNKNOWN


def test_a_scan_of_a_network_does_not_fill_the_memory(world: World) -> None:
    world.add("10.0.0.0/8", "a")
    for number in range(2 * MAX_KEPT):
        world.routes.lookup(b"\x0a" + number.to_bytes(3, "big"))
    assert len(world.routes._kept) <= MAX_KEPT
    assert world.owner("10.0.0.1") == "a"


# -- against the documented rules --


def by_the_spec(subnets: set[Owned], reachable: set[str], silent: set[str], address: bytes) -> str | NoOwner:
    """Go through all subnets in their order, broadcast ones before others alike.

    See docs/protocol-meta.md, "Subnets".

    Those of silent nodes count only where the walk finds nobody else.
    """

    def order(owned: Owned) -> tuple[int, bool, bytes, int, str]:
        subnet, owner = owned
        return -subnet.prefix, owner is not None, subnet.address, subnet.weight, owner or ""

    answer: str | NoOwner = NoOwner.UNKNOWN
    for subnet, owner in sorted(subnets, key=order):
        if not subnet.contains(address):
            continue
        if owner is None:
            return NoOwner.BROADCAST
        if owner in reachable - silent:
            return owner
        if owner not in reachable and answer is NoOwner.UNKNOWN:
            answer = NoOwner.UNREACHABLE
        if owner in reachable and isinstance(answer, NoOwner):
            answer = owner
    return answer


@st.composite
def subnets(draw: st.DrawFn) -> Subnet:
    kind, size = draw(st.sampled_from(((SubnetKind.IPV4, 4), (SubnetKind.IPV6, 16))))
    # Few addresses, so that subnets lie in each other. Those of the wire may have host bits.
    address = (
        draw(st.binary(min_size=1, max_size=1)) + bytes(size - 2) + draw(st.sampled_from((b"\0", b"\1")))
    )
    prefix = draw(st.sampled_from((0, 1, 4, 8, 9, size * 8 - 1, size * 8)))
    return Subnet(kind, address, prefix, draw(st.integers(9, 11)))


@given(
    owned=st.sets(st.tuples(subnets(), st.sampled_from((*NAMES, None))), max_size=20),
    gone=st.sets(st.integers(0, 19)),
    reachable=st.sets(st.sampled_from(NAMES)),
    silent=st.sets(st.sampled_from(NAMES)),
    addresses=st.lists(subnets().map(lambda subnet: subnet.address), min_size=1, max_size=10),
)
def test_a_look_up_finds_what_a_walk_through_the_sorted_list_finds(
    owned: set[Owned], gone: set[int], reachable: set[str], silent: set[str], addresses: list[bytes]
) -> None:
    world = World()
    for subnet, name in owned:
        world.routes.add(subnet, None if name is None else world.slots[name])
    for address in addresses:
        world.routes.lookup(address)  # is kept, and must not be after what follows
    for number, (subnet, name) in enumerate(list(owned)):
        if number in gone:
            world.routes.delete(subnet, None if name is None else world.slots[name])
            owned.remove((subnet, name))
    world.lose(*(set(NAMES) - reachable))
    world.silence(*silent)
    for address in addresses:
        found = world.routes.lookup(address)
        expected = by_the_spec(owned, reachable, silent, address)
        assert (found if isinstance(found, NoOwner) else found.name) == expected

"""The table of subnets: owners, order, look-up and learning of MACs, and its bounds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pytinc.errors import LimitError, ProtocolError
from pytinc.protocol import subnet_table
from pytinc.protocol.subnet_table import SubnetTable
from pytinc.wire.subnet import DEFAULT_BROADCAST_SUBNETS, Subnet, parse_subnet

ME = "me"
MAC_A, MAC_B, MAC_C = (bytes((2, 0, 0, 0, 0, number)) for number in (1, 2, 3))


def everyone(name: str) -> bool:
    return True


@pytest.fixture
def table() -> SubnetTable:
    return SubnetTable()


def learned(table: SubnetTable, *macs: bytes, now: float = 0) -> None:
    for mac in macs:
        assert table.learn(ME, mac, now) == (True, [])


# -- owners --


def test_a_subnet_is_added_and_deleted_once(table: SubnetTable) -> None:
    subnet = parse_subnet("10.0.0.0/8")
    assert table.add("a", subnet)
    assert not table.add("a", subnet)
    assert table.has("a", subnet)
    assert not table.has("b", subnet)
    assert len(table) == 1
    assert not table.delete("b", subnet)
    assert table.delete("a", subnet)
    assert not table.delete("a", subnet)
    assert len(table) == 0
    assert table.of("a") == []


def test_the_weight_is_part_of_a_subnet(table: SubnetTable) -> None:
    table.add("a", parse_subnet("10.0.0.0/8"))
    assert table.add("a", parse_subnet("10.0.0.0/8#5"))
    assert not table.delete("a", parse_subnet("10.0.0.0/8#6"))


def test_subnets_of_a_node_come_in_tincs_order(table: SubnetTable) -> None:
    in_order = (
        "02:00:00:00:00:01#20",
        "02:00:00:00:00:02",
        "10.2.0.1",
        "10.1.0.0/24",
        "10.1.0.0/16#3",
        "10.1.0.0/16",
        "10.2.0.0/16",
        "0.0.0.0/0",
        "fd00::1",
        "fd00::/64",
    )
    for text in sorted(in_order):
        table.add("a", parse_subnet(text))
    assert [str(subnet) for subnet in table.of("a")] == list(in_order)


def test_returned_collections_are_copies(table: SubnetTable) -> None:
    table.add("a", Subnet.mac(MAC_A))
    table.of("a").clear()
    assert table.of("a") == [Subnet.mac(MAC_A)]


def test_dumps_are_ordered_by_subnet_and_then_by_owner(table: SubnetTable) -> None:
    for owner, text in (
        ("b", "10.0.0.0/8"),
        ("a", "10.0.0.0/8"),
        ("c", "10.0.0.0/24"),
        ("z", "02:0:0:0:0:1"),
    ):
        table.add(owner, parse_subnet(text))
    table.add(None, parse_subnet("10.0.0.0/8"))
    assert [owner for owner, _ in table.all()] == ["z", "c", None, "a", "b"]


def test_a_subnet_of_two_owners_is_deleted_for_one_of_them(table: SubnetTable) -> None:
    table.add("a", Subnet.mac(MAC_A))
    table.add("b", Subnet.mac(MAC_A))
    table.delete("a", Subnet.mac(MAC_A))
    assert table.all() == [("b", Subnet.mac(MAC_A))]
    assert table.mac_owner(MAC_A, everyone) == "b"


def test_the_number_of_subnets_is_bounded(table: SubnetTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subnet_table, "MAX_SUBNETS_PER_OWNER", 2)
    monkeypatch.setattr(subnet_table, "MAX_SUBNETS", 3)
    table.add("a", parse_subnet("10.0.0.0/8"))
    table.add("a", parse_subnet("10.1.0.0/16"))
    with pytest.raises(LimitError):
        table.add("a", parse_subnet("10.2.0.0/16"))
    table.add("b", parse_subnet("10.2.0.0/16"))
    with pytest.raises(ProtocolError):
        table.add("c", parse_subnet("10.3.0.0/16"))
    assert not table.add("a", parse_subnet("10.0.0.0/8"))
    table.delete("a", parse_subnet("10.0.0.0/8"))
    assert table.add("c", parse_subnet("10.3.0.0/16"))


# -- look-up of a MAC --


def test_the_owner_of_a_mac_has_the_smallest_weight_and_then_the_first_name(table: SubnetTable) -> None:
    table.add("b", Subnet.mac(MAC_A))
    table.add("c", parse_subnet("02:00:00:00:00:01#5"))
    table.add("a", Subnet.mac(MAC_A))
    assert table.mac_owner(MAC_A, everyone) == "c"
    table.delete("c", parse_subnet("02:00:00:00:00:01#5"))
    assert table.mac_owner(MAC_A, everyone) == "a"
    assert table.mac_owner(MAC_A, lambda name: name == "b") == "b"
    assert table.mac_owner(MAC_B, everyone) is None


def test_a_mac_is_outweighed_if_another_node_has_it_with_less_weight(table: SubnetTable) -> None:
    text = "02:00:00:00:00:01"
    assert table.outweighed(MAC_A) is None
    table.add("a", parse_subnet(f"{text}#5"))
    table.add("a", parse_subnet(f"{text}#6"))
    assert table.outweighed(MAC_A) is None
    table.add("b", parse_subnet(f"{text}#5"))
    assert table.outweighed(MAC_A) is None
    table.add("c", parse_subnet(f"{text}#4"))
    assert table.outweighed(MAC_A) == ((4, "c"), (5, "a"))


def test_look_up_returns_the_last_owner_if_none_is_reachable(table: SubnetTable) -> None:
    table.add("a", Subnet.mac(MAC_A))
    table.add("b", Subnet.mac(MAC_A))
    assert table.mac_owner(MAC_A, lambda name: False) == "b"


def test_no_node_can_claim_the_broadcast_address(table: SubnetTable) -> None:
    broadcast = b"\xff" * 6
    table.add("a", parse_subnet("ff:ff:ff:ff:ff:ff#0"))
    assert table.mac_owner(broadcast, everyone) == "a"
    for subnet in DEFAULT_BROADCAST_SUBNETS:
        table.add(None, subnet)
    assert table.mac_owner(broadcast, everyone) is None
    table.delete(None, parse_subnet("ff:ff:ff:ff:ff:ff"))
    assert table.mac_owner(broadcast, everyone) == "a"


def test_every_owned_mac_is_listed(table: SubnetTable) -> None:
    table.add("a", Subnet.mac(MAC_A))
    table.add("b", Subnet.mac(MAC_A))
    table.add("b", Subnet.mac(MAC_B))
    table.add("b", parse_subnet("10.0.0.0/8"))
    table.add(None, Subnet.mac(b"\xff" * 6))
    assert sorted(table.macs()) == [MAC_A, MAC_B]


# -- learning --


def test_a_learned_mac_expires_after_its_life_time_of_silence(table: SubnetTable) -> None:
    learned(table, MAC_A, now=100)
    assert table.learn(ME, MAC_A, 150) == (False, [])
    assert table.is_learned(Subnet.mac(MAC_A))
    assert table.has(ME, Subnet.mac(MAC_A))
    assert table.expire(ME, 750, 600) == []
    assert table.expire(ME, 750.5, 600) == [Subnet.mac(MAC_A)]
    assert not table.has(ME, Subnet.mac(MAC_A))
    assert not table.is_learned(Subnet.mac(MAC_A))


@pytest.mark.parametrize("text", ["02:00:00:00:00:01", "02:00:00:00:00:01#3"])
def test_a_configured_mac_is_neither_learned_nor_aged(table: SubnetTable, text: str) -> None:
    table.add(ME, parse_subnet(text))
    assert table.learn(ME, MAC_A, 0) == (False, [])
    assert not table.is_learned(parse_subnet(text))
    assert table.expire(ME, 1e9, 600) == []
    assert len(table) == 1


def test_a_mac_of_another_node_is_learned_as_well(table: SubnetTable) -> None:
    table.add("a", Subnet.mac(MAC_A))
    learned(table, MAC_A)


def test_renewing_never_makes_a_mac_older(table: SubnetTable) -> None:
    learned(table, MAC_A, now=100)
    table.renew(MAC_A, 50)
    assert table.expire(ME, 700, 600) == []
    table.renew(MAC_A, 200)
    table.renew(MAC_B, 200)
    assert table.expire(ME, 800, 600) == []
    assert not table.is_learned(Subnet.mac(MAC_B))
    assert table.expire(ME, 800.5, 600) == [Subnet.mac(MAC_A)]


def test_a_mac_that_moved_to_another_node_is_removed_at_the_next_ageing(table: SubnetTable) -> None:
    learned(table, MAC_A, MAC_B, now=100)
    table.hand_over(MAC_A)
    table.hand_over(MAC_C)
    assert table.has(ME, Subnet.mac(MAC_A))
    assert table.expire(ME, 101, 600) == [Subnet.mac(MAC_A)]
    assert table.has(ME, Subnet.mac(MAC_B))


def test_a_mac_that_returned_before_the_ageing_stays(table: SubnetTable) -> None:
    learned(table, MAC_A, now=100)
    table.hand_over(MAC_A)
    table.learn(ME, MAC_A, 101)
    assert table.expire(ME, 102, 600) == []


def test_a_full_table_forgets_the_mac_that_was_silent_for_longest(
    table: SubnetTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subnet_table, "MAX_LEARNED", 2)
    learned(table, MAC_A, MAC_B, now=100)
    table.renew(MAC_B, 150)
    table.renew(MAC_A, 120)
    table.expire(ME, 160, 600)
    assert table.learn(ME, MAC_C, 161) == (True, [Subnet.mac(MAC_A)])
    assert table.of(ME) == [Subnet.mac(MAC_B), Subnet.mac(MAC_C)]


def test_announcements_of_peers_cannot_stop_learning(
    table: SubnetTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subnet_table, "MAX_SUBNETS", 1)
    table.add("a", parse_subnet("10.0.0.0/8"))
    learned(table, MAC_A)


# -- networks with more than one owner --


def test_nodes_that_own_the_same_network_are_rivals_whatever_the_weight(table: SubnetTable) -> None:
    table.add("a", parse_subnet("10.0.0.0/8"))
    table.add("b", parse_subnet("10.0.0.0/8#5"))
    table.add("c", parse_subnet("10.0.0.0/16"))
    assert table.rivals() == {"a", "b"}
    assert table.has_rivals
    table.delete("a", parse_subnet("10.0.0.0/8"))
    assert table.rivals() == set()
    assert not table.has_rivals


def test_a_node_with_two_weights_for_one_network_is_no_rival_of_itself(table: SubnetTable) -> None:
    table.add("a", parse_subnet("10.0.0.0/8"))
    table.add("a", parse_subnet("10.0.0.0/8#5"))
    assert table.rivals() == set()
    table.add("b", parse_subnet("10.0.0.0/8"))
    table.delete("a", parse_subnet("10.0.0.0/8"))
    assert table.rivals() == {"a", "b"}
    table.delete("a", parse_subnet("10.0.0.0/8#5"))
    assert table.rivals() == set()


def test_a_broadcast_subnet_has_no_rivals(table: SubnetTable) -> None:
    table.add(None, parse_subnet("224.0.0.0/4"))
    table.add("a", parse_subnet("224.0.0.0/4"))
    assert table.rivals() == set()


# -- all of it, against a model --

OWNERS = ("a", "b", "c")
MACS = (MAC_A, MAC_B, MAC_C, bytes((2, 0, 0, 0, 0, 4)))
SUBNETS = (
    *(Subnet.mac(mac) for mac in MACS),
    *(parse_subnet(f"02:00:00:00:00:0{number}#{weight}") for number in (1, 2) for weight in (1, 20)),
    *(parse_subnet(text) for text in ("10.0.0.0/8", "10.0.0.0/16", "10.0.0.1#3", "fd00::/8")),
)
LIFETIME = 10.0
MAX_LEARNED = 3


class SwitchMachine(RuleBasedStateMachine):
    """The model: a set of pairs, and for each learned MAC when it was seen and whether it was given up."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(subnet_table, "MAX_LEARNED", MAX_LEARNED)
        self.patch.setattr(subnet_table, "MAX_SUBNETS_PER_OWNER", 6)
        self.table = SubnetTable()
        self.model: set[tuple[str, Subnet]] = set()
        self.seen: dict[bytes, float] = {}
        self.given_up: set[bytes] = set()
        self.now = 0.0

    def teardown(self) -> None:
        self.patch.undo()

    def owned(self, owner: str) -> Iterator[Subnet]:
        return (subnet for name, subnet in self.model if name == owner)

    def forget(self, mac: bytes) -> None:
        self.model.discard((ME, Subnet.mac(mac)))
        self.seen.pop(mac)
        self.given_up.discard(mac)

    @rule(owner=st.sampled_from(OWNERS), subnet=st.sampled_from(SUBNETS))
    def add(self, owner: str, subnet: Subnet) -> None:
        if (owner, subnet) not in self.model and len(list(self.owned(owner))) == 6:
            with pytest.raises(LimitError):
                self.table.add(owner, subnet)
            return
        assert self.table.add(owner, subnet) == ((owner, subnet) not in self.model)
        self.model.add((owner, subnet))

    @rule(owner=st.sampled_from(OWNERS), subnet=st.sampled_from(SUBNETS))
    def delete(self, owner: str, subnet: Subnet) -> None:
        assert self.table.delete(owner, subnet) == ((owner, subnet) in self.model)
        self.model.discard((owner, subnet))

    @rule(owner=st.sampled_from(OWNERS))
    def remove_owner(self, owner: str) -> None:
        for subnet in self.table.of(owner):
            assert self.table.delete(owner, subnet)
        self.model -= {(owner, subnet) for subnet in self.owned(owner)}

    @rule(seconds=st.sampled_from((0.5, 3.0, 8.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(mac=st.sampled_from(MACS))
    def learn(self, mac: bytes) -> None:
        new, evicted = self.table.learn(ME, mac, self.now)
        assert new == (mac not in self.seen)
        assert len(evicted) == (new and len(self.seen) == MAX_LEARNED)
        for subnet in evicted:
            assert self.seen[subnet.address] == min(self.seen.values())
            self.forget(subnet.address)
        if self.seen.get(mac) != self.now:
            self.given_up.discard(mac)
        self.seen[mac] = self.now
        self.model.add((ME, Subnet.mac(mac)))

    @rule(mac=st.sampled_from(MACS))
    def hand_over(self, mac: bytes) -> None:
        self.table.hand_over(mac)
        if mac in self.seen:
            self.given_up.add(mac)

    @rule(data=st.data())
    def renew_and_expire(self, data: st.DataObject) -> None:
        """Do what the node does: first note when frames were seen, in any order, then age."""
        times = data.draw(st.dictionaries(st.sampled_from(MACS), st.floats(0, self.now)))
        for mac, seen in times.items():
            self.table.renew(mac, seen)
            if mac in self.seen and seen > self.seen[mac]:
                self.seen[mac] = seen
                self.given_up.discard(mac)
        old = {mac for mac, seen in self.seen.items() if seen + LIFETIME < self.now} | self.given_up
        expired = self.table.expire(ME, self.now, LIFETIME)
        assert sorted(subnet.address for subnet in expired) == sorted(old)
        for mac in old:
            self.forget(mac)

    @invariant()
    def table_equals_model(self) -> None:
        assert len(self.table) == len(self.model)
        assert set(self.table.all()) == self.model
        for owner in (*OWNERS, ME):
            assert self.table.of(owner) == sorted(self.owned(owner), key=lambda subnet: subnet.sort_key)
        assert set(self.table.macs()) == {s.address for _, s in self.model if len(s.address) == 6}
        assert {s.address for s in SUBNETS if self.table.is_learned(s)} == set(self.seen)

    @invariant()
    def rivals_are_those_of_the_model(self) -> None:
        rivals = {
            owner
            for owner, mine in self.model
            for other, theirs in self.model
            if owner != other
            and (mine.kind, mine.address, mine.prefix) == (theirs.kind, theirs.address, theirs.prefix)
        }
        assert self.table.rivals() == rivals

    @invariant()
    def macs_go_where_the_model_says(self) -> None:
        for mac in MACS:
            owners = sorted((s.weight, owner) for owner, s in self.model if s.address == mac)
            for reachable in ({"a", "b", "c", ME}, {"b"}, set[str]()):
                names = [owner for _, owner in owners if owner in reachable] or [o for _, o in owners][-1:]
                assert self.table.mac_owner(mac, reachable.__contains__) == next(iter(names), None)


TestSwitchMachine = SwitchMachine.TestCase

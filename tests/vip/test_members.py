"""The rule by which every node finds the same owner of an address."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pytinc.vip.members import MAX_MEMBERS, RECORD_LIFE, Address, Member
from pytinc.wire.vip_record import MAX_TERM, NO_HOLDER, Claim, Entry, EntryState

VIP = bytes((10, 1, 1, 10))
NOBODY = Claim(0, NO_HOLDER)
MAC = b"\x02\0\0\0\0\x01"
B, A, F, D, INIT = EntryState.BACKUP, EntryState.ACTIVE, EntryState.FAULT, EntryState.DRAIN, EntryState.INIT


def id_of(node: str) -> bytes:
    return node.encode().ljust(6, b"-")


def member(node: str, state: EntryState = B, priority: int = 100) -> Member:
    return Member(node, id_of(node), state, priority)


def claimed(holder: str | None, *, frozen: bool = False) -> Address:
    address = Address(VIP)
    if holder is not None:
        address.claim = Claim(3, id_of(holder), 100, frozen)
    return address


def entry(claim: Claim = NOBODY, state: EntryState = B, priority: int = 100) -> Entry:
    return Entry(VIP, state, priority, MAC, claim)


def test_the_holder_stays_whatever_the_priorities_are() -> None:
    members = [member("a", A, 1), member("b", B, 254)]
    assert claimed("a").choose(members) == "a"


def test_without_a_holder_the_highest_priority_serves() -> None:
    members = [member("a", B, 100), member("b", B, 101), member("d", F, 254)]
    for holder in (None, "z"):
        assert claimed(holder).choose(members) == "b"


def test_the_first_to_serve_waits_for_a_better_member_that_starts() -> None:
    members = [member("a", B, 100), member("b", B, 101), member("c", INIT, 254)]
    assert claimed(None).choose(members) is None
    assert claimed("z").choose(members) == "b", "but clients of one that is gone do not"
    assert claimed(None).choose([*members[:2], member("c", INIT, 50)]) == "b"
    assert claimed(None).choose([*members[:2], member("c", EntryState.ABSENT, 254)]) == "b"


def test_a_holder_that_is_not_well_or_drains_is_replaced() -> None:
    for state in (F, D):
        assert claimed("a").choose([member("a", state), member("b")]) == "b"


def test_a_frozen_holder_is_not_replaced_as_long_as_it_is_there() -> None:
    for state in (F, D, B, A):
        assert claimed("a", frozen=True).choose([member("a", state), member("b")]) == "a"
    assert claimed("a", frozen=True).choose([member("b")]) == "b"


def test_if_nobody_is_well_the_holder_goes_on_and_without_one_the_best_of_the_unwell() -> None:
    assert claimed("a").choose([member("a", D), member("b", F, 200)]) == "a"
    assert claimed(None).choose([member("a", F), member("b", F, 200), member("c", D, 250)]) == "b"
    assert claimed(None).choose([member("a", D), member("b", INIT)]) is None
    assert claimed("a").choose([]) is None


def test_a_member_that_starts_is_never_chosen_not_even_as_the_holder() -> None:
    assert claimed("a").choose([member("a", INIT), member("b", F)]) == "b"
    assert claimed("a", frozen=True).choose([member("a", INIT)]) is None


@given(
    st.lists(st.tuples(st.sampled_from(EntryState), st.integers(1, 254)), max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_members_does_not_matter(
    kinds: list[tuple[EntryState, int]], chance: random.Random
) -> None:
    members = [member(f"n{number}", *kind) for number, kind in enumerate(kinds)]
    other = list(members)
    chance.shuffle(other)
    for holder in (None, "n0"):
        assert claimed(holder).choose(members) == claimed(holder).choose(other)


def test_equal_priorities_are_decided_by_a_hash_that_differs_from_address_to_address() -> None:
    members = [member(name) for name in "abc"]
    chosen = {Address(bytes((10, 1, 1, number))).choose(members) for number in range(50)}
    assert chosen == {"a", "b", "c"}


# -- claims --


def test_the_higher_term_counts_and_of_equal_ones_all_take_the_same() -> None:
    one, other = Claim(5, id_of("a")), Claim(5, id_of("b"))
    there, back = Address(VIP), Address(VIP)
    for number, claim in enumerate((one, other)):
        there.hear(f"n{number}", b"", entry(claim), 1, 1, 0.0)
    for number, claim in enumerate((other, one)):
        back.hear(f"n{number}", b"", entry(claim), 1, 1, 0.0)
    assert there.claim == back.claim
    better = Claim(5, id_of("z"), 1)
    there.hear("n7", b"", entry(better), 1, 1, 0.0)
    assert there.claim == better
    there.hear("n9", b"", entry(Claim(6, id_of("c"))), 1, 1, 0.0)
    there.hear("n8", b"", entry(Claim(4, id_of("d"))), 1, 1, 0.0)
    assert there.claim == Claim(6, id_of("c"))


def test_a_takeover_raises_the_term_and_counts_whatever_was_claimed_before() -> None:
    address = claimed("a", frozen=True)
    address.take_over(id_of("b"), 90)
    assert address.claim == Claim(4, id_of("b"), 90)
    highest = address.claim = Claim(MAX_TERM, id_of("a"), 255)
    address.take_over(id_of("b"), 90)
    taken = address.claim
    address.hear("c", b"", entry(highest), 1, 1, 0.0)
    assert address.claim == taken, "who repeats the old claim changes nothing"
    other = Address(VIP)
    other.claim = highest
    assert other.hear("b", b"", entry(taken), 1, 1, 0.0)
    assert other.claim == taken


def test_a_new_node_takes_any_claim() -> None:
    for term in (0, 1, MAX_TERM // 2, MAX_TERM // 2 + 2, MAX_TERM):
        address, claim = Address(VIP), Claim(term, id_of("a"), 1)
        address.hear("b", b"", entry(claim), 1, 1, 0.0)
        assert address.claim == claim
        address.hear("c", b"", entry(NOBODY), 1, 1, 0.0)
        assert address.claim == claim


def test_a_member_that_hears_the_holder_says_so_as_long_as_it_is_the_holder() -> None:
    address = claimed("a")
    address.hear("b", b"", replace(entry(address.claim), hears_holder=True), 1, 1, 0.0)
    assert address.is_holder_heard({"b", "c"})
    assert not address.is_holder_heard({"c"}), "b cannot be reached"
    address.hear("b", b"", entry(address.claim), 1, 2, 0.0)
    assert not address.is_holder_heard({"b"})
    address.hear("b", b"", replace(entry(address.claim), hears_holder=True), 1, 3, 0.0)
    address.take_over(id_of("c"), 100)
    assert not address.is_holder_heard({"b"}), "that was another holder"


# -- records --


def test_an_old_record_changes_nothing_and_one_after_a_restart_counts() -> None:
    address = Address(VIP)
    assert address.hear("a", b"", entry(state=B), 1, 5, 0.0)
    assert not address.hear("a", b"", entry(state=F), 1, 5, 1.0)
    assert not address.hear("a", b"", entry(state=F), 1, 4, 1.0)
    assert address.others["a"].entry.state is B
    assert address.hear("a", b"", entry(state=F), 2, 1, 1.0)
    assert address.others["a"].entry.state is F


def test_only_changes_are_news() -> None:
    address = Address(VIP)
    assert address.hear("a", b"", entry(), 1, 1, 0.0)
    assert not address.hear("a", b"", entry(), 1, 2, 1.0)
    assert address.others["a"].heard == 1.0
    assert address.hear("a", b"", entry(priority=50), 1, 3, 2.0)


def test_a_member_that_was_not_heard_for_a_while_or_is_not_alive_does_not_count() -> None:
    address = Address(VIP)
    address.life = RECORD_LIFE
    address.hear("a", b"", entry(), 1, 1, 0.0)
    address.hear("b", b"", entry(), 1, 1, 1.0)
    assert [each.node for each in address.present(lambda node: True, 1.0)] == ["a", "b"]
    assert [each.node for each in address.present(lambda node: node != "a", 1.0)] == ["b"]
    assert address.next_expiry(1.0) == RECORD_LIFE
    assert [each.node for each in address.present(lambda node: True, RECORD_LIFE)] == ["b"]
    address.shift(2.0, RECORD_LIFE)
    assert len(address.present(lambda node: True, RECORD_LIFE)) == 2


def test_a_record_that_came_after_a_standstill_counts_no_longer_than_others() -> None:
    address = Address(VIP)
    address.life = RECORD_LIFE
    address.hear("a", b"", entry(), 1, 1, 100.0)
    address.shift(60.0, 100.0)
    assert not address.present(lambda node: True, 100.0 + RECORD_LIFE)


def test_a_member_that_says_so_is_removed_and_others_are_forgotten_after_a_while() -> None:
    address = Address(VIP)
    address.hear("a", b"", entry(), 1, 1, 0.0)
    address.hear("b", b"", entry(), 1, 1, 0.0)
    assert address.hear("a", b"", entry(state=EntryState.REMOVED), 1, 2, 0.0)
    assert not address.hear("c", b"", entry(state=EntryState.REMOVED), 1, 2, 0.0)
    assert list(address.others) == ["b"]
    address.prune(601.0, 600.0)
    assert not address.others


def test_made_up_members_are_bounded() -> None:
    address = Address(VIP)
    for number in range(MAX_MEMBERS + 10):
        address.hear(f"n{number}", b"", entry(), 1, 1, 0.0)
    assert len(address.others) == MAX_MEMBERS

"""Member records: their receivers and their times."""

from __future__ import annotations

import pytest

from pytinc.vip.actions import SendRecord
from pytinc.vip.core import Core
from pytinc.vip.telling import FAR_INTERVAL, INTERVAL, REPEATS, Telling
from pytinc.wire.vip_record import MAX_SIZE, NO_HOLDER, Claim, Entry, EntryState, MemberRecord, parse_record
from vip.world import VIP, Mesh

ENTRY = Entry(VIP, EntryState.BACKUP, 100, b"\x02\0\0\0\0\x01", Claim(1, b"alpha-"))
GONE = Entry(VIP, EntryState.REMOVED, 100, NO_HOLDER, Claim(1, b"alpha-"))


class Stage:
    """A node that has an address in common with alpha, and none with beta."""

    def __init__(self, *entries: Entry) -> None:
        self.mesh = Mesh()
        self.mesh.pytinc_nodes = {"alpha", "beta"}
        self.core = Core("me", b"me----", self.mesh, lambda: 0.5)
        self.telling = Telling(self.core)
        self.entries = entries or (ENTRY,)

    def send(self, now: float) -> bool:
        return self.telling.send_due(lambda: self.entries, {"alpha"}, now)

    def told(self) -> list[tuple[str, MemberRecord]]:
        actions, self.core.actions = self.core.actions, []
        return [(each.node, parse_record(each.payload)) for each in actions if isinstance(each, SendRecord)]


def test_members_of_the_same_address_are_told_more_often_than_others() -> None:
    stage = Stage()
    counts = {"alpha": 0, "beta": 0}
    for tenth in range(101):
        stage.send(tenth / 10)
        for node, record in stage.told():
            counts[node] += 1
            assert record.entries == (ENTRY,)
    assert counts == {"alpha": 1 + 10 / INTERVAL, "beta": 1 + 10 / FAR_INTERVAL}


def test_the_first_records_for_a_node_are_told_of() -> None:
    stage = Stage()
    assert stage.send(0.0)
    assert not stage.send(INTERVAL)
    stage.telling.forget("beta")
    assert stage.send(INTERVAL)


def test_a_change_is_told_to_all_several_times() -> None:
    stage = Stage()
    stage.send(0.0)
    stage.told()
    stage.telling.change(0.5)
    times = []
    while (due := stage.telling.next_deadline()) < 2.0:
        stage.send(due)
        assert {node for node, _ in stage.told()} == {"alpha", "beta"}
        times.append(due - 0.5)
    assert times == pytest.approx(REPEATS)


def test_a_newcomer_is_told_at_once() -> None:
    stage = Stage()
    stage.send(0.0)
    stage.told()
    stage.telling.newcomer("beta")
    stage.send(0.1)
    assert [node for node, _ in stage.told()] == ["beta"]


def test_who_is_no_member_any_more_is_told_of_as_often_as_a_change_unless_it_is_one_again() -> None:
    stage = Stage()
    stage.telling.removed(GONE)
    stage.telling.change(0.0)
    for delay in REPEATS:
        assert stage.telling.has_removed
        stage.send(delay)
    assert not stage.telling.has_removed
    assert all(GONE in record.entries for _, record in stage.told())
    stage.telling.removed(GONE)
    stage.telling.kept([ENTRY])
    assert not stage.telling.has_removed


def test_many_entries_go_in_several_records_with_numbers_of_their_own() -> None:
    stage = Stage(*(ENTRY,) * 40)
    stage.send(0.0)
    records = [record for node, record in stage.told() if node == "alpha"]
    assert len(records) > 1
    assert all(len(record.pack()) <= MAX_SIZE for record in records)
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert sum(len(record.entries) for record in records) == 40


def test_a_node_that_was_told_nothing_for_long_is_new_again() -> None:
    stage = Stage()
    stage.send(0.0)
    stage.telling.prune(11.0, 10.0)
    assert stage.send(11.0)

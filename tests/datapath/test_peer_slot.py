"""One node as the data path sees it, and what went nowhere on the way from or to it."""

from __future__ import annotations

from pytinc.datapath.peer_slot import REASONS, Drops, PeerSlot
from pytinc.wire.datagram import node_id


def test_a_slot_shows_only_its_name() -> None:
    slot = PeerSlot("one")

    assert repr(slot) == "<PeerSlot one>"


def test_a_new_node_has_an_id_and_nothing_is_proved_about_it() -> None:
    slot = PeerSlot("one")

    assert slot.id == node_id("one")
    assert (slot.reachable, slot.confirmed, slot.minmtu, slot.paths) == (False, False, 0, ())
    assert PeerSlot("me", is_me=True).reachable


def test_drops_are_added_up_reason_by_reason() -> None:
    total = Drops(looped=1, short=2)

    total.add(Drops(**{reason: 10 * number for number, reason in enumerate(REASONS)}))

    for number, reason in enumerate(REASONS):
        assert getattr(total, reason) == 10 * number + {"looped": 1, "short": 2}.get(reason, 0)

"""Each announcement is acted on once, within bounds."""

from __future__ import annotations

import pytest

from pytinc.node.flood import MAX_CHARACTERS, MAX_ENDINGS, Endings, SeenCache


def test_a_line_is_new_once_until_it_is_forgotten() -> None:
    seen = SeenCache()
    assert not seen.seen("10 1 beta 10.0.0.0/8", 5.0)
    assert seen.seen("10 1 beta 10.0.0.0/8", 6.0)
    assert "10 1 beta 10.0.0.0/8" in seen
    assert "10 2 beta 10.0.0.0/8" not in seen
    seen.age(5.0)
    assert seen.seen("10 1 beta 10.0.0.0/8", 7.0)
    seen.age(5.1)  # its second coming does not count
    assert not seen.seen("10 1 beta 10.0.0.0/8", 8.0)


def test_to_ask_whether_a_line_came_does_not_remember_it() -> None:
    seen = SeenCache()
    assert "8" not in seen
    assert len(seen) == 0
    assert not seen.seen("8", 0.0)


def test_the_oldest_line_gives_way_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.node.flood.MAX_ENTRIES", 3)
    seen = SeenCache()
    for line in ("a", "b", "c", "d"):
        assert not seen.seen(line, 0.0)
    assert len(seen) == 3
    assert [line in seen for line in ("a", "b", "c", "d")] == [False, True, True, True]


def test_the_seen_cache_is_bounded_by_characters() -> None:
    seen = SeenCache()
    line = "x" * 2000
    for number in range(MAX_CHARACTERS // 2000 + 100):
        seen.seen(f"{number:06} {line}", 0.0)
    assert len(seen) <= MAX_CHARACTERS // 2007
    assert not seen.seen(f"{0:06} {line}", 0.0)  # forgotten
    seen.age(1.0)
    assert len(seen) == 0
    for number in range(1000):  # what was forgotten takes no room any more
        assert not seen.seen(f"{number:06} {line}", 2.0)
    assert len(seen) == 1000


def test_the_latest_of_many_ends_are_remembered() -> None:
    endings = Endings()
    for number in range(MAX_ENDINGS + 5):
        endings.note(("a", number), f"13 {number} a b")
    endings.note(("a", 5), "13 f a b")
    endings.note(("a", MAX_ENDINGS + 5), "13 e a b")
    assert len(endings) == MAX_ENDINGS
    found = [endings.of(("a", number), endings.total) for number in (4, 5, 6)]
    assert found == [None, "13 f a b", None]


def test_an_ending_counts_only_if_it_came_before() -> None:
    endings = Endings()
    endings.note("edge", "13 1 a b")
    before = endings.total
    endings.note("other", "13 2 a c")
    assert (endings.of("edge", before), endings.of("other", before)) == ("13 1 a b", None)
    endings.note("edge", "13 3 a b")
    assert endings.of("edge", before) is None
    assert endings.of("edge", endings.total) == "13 3 a b"

"""Every fuzz target takes its seeds and some thousand mutations of them; and failing inputs are kept.

This is the smoke run of `make fuzz`, which is guided by coverage and goes on for as long as one likes.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from fuzz import run
from fuzz.mutate import mutations
from fuzz.registry import Target
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_accepted_or_refused_as_declared(name: str) -> None:
    target = TARGETS[name]
    assert len(target.seeds()) > 1
    for data in itertools.islice(mutations(target, random.Random(name)), target.smoke):
        target.run(data)


def refuse_zero(data: bytes) -> None:
    if b"\0" in data:
        raise ValueError("a zero byte")


FAULTY = Target("faulty", "A target that fails.", refuse_zero, (lambda: [b"good", b"better"],))


def test_an_input_that_makes_a_target_fail_is_kept_and_fails_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TARGETS, "faulty", FAULTY)
    assert run.main(["faulty", "--plain", "--runs", "10000", "--state", str(tmp_path)]) == 1
    (kept,) = (tmp_path / "failures" / "faulty").iterdir()
    assert f"make fuzz ARGS='faulty --file {kept}'" in capsys.readouterr().out
    with pytest.raises(ValueError, match="a zero byte"):
        run.main(["faulty", "--file", str(kept)])


def test_mutations_are_the_same_in_every_run_and_begin_with_the_seeds() -> None:
    one, other = (list(itertools.islice(mutations(FAULTY, random.Random(3)), 200)) for _ in range(2))
    assert one == other
    assert set(one[:3]) == {b"", b"good", b"better"}
    assert len(set(one)) > 50

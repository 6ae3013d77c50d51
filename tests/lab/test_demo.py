from __future__ import annotations

from contextlib import ExitStack

import pytest

from pytinc.lab import demo
from pytinc.lab.demo import MOVE_LIMIT_S, SHOWN_S, Demo, moved, open_contrast, parse_arguments, still_silent
from pytinc.lab.namespaces import LabError
from pytinc.lab.narrator import Narrator
from pytinc.lab.node import Kind
from pytinc.lab.pulse import Outcome


def outcome(network: str = "pytincd", silence: float = 0.34, successor: str | None = "node_2") -> Outcome:
    return Outcome("cut off", network, "node_3", successor, silence, 30, 0.4, SHOWN_S)


class StageStub:
    """As much of a stage as is looked at when all is over."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind


def sum_up(kind: Kind, *outcomes: Outcome) -> bool:
    told = Demo(Narrator(plain=True), StageStub(kind), None)  # type: ignore[arg-type]
    told.outcomes += outcomes
    return told.sum_up()


def test_it_runs_pytinc_unless_told_otherwise() -> None:
    assert parse_arguments([]).kind == "py"
    assert parse_arguments(["--kind", "c", "--keep", "--plain"]).keep
    with pytest.raises(SystemExit):
        parse_arguments(["--kind", "rust"])


def test_a_fast_move_is_a_success_whatever_tincd_did(capsys: pytest.CaptureFixture[str]) -> None:
    beside = outcome(Kind.C.title, silence=15.0, successor=None)
    assert sum_up(Kind.PY, outcome(), outcome(silence=0.9 * MOVE_LIMIT_S), beside)
    said = capsys.readouterr().out
    assert "> 15.0 s" in said
    assert "docs/virtual-ip.md" in said


def test_a_slow_move_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert not sum_up(Kind.PY, outcome(silence=MOVE_LIMIT_S + 1))
    assert "FAILED: cut off: the silence of 11.00 s is over 10 s" in capsys.readouterr().out


def test_tincd_alone_cannot_fail() -> None:
    assert sum_up(Kind.C, outcome(Kind.C.title, silence=15.0, successor=None))


def test_the_words_for_a_move_and_for_none() -> None:
    assert moved(outcome()) == (
        "10.1.1.10 moved from [bold]node_3[/] to [bold]node_2[/]; silence 0.34 s, 30 pings lost"
    )
    assert still_silent(outcome(successor=None)) == (
        "10.1.1.10 is still silent after 15 s; it takes up to a minute"
    )


def test_the_comparison_is_omitted_with_a_message_if_tincd_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(_kind: Kind) -> tuple[str, str]:
        raise LabError("tinc and tincd are not installed")

    monkeypatch.setattr(Kind, "programs", absent)
    with ExitStack() as stack:
        assert open_contrast(Narrator(plain=True), Kind.PY, stack) is None
    assert "left out: tinc and tincd are not installed" in capsys.readouterr().out


def test_tincds_are_not_compared_with_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "Stage", None)
    with ExitStack() as stack:
        assert open_contrast(Narrator(plain=True), Kind.C, stack) is None

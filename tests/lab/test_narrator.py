from __future__ import annotations

import pytest

from pytinc.lab.narrator import Narrator


def test_without_a_terminal_it_prints_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator()
    assert not narrator.live
    with narrator.step("[bold]working[/]") as detail:
        detail("first")
        detail("first")
        detail("second")
    narrator.table("Nodes", ("node", "state"), [("[a]", "up")])
    narrator.result("it works")
    narrator.result("it does not", good=False)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert said.splitlines()[:3] == ["- working", "  ... first", "  ... second"]
    assert "[a]" in said, "cells are text, not markup"
    assert "OK: it works\nFAILED: it does not\n" in said


def test_a_failing_step_raises_its_error() -> None:
    with pytest.raises(ZeroDivisionError), Narrator(plain=True).step("dividing"):
        raise ZeroDivisionError


def test_replaced_lines_are_printed_once_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator()
    with narrator.lines() as show:
        show(["[green]#[/]..  silent"])
        show(["[green]##[/].  silent", "second"])
    narrator.note("neither good nor bad")
    assert capsys.readouterr().out == "##.  silent\nsecond\nNOTE: neither good nor bad\n"


def test_a_long_wait_is_reported_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("pytinc.lab.narrator.time.monotonic", lambda: now)
    with Narrator().lines() as show:
        for now in range(13):
            show([f"after {now} s"])
    assert capsys.readouterr().out == "after 5 s\nafter 10 s\nafter 12 s\n"


def test_a_terminal_keeps_the_last_of_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    narrator = Narrator()
    assert narrator.live
    with narrator.console.capture() as captured, narrator.lines() as show:
        show(["[red]first[/]"])
        show(["[green]last[/] " + "x" * 60])
    rows = captured.get().splitlines()
    assert "last" in rows[-2] + rows[-1]
    assert "x" * 36 not in captured.get(), "a line does not wrap"

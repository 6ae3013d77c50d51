from __future__ import annotations

import pytest

from pytinc.lab.narrator import Narrator


def test_without_a_terminal_it_speaks_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_step_that_fails_lets_the_error_out() -> None:
    with pytest.raises(ZeroDivisionError), Narrator(plain=True).step("dividing"):
        raise ZeroDivisionError

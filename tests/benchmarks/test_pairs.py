from __future__ import annotations

from typing import cast

import pytest

import pairs
from pytinc.lab.namespaces import Lab


def test_a_measurement_whose_program_is_missing_is_left_out_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(pairs.PROGRAMS, "http", ("no-such-program",))
    run = pairs.Measurement(cast("Lab", None), [], 1, 1, ["http"], [])
    run.run()
    (note,) = run.notes
    assert note.startswith("http: no-such-program is not installed")


def test_a_quick_run_is_one_round_of_a_second_unless_told_otherwise() -> None:
    quick = pairs.parse(["--quick", "--only", "py-py", "--measure", "ping"])
    assert (quick.rounds, quick.seconds, quick.only, quick.measure) == (1, 1, ["py-py"], ["ping"])
    assert (pairs.parse([]).rounds, pairs.parse(["--quick", "--rounds", "2"]).rounds) == (3, 2)
    with pytest.raises(SystemExit):
        pairs.parse(["--measure", "nothing"])

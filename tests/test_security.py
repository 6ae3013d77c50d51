"""SECURITY.md: each promise names tests that show it, and these tests exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests_by_name import named_tests

ROOT: Final = Path(__file__).resolve().parents[1]
ROW: Final = re.compile(r"^\| (?!Promise \||-)(.+?) \| (.*?) \|$", re.MULTILINE)


def promises() -> dict[str, list[str]]:
    """Return for each promise the tests that are named for it."""
    section = (ROOT / "SECURITY.md").read_text().partition("\n## Promises\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "Shown by" not in line]
    found = {promise: re.findall(r"`([^`]+::[^`]+)`", tests) for promise, tests in ROW.findall(section)}
    assert len(found) == len(rows) >= 30, "a row that cannot be read, or one twice"
    return found


PROMISES: Final = promises()


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_has_tests_and_they_exist(promise: str) -> None:
    assert PROMISES[promise], "a promise that nothing shows"
    missing = [
        test
        for test in PROMISES[promise]
        if not (ROOT / test.partition("::")[0]).is_file()
        or test.partition("::")[2] not in named_tests(test.partition("::")[0])
    ]
    assert missing == []

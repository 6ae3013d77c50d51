"""How much systemd's unit leaves the daemon, as systemd itself judges it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[1] / "systemd/pytinc@.service"
HIGHEST_EXPOSURE = 24
"""In tenths: `systemd-analyze security` must say less than 2.5."""


def test_systemd_finds_the_unit_well_confined() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian's package systemd)")
    words = ("security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE}", str(UNIT))
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=60)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot judge a file (systemd 250 can)")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_allows_the_system_calls_of_the_sandbox() -> None:
    allowed = {
        word
        for line in UNIT.read_text().splitlines()
        if line.startswith("SystemCallFilter=") and "~" not in line
        for word in line.partition("=")[2].split()
    }
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= allowed

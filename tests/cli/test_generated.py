"""Completion scripts and man pages: up to date, well formed, and installed where they are looked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pytinc.cli.commands import COMMANDS
from pytinc.config.variables import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["pytinc.8", "pytincd.8", "tinc.conf.5"]
FORMATTERS = {
    "mandoc": ["mandoc", "-Tlint", "-Wwarning"],
    "groff": ["groff", "-man", "-ww", "-Tutf8", "-z"],
    "man": ["man", "--warnings", "-E", "UTF-8", "-l"],
}


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "tools/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("formatter", FORMATTERS)
def test_formatters_accept_the_man_pages(formatter: str, page: str) -> None:
    if shutil.which(formatter) is None:
        pytest.skip(f"{formatter} is not installed")
    done = subprocess.run(
        [*FORMATTERS[formatter], str(ROOT / "man" / page)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MANPAGER": "cat"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    if formatter == "man":
        assert "SEE ALSO" in done.stdout


def test_the_man_pages_name_everything() -> None:
    commands = (ROOT / "man/pytinc.8").read_text().replace("\\-", "-")
    assert [name for name in COMMANDS if f"\\fB{name}\\fR" not in commands] == []
    variables = (ROOT / "man/tinc.conf.5").read_text()
    assert [v.name for v in VARIABLES.values() if f"\\fB{v.name}\\fR" not in variables] == []


def test_the_wheel_installs_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    data = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert all((ROOT / source).is_file() for source in data)
    made = {*PAGES, "pytinc.bash", "_pytinc", "pytinc.fish"}
    assert made == {Path(source).name for source in data if not source.startswith("systemd/")}
    assert data["man/pytinc.8"] == "share/man/man8/pytinc.8"

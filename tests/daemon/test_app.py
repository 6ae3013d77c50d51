from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pytinc
from pytinc.daemon.app import main, version_text


def test_version_wins_over_help_and_has_the_lines_programs_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help", "--version"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"tinc version {pytinc.__version__} (")
    assert first.endswith("protocol 17.7)")
    assert second == "Features: comp_lzo comp_zlib comp_lz4 miniupnpc sandbox vde watchdog"


def test_a_feature_whose_library_is_missing_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "lz4" else object())
    assert "Features: comp_lzo comp_zlib miniupnpc sandbox vde watchdog\n" in version_text()


def test_help_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["word"], ["--nosuch"], ["-c"]])
def test_a_wrong_command_line_gives_a_hint_and_status_one(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "--help' for more information." in said


@pytest.mark.parametrize("name", ["a/b", ".hidden", "a\\b", "a\tb"])
def test_an_impossible_netname_is_refused(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["-n", name]) == 1
    assert "Invalid character in netname" in capsys.readouterr().err


def test_an_option_without_a_value_is_refused_by_its_number(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["-c", str(tmp_path), "-o", "A=1", "-o", "B"]) == 1
    assert "No value for variable `B' in command line option 2" in capsys.readouterr().err


def test_the_start_loads_nothing_that_only_some_daemons_need() -> None:
    heavy = {
        "anyio", "cffi", "construct", "email", "http", "httpx", "miniupnpc", "multiprocessing", "numpy",
        "prometheus_client", "pycparser", "pyroute2", "rich", "uvloop",
    }  # fmt: skip
    script = (
        "import sys\n"
        "import pytinc.daemon.app, pytinc.daemon.service\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

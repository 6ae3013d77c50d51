from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytinc.cli.app import main
from pytinc.cli.view import MISSING
from view.fake_daemon import FakeDaemon, FakeMesh


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(list(words))
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--port", "1"], "unknown word `--port'"),
        (["now"], "unknown word `now'"),
        (["--listen"], "--listen needs a value"),
        (["--listen", "host.example"], "--listen needs a numeric address"),
        (["--listen=127.0.0.1:x"], "--listen needs a port"),
        (["--socket", "x"], "--socket needs the number"),
    ],
)
def test_wrong_words_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], complaint: str
) -> None:
    status, errors = run(capsys, f"--pidfile={tmp_path}/pid", "view", *words)
    assert status == 1
    assert complaint in errors


def test_a_descriptor_that_is_no_socket_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with FakeDaemon(tmp_path, FakeMesh(2)):
        status, errors = run(capsys, f"--pidfile={tmp_path}/pid", "view", "--socket", "987")
    assert (status, errors) == (1, "--socket 987: Bad file descriptor\n")


def test_without_a_daemon_it_ends_with_the_usual_message(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, errors = run(capsys, f"--pidfile={tmp_path}/pid", "view", "--listen", "0")
    assert status == 1
    assert errors.startswith("Could not open pid file")


def test_without_the_extra_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "from pytinc.cli.app import main\nsys.exit(main(['view', '--listen', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"{MISSING}\n"
    assert "pip install pytinc[view]" in MISSING

"""Getting the right to make namespaces: as root, in a user namespace, or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

import pytest

from pytinc.lab import privileges
from pytinc.lab.namespaces import LabError, run
from pytinc.lab.privileges import MARK, UNSHARE, ensure_root, is_rootless


class Replaced(Exception):
    """The process has become another program."""


@pytest.fixture
def ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """We are not root, and there is no user namespace yet."""

    def replace(file: str, words: list[str], environment: Mapping[str, str]) -> None:
        raise Replaced(file, words, environment)

    monkeypatch.delenv(MARK, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "execvpe", replace)


def probe_answers(monkeypatch: pytest.MonkeyPatch, status: int, text: str = "") -> list[tuple[str, ...]]:
    """Let the trial of unshare end like this; return what is tried."""
    tried: list[tuple[str, ...]] = []

    def answer(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        tried.append(command)
        return subprocess.CompletedProcess(command, status, "", text)

    monkeypatch.setattr(privileges, "run", answer)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return tried


def test_root_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MARK, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    ensure_root(["never", "run"])
    assert not is_rootless()


@pytest.mark.usefixtures("ordinary_user")
def test_others_start_the_program_again_in_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    probe_answers(monkeypatch, 0)
    with pytest.raises(Replaced) as replaced:
        ensure_root(["python", "-m", "pytinc.lab"])
    file, words, environment = replaced.value.args
    assert file == "unshare"
    assert words[: len(UNSHARE)] == list(UNSHARE)
    assert words[len(UNSHARE) :] == ["python", "-m", "pytinc.lab"]
    assert environment[MARK]
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.usefixtures("ordinary_user")
def test_the_reason_is_reported_if_user_namespaces_are_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    probe_answers(monkeypatch, 1, "unshare: Operation not permitted\n")
    with pytest.raises(LabError, match=r"not root, .*: unshare: Operation not permitted$"):
        ensure_root(["never", "run"])


@pytest.mark.usefixtures("ordinary_user")
def test_the_package_is_named_if_unshare_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(LabError, match="util-linux"):
        ensure_root(["never", "run"])


def test_the_program_continues_in_the_namespace_with_a_private_run_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = probe_answers(monkeypatch, 0)
    monkeypatch.setenv(MARK, "1")
    assert is_rootless()
    ensure_root(["never", "run"])
    ((program, *words),) = tried
    assert program == "mount"
    assert words[-1] == "/run"


def test_network_namespaces_can_be_made_in_such_a_user_namespace() -> None:
    """The real thing, as far as this system lets us."""
    code = (
        "from pytinc.lab.privileges import ensure_root; ensure_root([]); "
        "from pytinc.lab.namespaces import run; run('ip', 'netns', 'add', 'made'); "
        "print(run('ip', 'netns', 'list').stdout.split()[0])"
    )
    if run(*UNSHARE, "true", check=False).returncode != 0 or shutil.which("ip") is None:
        pytest.skip("no user namespaces here")
    done = run(*UNSHARE, "env", f"{MARK}=1", sys.executable, "-c", code)
    assert done.stdout == "made\n"
    assert "made" not in run("ip", "netns", "list").stdout.split()

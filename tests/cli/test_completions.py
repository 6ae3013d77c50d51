"""Completion scripts: asked in the real bash, zsh and fish where they are installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.vip_answers import SERVED, answer
from pytinc.cli.commands import COMMANDS
from pytinc.cli.completions import FILES
from pytinc.config.variables import VARIABLES

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

SCRIPTS = Path(__file__).resolve().parents[2] / "src/pytinc/cli/completions"
NODES = (
    "18 3 onlyrunning 485d4d17037c unknown port unknown 0 0 0 0 0 20 - - -1 1518 0 1518 0 -1 0 0 0 0\n18 3\n"
)

VIPS = answer(SERVED, {**SERVED, "address": "10.1.1.11"})

BASH = """\
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_pytinc
printf '%s\\n' "${COMPREPLY[@]}"
"""


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@pytest.mark.parametrize("shell", FILES)
def test_the_scripts_are_printed_and_name_everything(run: Run, shell: str) -> None:
    status, out, err = run("completion", shell)
    assert (status, err) == (0, "")
    assert all(name in out for name in COMMANDS)
    assert all(variable.name in out for variable in VARIABLES.values())


def test_another_shell_has_no_script(run: Run) -> None:
    assert run("completion", "tcsh") == (1, "", "No completion for `tcsh': choose bash, zsh, fish.\n")
    assert run("completion").status == 1


@pytest.fixture
def program(tmp_path: Path, conf: Path) -> Path:
    """Make an executable ``pytinc`` that uses this checkout."""
    path = tmp_path / "bin" / "pytinc"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom pytinc.cli.app import main\nsys.exit(main())\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (conf / "hosts" / "beta-up").write_text("")
    (tmp_path / "etc/tinc/homenet").mkdir(parents=True)
    (tmp_path / "etc/tinc/homenet/tinc.conf").write_text("Name = x\n")
    return path


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "PYTINC_SYSCONFDIR": str(tmp_path / "etc"),
        "PYTINC_LOCALSTATEDIR": str(tmp_path / "var"),
    }


def ask_bash(tmp_path: Path, *words: str) -> set[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", str(SCRIPTS / FILES["bash"]), *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def ask_fish(tmp_path: Path, *words: str) -> set[str]:
    line = " ".join(words)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {SCRIPTS / FILES['fish']}; complete -C '{line}'"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return {row.partition("\t")[0] for row in done.stdout.splitlines()}


Ask = Callable[..., set[str]]
ASKERS = [
    pytest.param(ask_bash, marks=needs("bash"), id="bash"),
    pytest.param(ask_fish, marks=needs("fish"), id="fish"),
]
CASES: list[tuple[list[str], set[str]]] = [
    (["du"], {"dump"}),
    (["--force", "-n", "vpn", "generate-k"], {"generate-keys"}),
    (["-n", "h"], {"homenet"}),
    (["dump", "c"], {"connections"}),
    (["DUMP", "reachable", ""], {"nodes"}),
    (["dump", "graph", "--s"], {"--svg"}),
    (["get", "AutoC"], {"AutoConnect"}),
    (["-c", "conf", "set", "gam"], {"gamma."}),
    (["set", "beta.Sub"], {"beta.Subnet"}),
    (["set", "beta.Mod"], set()),
    (["set", "AutoConnect", ""], {"yes", "no"}),
    (["-c", "conf", "add", "ConnectTo", ""], {"alpha", "beta", "gamma"}),
    (["add", "virtualip", "10.1.1.10", "pr"], {"priority=", "preempt="}),
    (["set", "VirtualIP", "10.1.1.10", "rise=2", "manag"], {"manage="}),
    (["del", "VirtualIP", "10.1.1.10", "pr"], set()),
    (["get", "VirtualIP", "10.1.1.10", "pr"], set()),
    (["add", "ConnectTo", "beta", "pr"], set()),
    (["-c", "conf", "info", "b"], {"beta"}),
    (["-c", "conf", "verify", "ga"], {"gamma"}),
    (["-c", "conf", "edit", "hos"], {"host-up", "host-down"}),
    (["vip", "u"], {"undrain"}),
    (["VIP", "f"], {"freeze"}),
    (["vip", "--w"], {"--watch"}),
    (["-c", "conf", "vip", "move", "10.1.1.10", "g"], {"gamma"}),
    (["-c", "conf", "vip", "freeze", "10.1.1.10", "g"], set()),
    (["network", "h"], {"homenet"}),
    (["config", "get", "AutoC"], {"AutoConnect"}),
    (["completion", "z"], {"zsh"}),
    (["start", "--bypass"], {"--bypass-security"}),
    (["stop", ""], set()),
]


def _words(value: list[str] | set[str]) -> str:
    """Return a name for a case that is the same in every run: a set has no order."""
    return " ".join(sorted(value) if isinstance(value, set) else value) or "nothing"


@pytest.mark.parametrize("ask", ASKERS)
@pytest.mark.parametrize(("words", "offered"), CASES, ids=_words)
def test_words_are_offered(
    ask: Ask, words: list[str], offered: set[str], program: Path, tmp_path: Path
) -> None:
    assert ask(tmp_path, "pytinc", *words) == offered


@pytest.mark.parametrize("ask", ASKERS)
def test_every_command_is_offered(ask: Ask, program: Path, tmp_path: Path) -> None:
    assert ask(tmp_path, "pytinc", "") >= {name for name in COMMANDS if name != "config"}


@pytest.mark.parametrize("ask", ASKERS)
def test_nodes_of_the_running_daemon_are_offered(
    ask: Ask, program: Path, daemon: ScriptedDaemon, tmp_path: Path
) -> None:
    daemon.answers["3"] = NODES
    words = ("pytinc", "-c", "conf", "--pidfile", "conf/pid")
    assert ask(tmp_path, *words, "disconnect", "") == {"alpha", "beta", "gamma", "onlyrunning"}
    assert ask(tmp_path, *words, "info", "only") == {"onlyrunning"}


@pytest.mark.parametrize("ask", ASKERS)
def test_virtual_ips_of_the_running_daemon_are_offered(
    ask: Ask, program: Path, daemon: ScriptedDaemon, tmp_path: Path
) -> None:
    daemon.answers["4098"] = VIPS
    words = ("pytinc", "-c", "conf", "--pidfile", "conf/pid", "vip")
    assert ask(tmp_path, *words, "1") == {"10.1.1.10", "10.1.1.11"}
    assert ask(tmp_path, *words, "thaw", "") == {"10.1.1.10", "10.1.1.11"}
    assert ask(tmp_path, *words, "rebalance", "") == {"10.1.1.10", "10.1.1.11"}
    assert ask(tmp_path, *words, "drain", "1") == set()


@needs("bash")
def test_bash_offers_variables_in_any_case(program: Path, tmp_path: Path) -> None:
    assert ask_bash(tmp_path, "pytinc", "set", "autoc") == {"AutoConnect"}


@needs("bash")
def test_bash_understands_long_options_with_an_equals_sign(program: Path, tmp_path: Path) -> None:
    # Readline makes three words of it.
    assert ask_bash(tmp_path, "pytinc", "--config", "=", "conf", "verify", "ga") == {"gamma"}
    assert ask_bash(tmp_path, "pytinc", "--net", "=") == {"homenet"}


class Zsh:
    """An interactive zsh on a terminal of its own; Ctrl-X writes the line being typed to a file."""

    def __init__(self, directory: Path) -> None:
        self.line = directory / "line"
        rc = directory / ".zshrc"
        rc.write_text(
            "autoload -Uz compinit; compinit -u -D\nPS1='READY> '\nunsetopt beep\n"
            f"source {SCRIPTS / FILES['zsh']}\n"
            f'dump-line() {{ print -r -- "$BUFFER" >{self.line}.new; mv {self.line}.new {self.line} }}\n'
            "zle -N dump-line; bindkey '^X' dump-line\n"
        )
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe("zsh", ["zsh", "-i"], environment(directory) | {"ZDOTDIR": str(directory)})
        self.read_until(b"READY> ")

    def read_until(self, wanted: bytes) -> None:
        seen, end = b"", time.monotonic() + 60
        while wanted not in seen:
            ready, _, _ = select.select([self.terminal], [], [], end - time.monotonic())
            assert ready, seen
            seen += os.read(self.terminal, 4096)

    def complete(self, typed: str) -> str:
        """Type, press TAB, and return what the line became."""
        self.line.unlink(missing_ok=True)
        os.write(self.terminal, b"\x15" + typed.encode() + b"\t\x18")
        end = time.monotonic() + 60
        while not self.line.exists():
            assert time.monotonic() < end, "zsh does not answer"
            ready, _, _ = select.select([self.terminal], [], [], 0.05)
            if ready:
                os.read(self.terminal, 4096)
        return self.line.read_text().removesuffix("\n")

    def close(self) -> None:
        os.write(self.terminal, b"\x15exit\n")
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@needs("zsh")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_zsh_completes(program: Path, daemon: ScriptedDaemon, tmp_path: Path) -> None:
    daemon.answers["3"] = NODES
    zsh = Zsh(tmp_path)
    try:
        assert zsh.complete("pytinc du") == "pytinc dump "
        assert zsh.complete("pytinc -n h") == "pytinc -n homenet "
        assert zsh.complete("pytinc --net=h") == "pytinc --net=homenet "
        assert zsh.complete("pytinc --for") == "pytinc --force "
        assert zsh.complete("pytinc dump reachable ") == "pytinc dump reachable nodes "
        assert zsh.complete("pytinc dump graph --s") == "pytinc dump graph --svg "
        assert zsh.complete("pytinc set autoc") == "pytinc set AutoConnect "
        assert zsh.complete("pytinc -c conf set gam") == "pytinc -c conf set gamma."
        assert zsh.complete("pytinc set beta.sub") == "pytinc set beta.Subnet "
        assert zsh.complete("pytinc set AutoConnect y") == "pytinc set AutoConnect yes "
        address = "pytinc add VirtualIP 10.1.1.10 "
        assert zsh.complete(f"{address}prio") == f"{address}priority="
        assert zsh.complete("pytinc -c conf verify ga") == "pytinc -c conf verify gamma "
        daemon.answers["4098"] = VIPS
        assert zsh.complete("pytinc vip u") == "pytinc vip undrain "
        assert zsh.complete("pytinc vip --w") == "pytinc vip --watch "
        vip = "pytinc -c conf --pidfile conf/pid vip"
        assert zsh.complete(f"{vip} move 10.1.1.11") == f"{vip} move 10.1.1.11 "
        assert zsh.complete(f"{vip} move 10.1.1.11 ga") == f"{vip} move 10.1.1.11 gamma "
        running = "pytinc -c conf --pidfile conf/pid disconnect "
        assert zsh.complete(f"{running}on") == f"{running}onlyrunning "
        assert zsh.complete(f"{running}be") == f"{running}beta "
    finally:
        zsh.close()

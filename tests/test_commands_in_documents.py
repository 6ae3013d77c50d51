"""What documents quote: commands that the command line takes, and lines of the log that the sources write."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytinc.cli.app import main
from pytinc.cli.commands import find
from pytinc.config.variables import lookup

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "ansible").rglob("*.md"))
}
CODE = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
COMMAND = re.compile(
    r"(?:^|[|;&(`]|# |\$ |docker exec (?:-\S+ )*\S+ |sudo )[ ]*(?:tinc|pytinc) ((?:[^|;&<>()`\n\\]|\\\n)+)",
    re.MULTILINE,
)
"""The command where a shell looks for one, and its words up to the end of the line or a sign of the shell."""
GLOBAL_WITH_VALUE = ("-n", "-c", "--net", "--config", "--pidfile")
SHOWN = re.compile(r"[A-Z]+|\.\.\.|….*|.*…")
"""A word that stands for others."""
NOT_MEANT = {"command": "a drawing in architecture.md", "invitation": "a seed in protocol-sptps.md"}
"""Words after "tinc" at the beginning of a line in blocks that have no commands."""
EDITS = ("get", "set", "add", "del")


def commands(page: str) -> Iterator[list[str]]:
    """Yield the words of each command that a page has in its blocks and between backquotes."""
    for code in CODE.findall(page):
        for words in COMMAND.findall(code):
            with contextlib.suppress(
                ValueError
            ):  # a quotation mark without its other half: words of a sentence
                yield shlex.split(words.replace("\\\n", " "), comments=True)


def parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the global options, and the command with its words."""
    index = 0
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] in GLOBAL_WITH_VALUE else 1
    return words[:index], words[index:]


def run(*words: str) -> tuple[int, str]:
    """Run the command line; return its status and all that it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        status = main(words)
    return status, out.getvalue()


def complaint(words: list[str]) -> str:
    """Return what is wrong with a command, as far as its options and first words tell."""
    options, command = parted(words)
    if not command or command[0] in NOT_MEANT or SHOWN.fullmatch(command[0]):
        return ""
    known = find(command[0])
    if known is None:
        return f"there is no command {command[0]}"
    # Not ``COMMAND --help``: `start` hands all its words to the daemon.
    status, text = run(*options, "help", command[0])
    if status != 0:
        return text
    _, rest = known.take_json(command[1:])
    for word in rest:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in text:
            return f"{command[0]} has no option {option}"
    if command[0] in EDITS and rest and not SHOWN.fullmatch(rest[0]):
        variable = rest[0].rpartition(".")[2].partition("=")[0]
        if not SHOWN.fullmatch(variable) and lookup(variable) is None:
            return f"there is no variable {variable}"
    return ""


@pytest.mark.parametrize("name", PAGES)
def test_the_command_line_takes_each_command_of_a_page(name: str) -> None:
    wrong = {" ".join(words): complaint(words) for words in commands(PAGES[name])}
    assert {words: text for words, text in wrong.items() if text} == {}


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    page = "See `pytinc -n m vip --watch`, or\n```console\na# pytinc -n m get \\\n  Mode | cat\n```\n`pytinc`"
    assert list(commands(page)) == [["-n", "m", "vip", "--watch"], ["-n", "m", "get", "Mode"]]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("-n m inivte beta", "inivte"),
        ("--nett start", "--nett"),
        ("invite beta --adress auto", "--adress"),
        ("set Mdoe switch", "Mdoe"),
        ("set alpha.Addres x", "Addres"),
    ],
)
def test_what_the_command_line_does_not_take_is_found(command: str, text: str) -> None:
    assert text in complaint(command.split())


# -- lines of the log --

VALUE = "\0"
"""Stands in a message for a part that is not known before."""


def messages() -> set[str]:
    """Return all texts of the sources, with `VALUE` for the parts that are put in."""
    found: set[str] = set()
    for path in (ROOT / "src/pytinc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.add(
                    "".join(
                        str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


MESSAGES = messages()


def quoted() -> list[str]:
    """Return the lines in the first column of the tables under "Words of the log"."""
    text = PAGES["docs/troubleshooting.md"].partition("\n## Words of the log\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(.+?)`", text, re.MULTILINE)


def is_written(line: str) -> bool:
    """Whether the sources have a text that can become this line; ``…`` stands for anything, also nothing."""
    pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")), re.DOTALL)
    return any(pattern.fullmatch(text) for text in MESSAGES)


@pytest.mark.parametrize("line", quoted())
def test_each_line_that_the_troubleshooting_page_quotes_is_in_the_sources(line: str) -> None:
    assert is_written(line)


def test_lines_that_nobody_writes_are_found() -> None:
    assert len(quoted()) > 40
    assert is_written("Script … exited with non-zero status …")
    assert not is_written("Script … exited with status …")
    assert not is_written("There is a leak: …")


@pytest.mark.parametrize("folder", ["docs", "src", "docker", "ansible", "interop"])
def test_ip_link_set_always_says_dev(folder: str) -> None:
    """Without ``dev`` an interface called ``m`` is the beginning of ``mtu``."""
    found = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and re.search(rb"ip link set (?!dev )", path.read_bytes())
    ]
    assert found == []

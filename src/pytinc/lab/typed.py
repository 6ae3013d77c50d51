"""Commands in documents: read from the text, and compared with what they print when they are typed.

A fenced block with the word ``console`` shows what a person types as root on named hosts, and the
output::

    alpha# pytinc -n mynet get Mode
    switch

A command goes on after a backslash at the end of its line, and to the end of its here-document. In what is
printed, ``...`` stands for any text of a line, and alone for any number of lines; a command without anything
below it may print anything. A line that ends with a question and ``y`` or ``n`` shows what a person answers;
such a command is typed at a terminal. ``beta#`` at the start is the host; the words of `PLACEHOLDERS` stand
for what an earlier command printed. A comment before the block says what is unusual about it::

    <!-- not run: this machine has no systemd -->
    <!-- fails -->

The second one is about the last command of the block. This comment in a page says that its commands go on
after those of another page, up to the end of a section::

    <!-- after: quick-start.md, "Two machines" -->

``interop/test_typed.py`` types the blocks of all `PAGES` in fresh hosts; ``tests/lab/test_typed.py`` checks
that no block with commands escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

PAGES: Final = ("quick-start.md",)
"""The pages for operators whose commands are typed in every test run, by their names in ``docs/``."""
LONG_PAGES: Final = (
    "howto.md",
    "operating.md",
    "troubleshooting.md",
    "firewall.md",
    "from-tinc.md",
    "from-keepalived.md",
    "tuning.md",
)
"""Those that would take long on a busy machine: only ``make docs-test`` types them."""
PLACEHOLDERS: Final = {
    "URL": re.compile(r"^(\S+/[\w-]{48})$", re.MULTILINE),
    "MAC": re.compile(r"lladdr ([0-9a-f:]{17})"),
    "OWNER": re.compile(r"^Owner: +(\w+)$", re.MULTILINE),
}
"""Words for what a command has printed before: an invitation, a MAC address, the node that owns it."""
DATA: Final = frozenset({"ini", "text", "yaml"})
"""The words of blocks that show files and log lines, and have no commands."""

_FENCE: Final = re.compile(r"^ *```(\S*)$")
_MARK: Final = re.compile(r"^<!-- (not run: .+|fails) -->$")
_AFTER: Final = re.compile(r'^<!-- after: (\S+), "(.+)" -->$', re.MULTILINE)
_PROMPT: Final = re.compile(r"^([A-Za-z][\w-]*)# (.+)$")
_HERE_DOCUMENT: Final = re.compile(r"<<'?(\w+)'?")
_ANSWER: Final = re.compile(r"^(.*\? )([yn])$")
_COMMAND: Final = re.compile(
    r"^ *(?:[$#] |\w+# )?(?:sudo )?"
    r"(?:pytincd?|tincd?|ip|ping|systemctl|docker|pip|pipx|apt|nft|iptables|journalctl) ",
    re.MULTILINE,
)


class DocumentError(ValueError):
    """A page is not written by the rules above. The text names the line."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the number of its first line, its word, the comment before it, its lines."""

    line: int
    word: str
    mark: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command, the host that it is typed on, and the lines that it prints (none: it may print anything)."""

    line: int
    host: str
    text: str
    shown: tuple[str, ...]


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page. Raises DocumentError if one has no end."""
    lines = page.splitlines()
    number = 0
    mark = ""
    while number < len(lines):
        if found := _FENCE.match(lines[number]):
            end = number + 1
            while end < len(lines) and lines[end].strip() != "```":
                end += 1
            if end == len(lines):
                raise DocumentError(f"line {number + 1}: the block has no end")
            yield Block(number + 2, found[1], mark, tuple(lines[number + 1 : end]))
            number = end
            mark = ""
        elif lines[number].strip():
            found = _MARK.match(lines[number])
            mark = found[1] if found else ""
        number += 1


def commands(block: Block) -> list[Command]:
    """Return the commands of a block. Raises DocumentError if it does not begin with a prompt."""
    result: list[Command] = []
    number = 0
    while number < len(block.lines):
        prompt = _PROMPT.match(block.lines[number])
        if prompt is None:
            raise DocumentError(f"line {block.line + number}: no prompt with a host")
        start, text = number, prompt[2]
        number += 1
        while text.endswith("\\") and number < len(block.lines):
            text += "\n" + block.lines[number]
            number += 1
        if here := _HERE_DOCUMENT.search(text):
            while number < len(block.lines):
                text += "\n" + block.lines[number]
                number += 1
                if block.lines[number - 1] == here[1]:
                    break
        shown: list[str] = []
        while number < len(block.lines) and not _PROMPT.match(block.lines[number]):
            shown.append(block.lines[number])
            number += 1
        result.append(Command(block.line + start, prompt[1], text, tuple(shown)))
    return result


def run_blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page that are to be typed."""
    return (
        block for block in blocks(page) if block.word == "console" and not block.mark.startswith("not run")
    )


def before(page: str) -> list[tuple[str, str]]:
    """Return the pages, and their sections, that the commands of a page go on after."""
    return _AFTER.findall(page)


def up_to(page: str, section: str) -> str:
    """Return a page up to the end of a section. Raises DocumentError if it has no such section."""
    start, title, rest = page.partition(f"\n## {section}\n")
    if not title:
        raise DocumentError(f"there is no section {section!r}")
    return start + title + rest.partition("\n## ")[0] + "\n"


def unmarked(page: str) -> list[int]:
    """Return the lines of blocks that may have commands, and are neither typed nor marked as not run."""
    return [
        block.line
        for block in blocks(page)
        if not block.mark.startswith("not run")
        and block.word != "console"
        and (block.word not in DATA or _COMMAND.search("\n".join(block.lines)))
    ]


def matches(shown: Sequence[str], printed: str) -> bool:
    """Whether a command printed what the page shows; blanks at the ends of lines do not count."""
    parts = []
    for line in shown:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(re.escape(part.rstrip()) for part in line.split("...")) + r"[ \t]*\n")
    text = printed if printed.endswith("\n") else printed + "\n"
    return re.fullmatch("".join(parts), text) is not None


def without_answers(shown: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what a command prints at a terminal that shows no input, and the answers typed there."""
    lines: list[str] = []
    answers: list[str] = []
    question = ""
    for line in shown:
        if found := _ANSWER.match(line):
            question += found[1]
            answers.append(found[2])
        else:
            lines.append(question + line)
            question = ""
    return [*lines, *([question] if question else [])], answers


def learn(printed: str, values: dict[str, str]) -> None:
    """Note the newest value of each placeholder that a command has printed."""
    for word, pattern in PLACEHOLDERS.items():
        if found := pattern.findall(printed):
            values[word] = found[-1]


def fill(text: str, values: dict[str, str]) -> str:
    """Return a text with the values of the placeholders that are known."""
    return re.sub(r"\b(URL|MAC|OWNER)\b", lambda found: values.get(found[1], found[1]), text)

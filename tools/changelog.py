"""Reads CHANGELOG.md: sections with titles ``## Unreleased`` or ``## VERSION - YYYY-MM-DD``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TITLE = re.compile(
    r"^## (?:\[?(?P<version>[^\s\]]+)\]?)(?: - (?P<date>\d{4}-\d\d-\d\d))?[ \t]*$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Section:
    """What one version changed; ``date`` is YYYY-MM-DD, or empty for Unreleased. ``text`` is Markdown."""

    version: str
    date: str
    text: str


def sections(changelog: str) -> list[Section]:
    """Return the sections from the newest to the oldest."""
    titles = list(_TITLE.finditer(changelog))
    ends = [title.start() for title in titles[1:]] + [len(changelog)]
    return [
        Section(title["version"], title["date"] or "", changelog[title.end() : end].strip())
        for title, end in zip(titles, ends, strict=True)
    ]

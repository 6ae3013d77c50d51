"""Citations of documents: each cited page is in the repository, and each cited section in its page.

A citation is the name of a page, and perhaps the titles of its sections: ``docs/NAME.md, "Title"``, with a
second title after "and" or "to". In a page of docs/ the name may be a link.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MADE_BY_RUNS = (
    "interop/results/*.md", "results/*.md", "chaos.md", "ansible-swap.md", "index.md", "notes.md",
)  # fmt: skip
"""What runs of the interop tests, `make docs` and `make release` leave behind; not kept in the repository."""
TINC_PAGES = "docs/[pt]*-*.md"
"""Pages about tinc, in which ``("Title")`` means a section of the page itself."""
MARK = "Titles in parentheses are sections of that page."
"""Says in a module that ``("Title")`` means a section of the page named before."""

PAGE = re.compile(r"[\w./-]*\w\.md\b")
SECTIONS = re.compile(r'([\w./-]*\w\.md)\)?, "([^"]+)"(?: (?:and|to) "([^"]+)")?')
BARE_SECTION = re.compile(r'\("([A-Z][^"]+)"[,)]')


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of each file with citations, line breaks and comment signs taken out of the text."""
    folders = ("src", "tests", "interop", "benchmarks", "tools", "docs")
    below = (file for folder in folders for file in (ROOT / folder).rglob("*"))
    files = [
        *(file for file in below if file.suffix in (".py", ".md")),
        *ROOT.glob("*.md"),
        ROOT / "conftest.py",
    ]
    for file in sorted(files):
        name = file.relative_to(ROOT).as_posix()
        if not name.startswith("interop/results/") and file != Path(__file__):
            yield name, re.sub(r"\s*\n[ \t]*(#:? )?", " ", file.read_text())


FILES = dict(texts())


def find(cited: str, name: str) -> Path | None:
    """Return the page that file ``name`` means: beside it, below the root or docs/, or the only such one."""
    for folder in ((ROOT / name).parent, ROOT, ROOT / "docs"):
        if (page := folder / cited).is_file():
            return page
    pages = [ROOT / other for other in FILES if other.endswith(f"/{cited}")]
    return pages[0] if len(pages) == 1 else None


def headings(page: Path) -> set[str]:
    """Return the titles of a page's sections."""
    return set(re.findall(r"^#+ (.*?)\s*$", page.read_text(), re.MULTILINE))


def cited_sections(text: str, own: str = "") -> Iterator[tuple[str, str]]:
    """Page and title of each section that a text cites. Titles in parentheses are sections of ``own``."""
    for page, first, second in SECTIONS.findall(text):
        yield from ((page, title) for title in (first, second) if title)
    if MARK in text:
        *_, own = PAGE.findall(text[: text.index(MARK)])
    if own:
        yield from ((own, title) for title in BARE_SECTION.findall(text))


@pytest.mark.parametrize("name", FILES)
def test_cited_pages_and_sections_exist(name: str) -> None:
    missing = {
        cited
        for cited in PAGE.findall(FILES[name])
        if find(cited, name) is None and not any(fnmatch.fnmatch(cited, made) for made in MADE_BY_RUNS)
    }
    assert not missing, "pages that are not in the repository"
    unknown = {
        (cited, title)
        for cited, title in cited_sections(FILES[name], name if fnmatch.fnmatch(name, TINC_PAGES) else "")
        if (page := find(cited, name)) is None or title not in headings(page)
    }
    assert not unknown, "sections that are not in their page"


def test_a_citation_is_found_wherever_it_stands() -> None:
    cited = 'x (docs/a.md, "One" and "Two"; tinc: f()). See [b.md](b.md), "Three", or docs/c.md.'
    assert list(cited_sections(cited)) == [("docs/a.md", "One"), ("docs/a.md", "Two"), ("b.md", "Three")]
    assert PAGE.findall(cited) == ["docs/a.md", "b.md", "b.md", "docs/c.md"]
    assert list(cited_sections(f'As in docs/a.md. {MARK} ("One") or ("Two", step 3)')) == [
        ("docs/a.md", "One"),
        ("docs/a.md", "Two"),
    ]

"""Hooks of mkdocs (mkdocs.yml): pages of the root on the site, and links to files that are not on it.

README.md (as index.md) and a few others stand in the root of the repository, where people look for them. A
link to another file of the repository, such as a result of a benchmark, becomes plain text; it must exist.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = {
    "README.md": "index.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
}
"""Pages of the root, and their names on the site."""
LINK: Final = re.compile(r"\[([^\]\[]+)\]\(([^)\s]+)\)")
_log: Final = logging.getLogger("mkdocs.hooks.site")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for name, site_name in PAGES.items():
        files.append(File.generated(config, site_name, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page to the site."""
    name = page.file.src_uri
    return rewrite(markdown, "" if name in PAGES.values() else "docs", name)


def rewrite(markdown: str, folder: str, name: str) -> str:
    """Return the text of a page that stands in ``folder`` of the repository with links for the site."""

    def link(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        path, mark, anchor = target.partition("#")
        if not path or "://" in path:
            return found[0]
        full = posixpath.normpath(posixpath.join(folder, path))
        if full.startswith("docs/") or full in PAGES:
            return f"[{text}]({PAGES.get(full, full.removeprefix('docs/'))}{mark}{anchor})"
        if not (ROOT / full).exists():
            _log.warning("%s has a link to %s, which does not exist", name, target)
        return text

    return LINK.sub(link, markdown)

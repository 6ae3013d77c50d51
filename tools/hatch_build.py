"""The part of the package's metadata that depends on where the project is published; hatchling loads it.

A package index shows the README alone, so links to other files of the repository must be absolute there.
``repository`` in pyproject.toml is the address of the repository. While it is empty, the metadata have no
addresses, and the README has the words of those links without the links.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)([^)]+)\)")


def links_of_an_index(text: str, base: str) -> str:
    """Return the README with its links to files of the repository below ``base``, or as words without one."""
    return _LINK.sub(rf"[\1]({base}/\2)" if base else r"\1", text)


def addresses(repository: str, version: str) -> dict[str, str]:
    """Return the addresses that an index shows beside the README."""
    if not repository:
        return {}
    files = f"{repository}/blob/v{version}/"
    return {
        "Source": repository,
        "Documentation": files + "docs/deployment.md",
        "Changelog": files + "CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


class CustomMetadataHook(MetadataHookInterface):
    """Adds the README and the addresses."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add both to the metadata of pyproject.toml."""
        repository = str(self.config.get("repository", "")).rstrip("/")
        version = metadata["version"]
        base = f"{repository}/blob/v{version}" if repository else ""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": links_of_an_index(text, base)}
        metadata["urls"] = addresses(repository, version)

"""The permissions of files that commands have made."""

from __future__ import annotations

import stat
from pathlib import Path


def modes(directory: Path) -> dict[str, str]:
    """Return the permissions of all that is in a directory, as ls shows them, by path."""
    return {
        str(path.relative_to(directory)): stat.filemode(path.stat().st_mode) for path in directory.rglob("*")
    }

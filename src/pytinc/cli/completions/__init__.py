"""completion: print the script with which a shell completes our command lines.

``tools/generate.py`` makes the scripts beside this file from the tables of commands and variables. They are
also installed where shells look for them (pyproject.toml).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from pytinc.cli.session import Session

FILES: Final = {"bash": "pytinc.bash", "zsh": "_pytinc", "fish": "pytinc.fish"}
"""The file name of each shell's script: the one that the shell looks for."""


def completion(session: Session, words: list[str]) -> int:
    """Print the script for one shell."""
    name = FILES.get(words[0])
    if name is None:
        raise click.ClickException(f"No completion for `{words[0]}': choose {', '.join(FILES)}.")
    print(Path(__file__).with_name(name).read_text(encoding="utf-8"), end="")
    return 0

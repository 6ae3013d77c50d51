"""Write the files that follow from tables: completion scripts, man pages, files of the Ansible role.

    python tools/generate.py          writes them
    python tools/generate.py --check  writes nothing; status 1 and a list if one is not up to date

The files are committed, so that installing needs none of this; tests/cli/test_generated.py runs the check.
"""

from __future__ import annotations

import sys
from pathlib import Path

import completions
import manual
import role

ROOT = Path(__file__).resolve().parent.parent


def generated() -> dict[Path, str]:
    """Return every generated file with its text."""
    scripts = ROOT / "src/pytinc/cli/completions"
    pages = ROOT / "man"
    return {
        **{scripts / name: text for name, text in completions.scripts().items()},
        **{pages / name: text for name, text in manual.pages().items()},
        **{ROOT / "ansible/roles/tinc" / name: text for name, text in role.files().items()},
    }


def main(words: list[str]) -> int:
    """Write or check all files."""
    stale = [
        (path, text)
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        if "--check" in words:
            sys.stdout.write(f"not up to date: {path.relative_to(ROOT)} (run python tools/generate.py)\n")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return int(bool(stale) and "--check" in words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

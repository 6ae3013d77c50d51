"""What tests of --chroot need."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from pytinc.lab.namespaces import run


def give_shell(root: Path) -> None:
    """Copy a shell and its libraries into a directory that will be the daemon's root directory."""
    libraries = re.findall(r"/\S+", run("ldd", "/bin/sh").stdout)
    for file in ("/bin/sh", *libraries):
        target = root / file[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)

"""Standard streams that were closed when the program started, as cron, hooks and agents may start it.

Python has None as ``sys.stdin``, ``sys.stdout`` or ``sys.stderr`` then, and the next files and sockets get
the descriptors 0, 1 and 2: a script of the daemon writes into them, and uvloop aborts.
"""

from __future__ import annotations

import os
import sys
from typing import Final

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def repair_standard_streams() -> None:
    """Open /dev/null in place of each closed standard stream. Both programs call this before all else."""
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            # The system gives the lowest free number, and all lower ones are in use.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))

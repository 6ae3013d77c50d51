"""Going into the background. This must happen before there is a thread or an event loop.

See docs/tinc-program.md, "Start".
"""

from __future__ import annotations

import os
from typing import NoReturn


def detach() -> None:
    """Fork: the parent exits at once; the child has a new session and no standard streams.

    Raises `OSError`.
    """
    if os.fork():
        _leave()
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)


def _leave() -> NoReturn:
    """End the parent without exit handlers and buffered output, which belong to the child now."""
    os._exit(0)

"""Process 1 of a container: reaps processes that have lost their parent.

These are background processes of scripts, for example. Otherwise each would stay as a zombie.

The daemon does not do this itself, because it could not distinguish such a process from a script that it
waits for.
"""

from __future__ import annotations

import os
import signal
from typing import Final

_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGALRM)
_KILLED: Final = 128
"""Added to the number of a signal: the exit status that shells report for a killed process."""


def leave_first_process() -> None:
    """Return in a child process, if this is process 1; that one passes signals on and ends as the child does.

    This must happen before there is a thread or an event loop. Raises `OSError`.
    """
    if os.getpid() != 1:
        return
    awaited = (*_PASSED_ON, signal.SIGCHLD)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        number = signal.sigwait(awaited)
        if number == signal.SIGCHLD:
            _take_ends(child)
        else:
            os.kill(child, number)


def _take_ends(child: int) -> None:
    """Reap all processes that have ended; end as the child did if it is one of them."""
    while True:
        number, status = os.waitpid(-1, os.WNOHANG)
        if number == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else _KILLED - code)
        if number == 0:
            return

"""What TAB offers in the shell on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.cli import completion
from pytinc.cli.session import Session

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon


@pytest.mark.parametrize(
    ("before", "word", "found"),
    [
        ("", "GENERATE-", ["generate-keys", "generate-ed25519-keys"]),
        ("", "conf", []),
        ("dump ", "e", ["edges"]),
        ("set ", "connect", ["ConnectTo"]),
        ("get ", "beta.por", ["beta.Port"]),
        ("get ", "beta.connect", []),
        ("get Name ", "x", []),
        ("vip ", "", ["drain", "undrain", "move", "freeze", "thaw", "rebalance"]),
        ("VIP ", "UN", ["undrain"]),
        ("export ", "", []),
    ],
)
def test_words_are_completed(run: Run, before: str, word: str, found: list[str]) -> None:
    run()
    assert completion.candidates(Session("pytinc"), before, word) == found


def test_nodes_and_subnets_are_completed_from_the_daemon(
    run: Run, conf: Path, daemon: ScriptedDaemon
) -> None:
    run()
    daemon.answers |= {
        "3": "18 3 beta 0 MYSELF port 1 0 0 0 0 0 0 - - 0 0 0 0 0 -1 0 0 0 0\n18 3\n",
        "5": "18 5 10.0.0.0/8 beta\n18 5 ff00::/8 beta\n18 5\n",
    }
    session = Session("pytinc", confbase="conf", pidfile=daemon.pidfile)
    assert completion.candidates(session, "info ", "") == ["beta", "10.0.0.0/8", "ff00::/8"]
    assert completion.candidates(session, "info ", "b") == ["beta"]
    session.disconnect()

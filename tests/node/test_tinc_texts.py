"""The texts of tincd about connections that people's scripts look for, and the debug level of each.

Those about invitations are in test_invitations.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from node.conftest import MakeStage

TEXTS = [
    (1, r"Connection from 10\.99\.0\.2 port \d+"),
    (1, r"Connection with beta \(10\.99\.0\.2 port \d+\) activated"),
    (1, r"Closing connection with beta \(10\.99\.0\.2 port \d+\)"),
    (1, r"Trying to connect to gamma \(10\.99\.0\.3 port 655\)"),
    (1, r"Connected to gamma \(10\.99\.0\.3 port 655\)"),
    (1, r"Could not connect to delta \(10\.99\.0\.4 port 655\): Connection refused"),
    (1, r"Trying to re-establish outgoing connection in 4 seconds"),
]


@pytest.mark.parametrize(("level", "text"), TEXTS)
def test_a_node_says_what_scripts_look_for(stage: MakeStage, level: int, text: str) -> None:
    alpha = stage("beta", "gamma", "delta")
    beta = alpha.neighbour("beta")
    alpha.call(lambda node, now: node.meta_closed(beta.number, "end of file", now))
    alpha.reload(connect_to=("delta",))
    number = max(alpha.node.core.connections)
    alpha.call(lambda node, now: node.meta_closed(number, "Connection refused", now))
    alpha.reload(connect_to=("gamma",))
    alpha.answer_dial()
    alpha.run(10)
    assert any(re.fullmatch(text, line) for line in alpha.logged(level))
    assert not any(re.fullmatch(text, line) for line in alpha.logged(level - 1))

"""Asking the daemon for its lists: rows of the right kind, or one clear error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytinc.cli import lists
from pytinc.control.client import ControlClient
from pytinc.control.messages import SubnetRow
from pytinc.errors import ControlError
from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

CONNECTION = "18 6 beta 192.168.77.2 port 655 700000c 4 100\n"
EDGE = "18 4 alpha beta 192.168.77.2 port 655 192.168.77.1 port 655 700000c 1\n"
SUBNET = "18 5 10.21.0.0/16#20 alpha\n"


def test_each_list_is_asked_for_by_its_request(daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"4": f"{EDGE}18 4\n", "5": f"{SUBNET}18 5\n", "6": f"{CONNECTION}18 6\n"}
    with ControlClient.connect(daemon.pidfile, f"{daemon.pidfile}.socket") as client:
        assert [(row.from_name, row.to_name) for row in lists.dump_edges(client)] == [("alpha", "beta")]
        assert lists.dump_subnets(client) == [SubnetRow("10.21.0.0/16#20", "alpha")]
        assert [row.name for row in lists.dump_connections(client)] == ["beta"]


def test_the_subnet_of_a_row_is_parsed() -> None:
    assert lists.subnet_of(SubnetRow("10.21.0.0/16#20", "alpha")) == parse_subnet("10.21.0.0/16#20")
    with pytest.raises(ControlError, match="Unable to parse subnet dump"):
        lists.subnet_of(SubnetRow("somewhere", "alpha"))


@pytest.mark.parametrize("answer", ["18 4 x\n18 4\n", "18 4 a b c\n", "17\n", ""])
def test_a_malformed_reply_is_an_error(run: Run, daemon: ScriptedDaemon, answer: str) -> None:
    daemon.answers["4"] = answer
    if not answer:
        daemon.answers.clear()
    result = run("-c", "conf", "--pidfile", daemon.pidfile, "list", "edges")
    assert result.status == 1
    assert result.out == ""
    assert result.err.count("\n") == 1

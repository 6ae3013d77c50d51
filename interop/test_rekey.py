"""Keys that expire every five seconds, under a steady ping between each two kinds of node."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from itertools import combinations

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.traffic import parse_ping, ping_command

CASTS = ("PCP",)
ROLES = ("hub", "real", "spoke")
KEY_EXPIRE_S = 5
DURATION_S = int(os.environ.get("PYTINC_INTEROP_REKEY_S", "60"))
PING_INTERVAL_S = 0.1


@pytest.fixture(scope="module")
def trio(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(("KeyExpire", str(KEY_EXPIRE_S)))
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=() if role == "hub" else ("hub",))
    network["real"].debug = 4  # where tincd logs the requests that are counted below
    network.exchange_keys()
    network.start()
    network.wait_converged()
    for one, other in combinations(network, 2):
        wait_until(partial(answers, one.host, other.address), 20, "all answer")
    return network


def rekeys_seen(real: Node) -> int:
    """How often the spoke answered the real tincd with key material; the hub passes it on."""
    return len(re.findall(r"Got ANS_KEY from hub .*: 16 spoke real", real.log()))


@pytest.mark.slow
def test_rekeying_every_five_seconds_loses_at_most_one_ping(trio: Network) -> None:
    real = trio["real"]
    rekeys_before = rekeys_seen(real)
    count = int(DURATION_S / PING_INTERVAL_S)
    pings = {
        (one.name, other.name): one.host.spawn(*ping_command(other.address, count, PING_INTERVAL_S, 1, 56))
        for one, other in combinations(trio, 2)
    }
    reports = {
        pair: parse_ping(process.communicate(timeout=DURATION_S + 30)[0]) for pair, process in pings.items()
    }
    assert {pair: report.lost for pair, report in reports.items() if report.lost > 1} == {}
    assert all(report.sent == count for report in reports.values())
    # The real tincd is the witness that keys were exchanged: pytinc's silence must not pass for success.
    assert rekeys_seen(real) - rekeys_before >= DURATION_S // KEY_EXPIRE_S - 1

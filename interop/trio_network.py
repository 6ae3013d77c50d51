"""Two pytinc nodes, hub and spoke, in a network with a tincd, which is linked with the hub as well.

Used by the tests of what pytinc nodes agree on between themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import combinations
from typing import Final

from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Settings, wait_until

ROLES: Final = ("hub", "real", "spoke")
PYTINC: Final = ("hub", "spoke")


def start_trio(
    new_network: Callable[..., Network], cast: Iterable[Kind], host_settings: Settings = ()
) -> Network:
    """Start the three, and wait until they answer each other.

    ``host_settings`` are in the host files of the pytinc nodes. The nodes log at level 5, at which every node
    logs records that it cannot open.
    """
    network = new_network()
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=() if role == "hub" else ("hub",))
        network[role].debug = 5
    for role in PYTINC:
        network[role].add_lines(f"hosts/{role}", host_settings)
    network.exchange_keys()
    network.start()
    network.wait_converged()
    for one, other in combinations(network, 2):
        wait_until(partial(answers, one.host, other.address), PATIENCE_S, "all answer")
    return network

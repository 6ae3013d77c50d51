"""pytincd with the capabilities that ``systemd/pytinc@.service`` leaves it, with a real tap and a C peer."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, wait_until

CASTS = ("CP",)
UNIT = Path(__file__).parent.parent / "systemd/pytinc@.service"
AT_ONCE_S = 30
"""A node that says goodbye is gone within this many seconds. One that just vanished would be missed only
after PingInterval, which is a minute."""


def bounding_set() -> str:
    """Return the unit's capabilities in the form that setpriv takes."""
    match = re.search(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert match is not None
    names = [word.removeprefix("CAP_").lower() for word in match[1].split()]
    return ",".join(["-all", *(f"+{name}" for name in names)])


def test_the_units_capabilities_suffice_and_peers_learn_of_a_stop_at_once(
    new_network: Callable[..., Network], cast: tuple[Kind, ...]
) -> None:
    if cast[1] is not Kind.PY:
        pytest.skip("the unit starts pytincd only")
    network = new_network()
    hub = network.add("hub", cast[0])
    box = network.add("box", cast[1], connect_to=["hub"])
    network.exchange_keys()
    hub.start()
    # Start it as the unit does: as root with few capabilities, in the foreground.
    limits = ("setpriv", "--no-new-privs", "--bounding-set", bounding_set())
    with box.log_path.open("w") as log:
        words = ("-c", str(box.confbase), f"--pidfile={box.pidfile}", "-D", "-d3")
        daemon = box.host.spawn(*limits, box.tincd_program, *words, output=log.fileno())
    wait_until(lambda: answers(hub.host, box.address), PATIENCE_S, "the node answers")
    status = Path(f"/proc/{box.pid()}/status").read_text()
    assert f"CapEff:\t{1 << 12 | 1 << 10:016x}" in status
    daemon.send_signal(signal.SIGTERM)
    wait_until(lambda: not hub.nodes()["box"].reachable, AT_ONCE_S, "the peer knows of the stop", 0.02)
    assert daemon.wait(PATIENCE_S) == 0

"""Two nodes bridged to one LAN: broadcasts of the LAN do not circle for ever.

One node that looks for loops is enough.
"""

from __future__ import annotations

import pytest

from pytinc.datapath.flood_history import FloodHistory
from pytinc.datapath.peer_slot import PeerSlot
from sim.simulator import Mesh, ethernet

STATION = bytes((2, 0, 0, 0, 0, 7))


def bridge(mesh: Mesh, seconds: float) -> int:
    """Let a station on the LAN of one and two send to all twice a second; return what it hears in the end."""
    one, two = mesh.nodes["one"], mesh.nodes["two"]
    heard = 0
    for step in range(round(seconds / 0.01)):
        if step % 50 == 0:
            heard = 0
            frame = ethernet(b"\xff" * 6, STATION, step.to_bytes(4, "big"))
            one.send_frame(frame)
            two.send_frame(frame)
        mesh.run(0.01)
        arrived = [(one, two.frames[:]), (two, one.frames[:])]
        one.frames.clear()
        two.frames.clear()
        for other, frames in arrived:
            heard += len(frames)
            for frame in frames:
                other.send_frame(frame)
    return heard


class Blind(FloodHistory):
    """That of a node that does not look for loops, such as tincd."""

    def seen(self, source: PeerSlot, frame: bytes, now: float) -> None:
        return None


@pytest.mark.parametrize("other_is_blind", [False, True])
def test_a_bridge_loop_is_found_named_and_cut(other_is_blind: bool) -> None:
    mesh = Mesh(1)
    mesh.add("one")
    mesh.add("two", connect_to=["one"])
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    if other_is_blind:
        mesh.nodes["two"].node.table.floods = Blind()
    assert bridge(mesh, 1.0) > 10
    assert bridge(mesh, 9.0) < 10
    for name, other in (("one", "two"), ("two", "one")):
        found = any(
            f"02:00:00:00:00:07 come back through node {other}" in line for line in mesh.nodes[name].logs
        )
        assert found is (name == "one" or not other_is_blind)

"""Two nodes bridged to one LAN: what is sent to all there does not go round for ever."""

from __future__ import annotations

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


def test_a_bridge_loop_is_found_named_and_cut() -> None:
    mesh = Mesh(1)
    mesh.add("one")
    mesh.add("two", connect_to=["one"])
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    assert bridge(mesh, 1.0) > 10
    assert bridge(mesh, 9.0) == 0
    for name, other in (("one", "two"), ("two", "one")):
        assert any(
            f"02:00:00:00:00:07 sends to all comes back by way of node {other}" in line
            for line in mesh.nodes[name].logs
        )

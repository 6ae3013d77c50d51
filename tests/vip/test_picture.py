"""What the guard tells of itself: holders, clients and the last failover."""

from __future__ import annotations

from pytinc.vip.views import HolderState
from vip.world import (
    ALPHA,
    BETA,
    World,
)


def test_the_picture_tells_who_holds_and_who_is_silent() -> None:
    world = World().local_client(ALPHA)
    states = {holder.node: holder.state for holder in world.view().holders}
    assert states == {
        "alpha": HolderState.ALIVE,
        "beta": HolderState.UNWATCHED,
        "gamma": HolderState.UNWATCHED,
    }
    world.mesh.unreachable.add("gamma")
    world.kill("alpha")
    world.until(5.8)
    states = {holder.node: holder.state for holder in world.view().holders}
    assert (states["alpha"], states["gamma"]) == (HolderState.SILENT, HolderState.UNREACHABLE)
    (client,) = world.view().clients
    assert client.node == "me"
    assert client.holder == BETA.hex(":")

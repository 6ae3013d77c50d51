"""Random early drop: packets by TCP give way before requests have to wait.

See docs/protocol-data.md, "Early drop".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from node.conftest import MakeStage

FRAME = bytes.fromhex("ffffffffffff02000000000a88b5") + bytes(50)
SIZE = 15180
"""tinc's default of MaxOutputBufferSize."""


@pytest.mark.parametrize(
    ("queued", "chance", "passes"),
    [
        (0, 0.0, True),
        (SIZE // 2, 0.0, True),
        (SIZE // 2 + 1, 0.0, False),
        (SIZE * 3 // 4, 0.49, False),
        (SIZE * 3 // 4, 0.51, True),
        (SIZE - 100, 0.999, True),
        (SIZE, 0.999, False),
        (SIZE * 9, 0.999, False),
    ],
)
@pytest.mark.parametrize("sealed", [False, True])
def test_from_half_full_on_frames_are_dropped_the_more_likely_the_fuller(
    stage: MakeStage, queued: int, chance: float, passes: bool, sealed: bool
) -> None:
    alpha = stage("beta", max_output_buffer_size=SIZE)
    beta = alpha.neighbour("beta")
    alpha.queued, alpha.chance = queued, chance
    if sealed:
        connection = alpha.node.core.connections.get(beta.number)
        assert connection is not None
        alpha.node.meta_output.send_sptps_packet(connection, bytes(100))
        alpha.call(lambda node, now: node.tick(now))
        assert bool(beta.packets) is passes
    else:
        alpha.call(lambda node, now: node.frames([FRAME], now))
        assert bool(beta.frames) is passes


def test_requests_are_never_dropped(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    alpha.queued, alpha.chance = 10**9, 0.0
    assert beta.say("8", "10 1 alpha 10.9.0.0/16") == ["9", "11 * alpha 10.9.0.0/16"]


def test_max_output_buffer_size_0_does_not_divide_by_it(stage: MakeStage) -> None:
    alpha = stage("beta", max_output_buffer_size=0)
    beta = alpha.neighbour("beta")
    alpha.call(lambda node, now: node.frames([FRAME], now))
    assert beta.frames == [FRAME]
    alpha.queued = 2
    alpha.call(lambda node, now: node.frames([FRAME], now))
    assert beta.frames == [FRAME]

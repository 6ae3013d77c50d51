"""UDP_INFO about ourselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.node.sessions import udp_label
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role
from pytinc.wire import b64

if TYPE_CHECKING:
    from node.conftest import MakeStage


def test_our_own_udp_info_names_the_udp_port_and_not_that_of_the_connection(stage: MakeStage) -> None:
    alpha = stage("beta", "delta", connect_to=("beta",))
    beta = alpha.answer_dial()
    beta.say(
        "12 1 beta alpha 10.99.0.1 655 700000c 1",
        "12 2 beta delta 10.99.0.3 655 700000c 1",
        "12 3 delta beta 10.99.0.2 655 700000c 1",
    )
    beta.heard()
    label = udp_label("delta", "alpha")
    keys = alpha.keys["delta"], alpha.keys["alpha"].public
    (kex,) = DatagramSession(Role.INITIATOR, *keys, label, alpha.rng.randbytes).start()
    answers = beta.say(f"15 delta alpha 15 {b64.encode(kex)}")
    # Our connection comes from port 41000.
    assert [line for line in answers if line.startswith("22 ")] == ["22 alpha delta 10.99.0.1 655"]

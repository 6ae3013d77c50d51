"""SPTPSCipher = aes-256-gcm between two pytinc nodes, in a network with a tincd (docs/protocol.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.traffic import iperf
from trio_network import start_trio

CASTS = ("PCP",)
WISH = "SPTPSCipher = aes-256-gcm\n"
REFUSAL = "signature of the peer is not valid (other key or SPTPSCipher)"


@pytest.fixture(scope="module")
def trio(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    """Hub and spoke want AES, and say so in their host files, which all have; tincd is in the middle."""
    return start_trio(new_network, cast, [("SPTPSCipher", "aes-256-gcm")])


def cipher(node: Node, peer: str) -> str:
    """Return the cipher of the session that a pytinc node has with another node."""
    stats = json.loads(node.tinc("info", "--json", peer).stdout)["stats"]
    return str(stats["cipher"])


def test_nodes_that_want_aes_use_it_and_a_tincd_gets_its_own_cipher(trio: Network) -> None:
    for name, other in (("hub", "spoke"), ("spoke", "hub")):
        assert cipher(trio[name], other) == "aes-256-gcm"
        assert cipher(trio[name], "real") == "chacha20-poly1305"


@pytest.mark.parametrize(("server", "client"), [("hub", "spoke"), ("spoke", "real"), ("real", "hub")])
def test_tcp_passes_each_pair(trio: Network, server: str, client: str) -> None:
    assert iperf(trio[client].host, trio[server].host, trio[server].address, 2).bits_per_second > 0


def test_ends_that_disagree_refuse_each_other_until_both_files_say_the_same(trio: Network) -> None:
    hub, spoke = trio["hub"], trio["spoke"]
    copy = hub.confbase / "hosts/spoke"
    text = copy.read_text()
    assert WISH in text
    spoke.stop()
    copy.write_text(text.replace(WISH, ""))
    spoke.start()
    wait_until(lambda: REFUSAL in hub.log() + spoke.log(), PATIENCE_S, "a signature is refused")
    assert not answers(spoke.host, hub.address)
    assert answers(trio["real"].host, hub.address)
    copy.write_text(text)
    wait_until(partial(answers, spoke.host, hub.address), PATIENCE_S, "they agree again")
    assert cipher(hub, "spoke") == "aes-256-gcm"

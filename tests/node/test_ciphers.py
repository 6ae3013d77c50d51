"""Which cipher two nodes use: AES only if both want it, so that others are talked to as before."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from pytinc.node.ciphers import cipher_with
from pytinc.node.stats import node_stats
from pytinc.wire.records import SptpsCipher
from sim.simulator import Mesh, ethernet

AES, TINCS = SptpsCipher.AES_256_GCM, SptpsCipher.CHACHA20_POLY1305


def wish(mesh: Mesh, name: str) -> None:
    """Have a node want AES: in its own settings, and in its host file on all nodes."""
    for sim in mesh.nodes.values():
        sim.hosts.files[name] = replace(sim.hosts.files[name], sptps_cipher=AES)


def test_nodes_that_want_aes_use_it_and_talk_to_the_others_as_before() -> None:
    mesh = Mesh(1)
    for name, cipher in (("one", AES), ("two", AES), ("three", TINCS)):
        mesh.add(name, connect_to=list(mesh.nodes), sptps_cipher=cipher)
    for name in ("one", "two"):
        wish(mesh, name)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    for one, other in itertools.permutations(mesh.nodes, 2):
        sim = mesh.nodes[one]
        sim.node.tunnels.upkeep(sim.node.peers[other], mesh.now, search_mtu=False)
    mesh.run(5)
    for one, other in itertools.permutations(mesh.nodes, 2):
        session = mesh.nodes[one].node.peers[other].slot.session
        assert session is not None
        assert session.cipher is (TINCS if "three" in (one, other) else AES)
        assert session.can_send


def test_a_session_with_aes_has_no_fast_tag_and_counts_as_none() -> None:
    mesh = Mesh(1)
    for name in ("one", "two"):
        mesh.add(name, connect_to=list(mesh.nodes), sptps_cipher=AES)
    for name in ("one", "two"):
        wish(mesh, name)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    for _ in range(10):
        mesh.nodes["one"].send_frame(ethernet(b"\xff" * 6, bytes((2, 0, 0, 0, 0, 1)), b"to all"))
        mesh.run(1)
    node = mesh.nodes["one"].node
    assert node.peers["two"].keeps_session  # its probes have said what it takes
    (stats,) = (peer for peer in node_stats(node, mesh.now).peers if peer.name == "two")
    assert (stats.cipher, stats.fast_tag_sending, stats.fast_tag_accepting) == (AES, False, False)


def test_a_reload_leaves_a_session_its_cipher_and_a_new_session_has_the_other() -> None:
    mesh = Mesh(1)
    for name in ("one", "two"):
        mesh.add(name, connect_to=list(mesh.nodes))
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    node = mesh.nodes["one"].node
    node.tunnels.upkeep(node.peers["two"], mesh.now, search_mtu=False)
    mesh.run(5)
    for name in ("one", "two"):
        wish(mesh, name)
    for sim in mesh.nodes.values():
        sim.call(lambda node, now: node.reload(replace(node.settings, sptps_cipher=AES), now))
    first = node.peers["two"].slot.session
    assert first is not None
    changes = first.key_changes
    node.sessions.rekey_all(mesh.now)
    mesh.run(5)
    assert node.peers["two"].slot.session is first
    assert (first.key_changes, first.cipher) == (changes + 1, TINCS)
    mesh.nodes["one"].call(lambda node, now: node.sessions.start(node.peers["two"], now))
    mesh.run(5)
    second = node.peers["two"].slot.session
    assert second is not None
    assert (second.cipher, second.can_send) == (AES, True)


@pytest.mark.parametrize(("own", "file"), [(AES, TINCS), (TINCS, AES)])
def test_one_wish_is_not_enough(own: SptpsCipher, file: SptpsCipher) -> None:
    mesh = Mesh(1)
    mesh.add("one", sptps_cipher=own)
    mesh.add("two")
    mesh.start()
    one = mesh.nodes["one"]
    one.hosts.files["two"] = replace(one.hosts.files["two"], sptps_cipher=file)
    core = one.node.core
    assert cipher_with(core, "two") is TINCS
    assert cipher_with(core, "nobody") is TINCS

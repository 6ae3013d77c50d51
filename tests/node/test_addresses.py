"""UDP addresses of nodes: proved ones, announced ones, and the address that a probe goes to."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytinc.node.addresses import Addresses
from pytinc.node.meta_output import MetaOutput
from pytinc.node.topology import Topology
from pytinc.protocol.graph import Edge
from pytinc.wire.address import UNSPEC, Address

if TYPE_CHECKING:
    from node.conftest import MakeCore
    from pytinc.node.records import Peer

ONE, TWO, SIX = Address("10.0.0.1", "655"), Address("10.0.0.2", "655"), Address("fd00::1", "655")


class Known:
    """A node that knows the node beta, and sockets for both families."""

    def __init__(self, make: MakeCore) -> None:
        self.core = core = make()
        core.sockets = ((4, Address("0.0.0.0", "655")), (6, Address("::", "655")))
        self.topology = Topology(core, MetaOutput(core))
        self.beta: Peer = self.topology.peer("beta")
        self.addresses = Addresses(core, self.topology)

    def link(self, name: str, address: Address, local: Address | None) -> None:
        """Make a link between a node and beta: where it sees beta, and beta's own address on it."""
        self.topology.peer(name)
        self.topology.graph.set_edge(Edge(name, "beta", address, None, 0, 1))
        self.topology.graph.set_edge(Edge("beta", name, ONE, local, 0, 1))

    def confirm(self) -> None:
        self.beta.slot.confirmed = True
        self.beta.slot.minmtu = 1400
        self.addresses.follow_path(self.beta)


@pytest.fixture
def known(core: MakeCore) -> Known:
    return Known(core)


def test_an_address_is_written_with_the_socket_of_its_family(known: Known) -> None:
    slot = known.beta.slot
    known.addresses.set_address(known.beta, ONE)
    assert (known.beta.address, slot.address, slot.socket) == (ONE, ("10.0.0.1", 655), 0)
    known.addresses.set_address(known.beta, SIX)
    assert (slot.address, slot.socket) == (("fd00::1", 655, 0, 0), 1)
    known.addresses.set_address(known.beta, None)
    assert (known.beta.address, slot.address) == (None, None)


@pytest.mark.parametrize("address", [UNSPEC, Address("10.0.0.1", "0"), Address("host.example", "655")])
def test_an_address_that_nothing_can_be_sent_to_is_kept_as_text_only(known: Known, address: Address) -> None:
    known.addresses.set_address(known.beta, ONE)
    known.addresses.set_address(known.beta, address)
    assert known.beta.address == address
    assert known.beta.slot.address is None
    assert known.addresses.target(address) is None


def test_without_a_socket_of_its_family_an_address_is_of_no_use(known: Known) -> None:
    known.core.sockets = known.core.sockets[:1]
    known.addresses.set_address(known.beta, SIX)
    assert known.beta.slot.address is None
    assert known.addresses.target(SIX) is None
    assert known.addresses.target(ONE) == (0, ("10.0.0.1", 655))


def test_a_new_address_is_not_proved_and_frames_do_not_go_there(known: Known) -> None:
    known.addresses.set_address(known.beta, ONE)
    known.beta.slot.reachable = True
    known.core.table.set_route(known.beta.slot, known.beta.slot, known.beta.slot)
    known.confirm()
    known.core.table.note_minmtu(known.beta.slot)
    assert [path.address for path in known.beta.slot.paths] == [("10.0.0.1", 655)]
    assert known.core.table.confirmed == {("10.0.0.1", 655): known.beta.slot}
    known.beta.roaming = TWO
    known.addresses.set_address(known.beta, TWO)
    assert not known.beta.slot.confirmed
    assert known.beta.roaming is None
    assert known.beta.slot.paths == ()
    assert known.core.table.confirmed == {}


def test_the_own_node_has_no_address(known: Known) -> None:
    known.addresses.set_address(known.core.me, ONE)
    assert known.core.me.address is None
    assert known.core.me.slot.address is None


def test_an_address_that_nothing_proves_any_more_is_not_looked_up(known: Known) -> None:
    known.addresses.set_address(known.beta, ONE)
    known.confirm()
    known.beta.path.reset_path()
    known.addresses.follow_path(known.beta)
    assert known.core.table.confirmed == {}
    assert known.beta.slot.paths == ()
    assert known.beta.slot.address == ("10.0.0.1", 655)


def test_an_answer_moves_a_node_that_is_not_proved_elsewhere_or_was_asked_there(known: Known) -> None:
    known.addresses.set_address(known.beta, ONE)
    known.addresses.take_proved(known.beta, TWO)
    assert known.beta.address == TWO
    known.confirm()
    known.addresses.take_proved(known.beta, TWO)
    assert known.beta.slot.confirmed  # the address is the same: nothing is forgotten
    known.addresses.take_proved(known.beta, ONE)
    assert known.beta.address == TWO
    known.beta.roaming = ONE
    known.addresses.take_proved(known.beta, ONE)
    assert known.beta.address == ONE


# -- where a probe goes --


def test_a_proved_node_is_probed_at_its_address_alone(known: Known) -> None:
    known.link("gamma", TWO, None)
    known.addresses.set_address(known.beta, ONE)
    known.confirm()
    assert {known.addresses.remote_address(known.beta) for _ in range(6)} == {(0, ("10.0.0.1", 655))}


def test_every_third_probe_of_an_unproved_node_goes_to_its_address_and_the_others_to_those_of_edges(
    known: Known,
) -> None:
    known.link("gamma", TWO, None)
    known.link("delta", UNSPEC, None)
    known.addresses.set_address(known.beta, ONE)
    targets = [known.addresses.remote_address(known.beta) for _ in range(6)]
    assert Counter(targets) == {(0, ("10.0.0.2", 655)): 4, (0, ("10.0.0.1", 655)): 2}
    assert targets[:3] == targets[3:]


def test_chance_chooses_among_the_addresses_that_edges_tell(known: Known) -> None:
    known.link("gamma", TWO, None)
    known.link("delta", SIX, None)
    found = set()
    for chance in (0.0, 0.99, 1.0):
        known.core.random_float = partial(float, chance)
        found.add(known.addresses.remote_address(known.beta))
        known.addresses.remote_address(known.beta)
        known.addresses.remote_address(known.beta)
    assert found == {(0, ("10.0.0.2", 655)), (1, ("fd00::1", 655, 0, 0))}


def test_without_any_address_there_is_no_probe(known: Known) -> None:
    assert [known.addresses.remote_address(known.beta) for _ in range(3)] == [None] * 3
    known.addresses.set_address(known.beta, ONE)
    assert [known.addresses.remote_address(known.beta) for _ in range(3)] == [(0, ("10.0.0.1", 655))] * 3


def test_a_local_address_is_the_node_s_own_one_on_any_of_its_links(known: Known) -> None:
    assert known.addresses.local_address(known.beta) is None
    known.link("gamma", TWO, None)
    assert known.addresses.local_address(known.beta) is None
    known.link("delta", TWO, Address("192.168.0.7", "655"))
    assert known.addresses.local_address(known.beta) == (0, ("192.168.0.7", 655))

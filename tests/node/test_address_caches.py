"""The addresses at which nodes were reached: read once, the last one first, saved when that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pytinc.node.actions import SaveAddressCache
from pytinc.node.address_caches import AddressCaches
from pytinc.wire.address import UNSPEC, Address
from sim.simulator import SimHosts

if TYPE_CHECKING:
    from node.conftest import MakeCore, MakeStage

ADDRESSES = tuple(Address(f"10.0.0.{number}", "655") for number in range(1, 11))


def test_the_file_is_read_when_a_node_is_first_asked_for_and_its_most_recent_addresses_count(
    core: MakeCore,
) -> None:
    alpha = core()
    hosts = cast(SimHosts, alpha.hosts)
    hosts.caches["beta"] = ADDRESSES
    caches = AddressCaches(alpha)
    assert caches.of("beta").addresses == ADDRESSES[:8]
    hosts.caches["beta"] = ()
    assert caches.of("beta").addresses == ADDRESSES[:8]
    assert caches.of("gamma").addresses == ()


def test_an_address_that_worked_goes_first_and_the_file_is_replaced(core: MakeCore) -> None:
    alpha = core()
    cast(SimHosts, alpha.hosts).caches["beta"] = ADDRESSES[:3]
    beta = alpha.new_peer(alpha.table.add("beta"))
    caches = AddressCaches(alpha)
    caches.remember(beta, ADDRESSES[0])  # it is first already
    assert alpha.take_actions() == []
    caches.remember(beta, ADDRESSES[2])
    caches.remember(beta, ADDRESSES[5])
    assert alpha.take_actions() == [
        SaveAddressCache("beta", (ADDRESSES[2], ADDRESSES[0], ADDRESSES[1])),
        SaveAddressCache("beta", (ADDRESSES[5], ADDRESSES[2], ADDRESSES[0], ADDRESSES[1])),
    ]


def test_an_address_that_nothing_can_be_sent_to_is_not_remembered(core: MakeCore) -> None:
    alpha = core()
    beta = alpha.new_peer(alpha.table.add("beta"))
    caches = AddressCaches(alpha)
    for address in (UNSPEC, Address("10.0.0.1", "0"), Address("host.example", "655")):
        caches.remember(beta, address)
    assert caches.of("beta").addresses == ()
    assert alpha.take_actions() == []


def test_the_address_of_a_dialled_node_is_saved_as_soon_as_it_is_reachable(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",))
    beta = alpha.answer_dial()
    assert alpha.asked(SaveAddressCache) == []
    beta.link("beta", "alpha")
    assert alpha.asked(SaveAddressCache) == [SaveAddressCache("beta", (Address("10.99.0.2", "655"),))]

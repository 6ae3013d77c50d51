"""The order on which all guards agree: the same everywhere, and evenly spread."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pytinc.vip.rendezvous import weight


def test_weights_are_those_that_guards_in_the_field_compute() -> None:
    """Nodes of different versions must choose alike: eight bytes of BLAKE2b, from another implementation."""
    # printf 'pytinc' | b2sum -l 64
    assert weight(b"pytinc").hex() == "c1937a23db08763e"


@given(one=st.binary(max_size=24), other=st.binary(max_size=24))
def test_different_data_have_different_weights(one: bytes, other: bytes) -> None:
    assert (weight(one) == weight(other)) == (one == other)


def test_each_of_several_nodes_comes_first_for_its_share_of_the_addresses() -> None:
    nodes = [b"node%d" % number for number in range(4)]
    addresses = [number.to_bytes(4, "big") for number in range(4000)]
    first = Counter(min(nodes, key=lambda node: weight(address + node)) for address in addresses)
    assert all(900 <= first[node] <= 1100 for node in nodes)

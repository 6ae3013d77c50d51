"""The source of a node's public key: its host file, or else the node itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from pytinc.config.settings import HostSettings
from pytinc.crypto.keys import PrivateKey
from pytinc.errors import AuthenticationError
from pytinc.node.public_keys import PublicKeys
from sim.simulator import SimHosts

if TYPE_CHECKING:
    from node.conftest import MakeCore
    from pytinc.node.core import Core

WRITTEN, LEARNED = (PrivateKey.from_seed(bytes([seed]) * 32).public for seed in (1, 2))


def files(core: Core) -> dict[str, HostSettings]:
    return cast(SimHosts, core.hosts).files


@pytest.fixture
def alpha(core: MakeCore) -> Core:
    """A core that knows the node beta, without a host file."""
    alpha = core()
    alpha.peers["beta"] = alpha.new_peer(alpha.table.add("beta"))
    return alpha


def known(alpha: Core, name: str) -> bytes | None:
    key = PublicKeys(alpha).of(name)
    return None if key is None else key.raw


def test_a_node_that_nobody_knows_has_none(alpha: Core) -> None:
    assert known(alpha, "nobody") is None
    assert known(alpha, "beta") is None


def test_a_learned_one_serves_until_there_is_one_in_the_host_file(alpha: Core) -> None:
    alpha.peers["beta"].learned_key = LEARNED.text
    assert known(alpha, "beta") == LEARNED.raw
    files(alpha)["beta"] = HostSettings("beta")
    assert known(alpha, "beta") == LEARNED.raw
    files(alpha)["beta"] = HostSettings("beta", public_key=WRITTEN.raw)
    assert known(alpha, "beta") == WRITTEN.raw


def test_nobody_logs_in_with_a_learned_key(alpha: Core) -> None:
    alpha.peers["beta"].learned_key = LEARNED.text
    with pytest.raises(AuthenticationError, match=r"unknown identity \(beta\)"):
        PublicKeys(alpha).for_login("beta")
    files(alpha)["beta"] = HostSettings("beta")
    assert PublicKeys(alpha).for_login("beta") is None
    files(alpha)["beta"] = HostSettings("beta", public_key=WRITTEN.raw)
    key = PublicKeys(alpha).for_login("beta")
    assert key is not None
    assert key.raw == WRITTEN.raw

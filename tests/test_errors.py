"""The exception types: whose fault an error is can be told from its type, and from nothing else."""

from __future__ import annotations

import pickle

import pytest

from pytinc import errors
from pytinc.errors import ConfigError, ProtocolError, PytincError

TYPES = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
PEERS_FAULT = {"ProtocolError", "DecodeError", "AuthenticationError", "UnexpectedRequest", "LimitError"}


def test_every_error_can_be_caught_as_one_of_pytincs() -> None:
    assert [name for name, type_ in TYPES.items() if not issubclass(type_, PytincError)] == []


def test_a_connection_is_closed_for_the_peers_faults_only() -> None:
    """Who drives a peer's protocol catches `ProtocolError`: bugs and faults of the user must pass."""
    assert {name for name, type_ in TYPES.items() if issubclass(type_, ProtocolError)} == PEERS_FAULT


@pytest.mark.parametrize("place", [(), ("/etc/tinc/tinc.conf",), ("/etc/tinc/tinc.conf", 7)])
def test_a_configuration_error_tells_its_place_beside_its_text(place: tuple[str, int] | tuple[str]) -> None:
    error = ConfigError("Name for tinc daemon required!", *place)
    assert str(error) == "Name for tinc daemon required!"
    assert (error.path, error.line) == (*place, None, None)[:2]


def test_a_configuration_error_of_another_process_is_still_readable() -> None:
    """Test runners and process pools pickle exceptions."""
    again = pickle.loads(pickle.dumps(ConfigError("text", "path", 7)))
    assert (str(again), again.path, again.line) == ("text", "path", 7)

"""Sessions between two nodes, for the tests of the data path."""

from __future__ import annotations

from collections.abc import Callable

from pytinc.crypto.keys import PrivateKey
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role


def established_between(
    one: PrivateKey, other: PrivateKey, random_bytes: Callable[[int], bytes]
) -> tuple[DatagramSession, DatagramSession]:
    """Return both ends of a session that have taken each other's handshake."""
    ours = DatagramSession(Role.INITIATOR, one, other.public, b"test", random_bytes)
    theirs = DatagramSession(Role.RESPONDER, other, one.public, b"test", random_bytes)
    (first,), (answer,) = ours.start(), theirs.start()
    theirs.receive(first)
    ours.receive(answer)
    theirs.receive(*ours.take_output())
    ours.receive(*theirs.take_output())
    return ours, theirs

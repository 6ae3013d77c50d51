"""Raw frames between two hosts of a lab, with their VLAN tags."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pytinc.lab.frames import Port
from pytinc.lab.namespaces import Lab, LabError, missing_means

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(missing_means() is not None, reason=str(missing_means())),
]

ALL = b"\xff" * 6
SENDER = bytes.fromhex("020000000101")
KIND = b"\x88\xb5"
"""For local experiments (IEEE 802): nobody else sends such frames."""
PATIENCE = 60


def frame(text: bytes, tag: bytes = b"") -> bytes:
    return ALL + SENDER + tag + KIND + text.ljust(46, b"\0")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        for name in ("one", "other"):
            made.host(name)
        yield made


@pytest.fixture(scope="module")
def ports(lab: Lab) -> Iterator[tuple[Port, Port]]:
    """A port on each of two hosts."""
    with Port(lab.hosts["one"], "eth0") as one, Port(lab.hosts["other"], "eth0") as other:
        # The switch forwards when it has found that there is no loop.
        deadline = time.monotonic() + PATIENCE
        while other.until(lambda seen: seen[12:14] == KIND, 0.1) is None:
            assert time.monotonic() < deadline
            one.send(frame(b"are you there"))
        yield one, other


@pytest.mark.parametrize(
    "tag", ["", "8100000a", "8100e00a", "88a80014", "88a800148100000a"], ids=lambda tag: tag or "none"
)
def test_a_frame_arrives_as_it_was_sent(ports: tuple[Port, Port], tag: str) -> None:
    one, other = ports
    sent = frame(tag.encode(), bytes.fromhex(tag))
    one.send(sent)
    assert other.until(lambda seen: tag.encode().ljust(46, b"\0") in seen, PATIENCE) == sent


def test_frames_arrive_in_order_including_those_already_waiting(ports: tuple[Port, Port]) -> None:
    one, other = ports
    for number in range(20):
        one.send(frame(b"number %d." % number))
    found = []
    for seen in other.frames(PATIENCE):
        if seen[14:20] == b"number":
            found.append(int(seen[21:].partition(b".")[0]))
        if len(found) == 20:
            break
    assert found == list(range(20))


def test_frames_of_the_host_itself_are_not_seen(lab: Lab, ports: tuple[Port, Port]) -> None:
    one, other = ports
    with Port(lab.hosts["one"], "eth0") as beside:
        beside.send(frame(b"from this host"))
    other.send(frame(b"from the other"))
    seen = []
    for data in one.frames(PATIENCE):
        seen.append(data)
        if b"from the other" in data:
            break
    assert not any(b"from this host" in data for data in seen)


def test_waiting_for_a_frame_that_does_not_come_ends(ports: tuple[Port, Port]) -> None:
    assert ports[0].until(lambda seen: b"never sent" in seen, 0.05) is None


def test_a_frame_too_long_for_the_interface_is_an_error(ports: tuple[Port, Port]) -> None:
    with pytest.raises(LabError, match=r"^cannot send 4000 bytes: Message too long$"):
        ports[0].send(bytes(4000))


def test_an_interface_that_does_not_exist_is_an_error(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"^cannot open eth7: No such device$"):
        Port(lab.hosts["one"], "eth7")

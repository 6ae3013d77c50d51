"""tincd and pytincd do the same with hostile bytes, but for the differences that docs/fuzzing.md explains.

A short selection of what `make fuzz-c` tries.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fuzz_stand import GREETING, KEX, LOGIN, PROBE, VICTIM, Script, Stand, stand
from pytinc.lab.namespaces import LabError, missing_means
from pytinc.lab.node import Kind
from pytinc.wire.datagram import TYPE_MAC, node_id

SESSION: Script = (*LOGIN, ("session", b""))
THIRD: Script = (*LOGIN, ("third", b""))


@pytest.fixture(scope="module")
def victims() -> Iterator[Stand]:
    means = missing_means()
    if means is not None:
        pytest.skip(means)
    try:
        Kind.C.programs()
    except LabError as error:
        pytest.skip(str(error))
    with stand() as victims:
        yield victims


@pytest.mark.parametrize(
    "script",
    [
        LOGIN,
        (("raw", b"GET / HTTP/1.0\r\n\r\n"),),
        (("raw", GREETING + KEX),),
        (("raw", GREETING + KEX[:2] + bytes(66)),),
        (("raw", b"0 nobody 17.7\n"),),
        (("raw", b"0 %b 17.7\n" % VICTIM),),
        (*LOGIN, ("record", b"\x80"), ("record", b"\x80" + bytes(65))),
        (*LOGIN, ("record", b"\x00")),
        (*LOGIN, ("line", b"10 1 evil 10.0.0.0/99")),
        (*LOGIN, ("line", b"17 9"), ("record", b"\x00" + bytes(9))),
        (*LOGIN, ("line", b"21 11")),
        (*LOGIN, ("frame", b"\xff" * 6 + bytes(60)), ("packet", bytes(12) + bytes(40))),
        (*THIRD, ("line", b"15 third %b 15 AAAA" % VICTIM)),
        (*THIRD, ("line", b"16 third %b AAAA -1 -1 -1 0" % VICTIM)),
        (*SESSION, ("udp", PROBE)),
        (*SESSION, ("udp", bytes((TYPE_MAC,)) + bytes(9)), ("udp", b"\x7f"), ("udp", PROBE)),
        (*SESSION, ("datagram", bytes(6) + node_id("evil") + bytes(40)), ("udp", PROBE)),
    ],
)
def test_both_daemons_do_the_same(victims: Stand, script: Script) -> None:
    tinc, pytinc = victims.compare(script)
    assert pytinc == tinc
    assert pytinc.lives


@pytest.mark.parametrize(
    ("script", "talks"),
    [
        ((*LOGIN, ("line", b"4 655 1 700000c")), False),
        ((*LOGIN, ("line", b"12 1 new %b 192.0.2.9 655 c 1" % VICTIM), ("line", b"23 new evil 1400")), True),
    ],
)
def test_an_input_that_ends_the_reference_does_not_end_us(
    victims: Stand, script: Script, talks: bool
) -> None:
    # There is only one attempt, because the reference ends; on a busy machine an answer takes its time.
    _, pytinc = victims.compare(script, (60 if talks else 1,))
    assert (pytinc.lives, pytinc.talks) == (True, talks)

"""The output of the data path for the shell and the node."""

from __future__ import annotations

from pytinc.datapath.output import Output, Probe
from pytinc.datapath.peer_slot import PeerSlot, UdpPath


def address(number: int) -> tuple[str, int]:
    return (f"192.0.2.{number}", 655)


def test_every_kind_of_upcall_counts_as_something_reported() -> None:
    for name in Output().upcalls.__slots__:
        out = Output()
        assert not out.upcalls
        kind = getattr(out.upcalls, name)
        if isinstance(kind, dict):
            kind[PeerSlot("one")] = None
        else:
            kind.append(PeerSlot("one"))
        assert out.upcalls
        taken = out.take_upcalls()
        assert getattr(taken, name)
        assert not out.upcalls


def test_datagrams_queued_for_one_path_in_a_row_become_one_entry() -> None:
    out = Output()
    one, two = (UdpPath(1400, 0, address(number), b"", PeerSlot(str(number))) for number in (1, 2))

    out.queue(one, [b"1", b"2"])
    out.queue(one, [b"3"])
    out.queue(two, [b"4"])
    out.queue(one, [b"5"])

    assert out.datagrams == [(one, [b"1", b"2", b"3"]), (two, [b"4"]), (one, [b"5"])]
    out.clear()
    assert out.datagrams == []


def test_a_probe_tells_whether_it_answers() -> None:
    def probe(payload: bytes) -> Probe:
        return Probe(PeerSlot("one"), payload, address(1), 0, True)

    assert not probe(bytes(18)).is_reply
    assert not probe(b"").is_reply
    assert probe(b"\2" + bytes(17)).is_reply

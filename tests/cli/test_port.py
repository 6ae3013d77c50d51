"""The port of a new node: one that can be bound."""

from __future__ import annotations

import socket

import pytest

from pytinc.cli import port


def test_the_port_chosen_can_be_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = socket.socket()
    with taken:
        taken.bind(("", 0))
        taken.listen()
        monkeypatch.setattr(port, "DEFAULT_PORT", taken.getsockname()[1])
        chosen = port.choose_port()
    assert chosen is not None
    assert 4096 <= chosen <= 36863


def test_a_port_is_a_number_or_the_name_of_a_udp_service() -> None:
    assert port.is_udp_port("655")
    assert not port.is_udp_port("65536")
    assert not port.is_udp_port("none of these")

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

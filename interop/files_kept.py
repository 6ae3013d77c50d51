"""Networks that several tests configure, each from the same beginning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytinc.lab.network import Network


@contextmanager
def files_kept(network: Network) -> Iterator[None]:
    """Stop the network at the end, and give its nodes the ``tinc.conf`` and host files that they have now."""
    kept = {file: file.read_text() for node in network for file in node.confbase.glob("*.conf")}
    kept |= {file: file.read_text() for node in network for file in (node.confbase / "hosts").iterdir()}
    yield
    network.stop()
    for file, text in kept.items():
        file.write_text(text)

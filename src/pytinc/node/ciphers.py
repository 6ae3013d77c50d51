"""Chooses the cipher of a session with another node (docs/protocol.md, "AES-256-GCM")."""

from __future__ import annotations

from pytinc.node.core import Core
from pytinc.wire.records import SptpsCipher


def cipher_with(core: Core, name: str) -> SptpsCipher:
    """Return the cipher that both ends are configured for: tinc's own, unless both want the other one.

    This node's choice is the SPTPSCipher of tinc.conf or of its own host file, the peer's is that of the
    peer's host file. So a node that prefers AES can still talk to C nodes and to pytinc nodes without AES.
    """
    host = core.hosts.host_settings(name)
    wished = core.settings.sptps_cipher
    if host is None or host.sptps_cipher is not wished:
        return SptpsCipher.CHACHA20_POLY1305
    return wished

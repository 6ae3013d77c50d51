"""Which cipher the records of a session with another node have (docs/protocol.md, "AES-256-GCM")."""

from __future__ import annotations

from pytinc.node.core import Core
from pytinc.wire.records import SptpsCipher


def cipher_with(core: Core, name: str) -> SptpsCipher:
    """Return the cipher that both ends are configured for: tinc's own, unless both want the other one.

    The own wish is the SPTPSCipher of tinc.conf or of the own host file, the peer's that of its host file. So
    a node that wants AES still talks to C nodes, and to pytinc nodes that do not.
    """
    host = core.hosts.host_settings(name)
    wished = core.settings.sptps_cipher
    if host is None or host.sptps_cipher is not wished:
        return SptpsCipher.CHACHA20_POLY1305
    return wished

"""The Ed25519 public keys of other nodes, from their host files or learned from the nodes."""

from __future__ import annotations

from pytinc.crypto.keys import PublicKey
from pytinc.errors import AuthenticationError
from pytinc.node.core import Core


class PublicKeys:
    """Finds the public key of a node."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def of(self, name: str) -> PublicKey | None:
        """Return the key of ``name``: that of its host file, else a learned one; None if there is none."""
        host = self._core.hosts.host_settings(name)
        if host is not None and host.public_key is not None:
            return PublicKey(host.public_key)
        peer = self._core.peers.get(name)
        return None if peer is None or peer.learned_key is None else PublicKey.from_text(peer.learned_key)

    def for_login(self, name: str) -> PublicKey | None:
        """Return the key a peer must log in with; None if its host file has none.

        `AuthenticationError` if it has no host file. A learned key that is not in the host file does not
        count, because any node of the mesh may have sent it.
        """
        host = self._core.hosts.host_settings(name)
        if host is None:
            raise AuthenticationError(f"peer has unknown identity ({name}): no readable host file")
        return None if host.public_key is None else PublicKey(host.public_key)

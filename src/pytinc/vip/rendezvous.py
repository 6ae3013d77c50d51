"""Rendezvous hashing: all guards compute the same order of nodes or holders without any messages."""

from __future__ import annotations

import hashlib


def weight(data: bytes) -> bytes:
    """Return an evenly spread number of eight bytes for ``data``; callers choose an extreme."""
    return hashlib.blake2b(data, digest_size=8).digest()

"""The replay window of datagram sessions, exactly as tinc's (sptps.md 3.10)."""

from __future__ import annotations

from typing import Final

_MOD: Final = 1 << 32


class ReplayWindow:
    """Which sequence numbers were seen. ``size`` is in bytes: eight records each; 0 turns checking off."""

    __slots__ = ("_bits", "_late", "_size", "far", "next")

    def __init__(self, size: int, next_seqno: int = 0) -> None:
        self._size = size
        self._bits = 8 * size
        self._late = bytearray(size)
        """Bit set: not received yet."""
        self.next = next_seqno
        """One more than the highest number accepted (modulo 2**32)."""
        self.far = 0
        """Records from the far future since the last accepted one."""

    def check(self, seqno: int) -> bool:
        """Tell whether ``seqno`` would be accepted; nothing changes."""
        size = self._size
        if not size or seqno == self.next:
            return True
        if seqno >= (self.next + self._bits) % _MOD:
            return self.far >= size // 4
        if seqno < self.next:
            return self._is_missing(seqno)
        return True

    def accept(self, seqno: int) -> bool:
        """Tell whether ``seqno`` is accepted, and remember it if so."""
        size = self._size
        if size:
            if seqno != self.next and not self._admit(seqno):
                return False
            self._late[(seqno >> 3) % size] &= ~(1 << (seqno & 7)) & 0xFF
            self.far = 0
        if seqno >= self.next:
            self.next = (seqno + 1) % _MOD
        return True

    def _admit(self, seqno: int) -> bool:
        size = self._size
        if seqno >= (self.next + self._bits) % _MOD:
            self.far += 1
            if self.far - 1 < size // 4:
                return False
            self._late[:] = b"\xff" * size
            return True
        if seqno < self.next:
            return self._is_missing(seqno)
        for missed in range(self.next, seqno):
            self._late[(missed >> 3) % size] |= 1 << (missed & 7)
        return True

    def _is_missing(self, seqno: int) -> bool:
        if self.next >= self._bits and seqno < self.next - self._bits:
            return False
        return bool(self._late[(seqno >> 3) % self._size] & 1 << (seqno & 7))

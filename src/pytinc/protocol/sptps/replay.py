"""The replay window of datagram sessions, with exactly tinc's verdicts.

See docs/protocol-sptps.md, "Replay window".

Called by `pytinc.protocol.sptps.datagram` for every authentic record, so the ordinary case (the next number,
nothing missing) comes first and touches no bits. Callers must pass only numbers of authentic records, because
each accepted number moves the window.
"""

from __future__ import annotations

from typing import Final

_MOD: Final = 1 << 32
_NEAR: Final = 1 << 20
"""More records than are lost in a row on any network in use: ten seconds of a fast link."""


class ReplayWindow:
    """Remembers sequence numbers that were seen. ``size``: bytes of eight records each; 0 checks nothing."""

    __slots__ = ("_far_limit", "_missing", "_span", "far", "next")

    def __init__(self, size: int, next_seqno: int = 0) -> None:
        self._span = 8 * size
        self._far_limit = size // 4
        self._missing = 0
        """Bit number ``seqno % span`` is set for a number that was skipped and may still arrive."""
        self.next = next_seqno
        """One more than the highest number accepted (modulo 2**32)."""
        self.far = 0
        """Records from the far future since the last accepted one."""

    def accept(self, seqno: int) -> bool:
        """Return whether ``seqno`` is accepted, and remember it if so."""
        if seqno != self.next and self._span and not self._admit(seqno):
            return False
        if self._missing:
            self._missing &= ~(1 << seqno % self._span)
        self.far = 0
        if seqno >= self.next:
            self.next = (seqno + 1) % _MOD
        return True

    @property
    def near(self) -> tuple[int, int]:
        """The first number that may still be accepted, and the first one that is far ahead.

        Numbers outside are hardly ever those of the peer (but the few after 2**32 - 1 are, once).
        """
        return max(self.next - (self._span or _NEAR), 0), self.next + _NEAR

    def is_ahead(self, seqno: int, count: int) -> bool:
        """Return whether ``count`` numbers from ``seqno`` on are all new, and `accept` would accept each."""
        if seqno < self.next or seqno + count >= _MOD:
            return False
        return seqno == self.next or not self._span or not self._is_far(seqno)

    def accept_run(self, seqno: int, count: int) -> None:
        """Do what `accept` does, for ``count`` numbers from ``seqno`` on. `is_ahead` must hold for them."""
        self.accept(seqno)
        if self._missing:
            self._missing &= ~self._ring(self.next, count - 1)
        self.next += count - 1

    def are_free(self, seqno: int, count: int) -> bool:
        """Return whether none of ``count`` numbers from ``seqno`` on has arrived, and all still may."""
        if seqno + count >= _MOD:
            return False
        late = range(seqno, min(seqno + count, self.next))
        return not self._span or all(map(self.is_missing, late))

    def accept_free(self, seqno: int, count: int) -> None:
        """Accept these numbers, however far ahead they are. `are_free` must hold for them."""
        end = seqno + count
        if self._span:
            if seqno > self.next:
                self._skip(seqno - self.next)
            self._missing &= ~self._ring(seqno, count)
        if end > self.next:
            self.far = 0
            self.next = end

    def believe_far(self) -> None:
        """Accept numbers from the far future at once; tinc does so only after a few of them.

        A super-frame uses many numbers, so the loss of a few super-frames would make later ones look too far
        ahead.
        """
        self._far_limit = 0

    def is_missing(self, seqno: int) -> bool:
        """Return whether ``seqno`` was skipped, lies inside the window and has not arrived since."""
        if seqno >= self.next or seqno < self.next - self._span or not self._span:
            return False
        return bool(self._missing >> seqno % self._span & 1)

    def accept_missing(self, seqno: int) -> bool:
        """Accept ``seqno`` if `is_missing`; never moves the window."""
        if not self.is_missing(seqno):
            return False
        self._missing &= ~(1 << seqno % self._span)
        return True

    def _is_far(self, seqno: int) -> bool:
        # Near 2**32 the sum wraps around, and then nearly every number counts as far (as in tinc).
        return seqno >= (self.next + self._span) % _MOD

    def _admit(self, seqno: int) -> bool:
        """Decide about a number that is not the next one; note the numbers that it shows to be missing."""
        if self._is_far(seqno):
            self.far += 1
            if self.far <= self._far_limit:
                return False
            # There really was a long gap: move on, and count everything in the window as missing.
            self._missing = (1 << self._span) - 1
            return True
        if seqno < self.next:
            return self.is_missing(seqno)
        self._skip(seqno - self.next)
        return True

    def _skip(self, count: int) -> None:
        """Mark the ``count`` numbers from the next one on as missing."""
        self._missing |= self._ring(self.next, count)

    def _ring(self, seqno: int, count: int) -> int:
        """Return the bits of ``count`` numbers from ``seqno`` on; they wrap around at the end of the ring."""
        everything = (1 << self._span) - 1
        if count >= self._span:
            return everything
        bits = ((1 << count) - 1) << seqno % self._span
        return (bits | bits >> self._span) & everything

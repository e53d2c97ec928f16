"""How much one request should carry: learned from how long pieces take, where they break, and what a proxy refuses."""

from __future__ import annotations

_MIB = 1 << 20
FIRST, LEAST, MOST = 16 * _MIB, 64 << 10, 1024 * _MIB
SECONDS = 8.0
"""How long a piece should take: a proxy that collects it first must be done within the three minutes of an upload's life."""
_GROWTH = 2
_BLOCKS = 64
_LEAST_BLOCK, _MOST_BLOCK = 16 << 10, 256 << 10


class PieceSize:
    """The size of the next piece on the way to one server. Threads share it: what one learns holds for all.

    Two threads that change it at the same time may lose a guess; that costs a request, never a byte.

    Attributes:
        bytes: What the next request should carry at most.
        most: The largest that a proxy on the way is not known to refuse.
    """

    def __init__(self) -> None:
        self.bytes = FIRST
        self.most = MOST

    @property
    def block(self) -> int:
        """Bytes to hand to the socket at once.

        Large ones cost less time; on a slow line a block must go out before the socket's patience ends.
        """
        return min(max(self.bytes // _BLOCKS, _LEAST_BLOCK), _MOST_BLOCK)

    def took(self, length: int, seconds: float) -> None:
        """A piece of that length arrived; the next one may be twice as large, or any amount smaller."""
        if length < self.bytes and seconds < SECONDS:
            return  # the last one of a file is short: its time is that of the round trip and the disk
        ideal = int(length * SECONDS / max(seconds, 0.01))
        self.bytes = self._within(min(ideal, _GROWTH * self.bytes))

    def broke(self, arrived: int) -> None:
        """A piece was cut off: the line seems to carry no more than what arrived of it."""
        self.bytes = self._within(min(self.bytes, arrived or self.bytes // 2))

    def refused(self, length: int) -> bool:
        """A proxy takes no request of that length (413); tells whether a smaller one is worth a try."""
        if length <= LEAST:
            return False
        self.most = max(min(self.most, length // 2), LEAST)
        self.bytes = self._within(self.bytes)
        return True

    def _within(self, size: int) -> int:
        return max(LEAST, min(size, self.most))

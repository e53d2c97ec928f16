"""A limit on bytes a second that all transfers of a store share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_BURST_SECONDS = 0.25
_LEAST_BLOCK = 4096


class RateLimit:
    """A token bucket; without a rate it never waits. Threads may share it.

    Args:
        rate: Bytes a second, None for no limit.
    """

    def __init__(
        self,
        rate: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._due = 0.0

    def block(self, most: int) -> int:
        """Return how many bytes to take at once, so that no wait is long."""
        return most if self._rate is None else max(_LEAST_BLOCK, min(most, int(self._rate * _BURST_SECONDS)))

    def take(self, count: int) -> None:
        """Wait until `count` bytes may go."""
        if self._rate is None:
            return
        with self._lock:
            now = self._clock()
            self._due = max(self._due, now - _BURST_SECONDS) + count / self._rate
            wait = self._due - now
        if wait > 0:
            self._sleep(wait)

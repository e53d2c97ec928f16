"""How far a transfer is: bytes, rate and the time that is left, told a few times a second; and how it is halted."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from .events import CancelToken, Listener, PauseSwitch, Transfer

_TELL_SECONDS = 0.25
_WINDOW_SECONDS = 8.0
_SAMPLE_SECONDS = 0.2


class TransferMeter:
    """Counts the bytes of several files that move at the same time. Threads may share it.

    Args:
        direction: `upload` or `download`.
        size: Bytes of all files; None guesses by those that are done.
        pause: Halts every file's progress while it is set.
    """

    def __init__(
        self, direction: str, on_event: Listener, *, files: int, size: int | None, pause: PauseSwitch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._direction = direction
        self._on_event = on_event
        self._files, self._size = files, size
        self._done_files = self._done = 0
        self._pause = pause or PauseSwitch()
        self._clock = clock
        self._samples = deque([(clock(), 0)])
        self._told = clock() - _TELL_SECONDS
        self._lock = threading.Lock()

    def progress(self, label: str, stop: CancelToken) -> Callable[[int], None]:
        """Return what a store tells its progress with one file to; it waits while paused, and raises once `stop` is set."""

        def tell(count: int) -> None:
            self._pause.hold(stop)
            with self._lock:
                self._done += count
                self._tell(label)

        return tell

    def finished(self, label: str) -> None:
        """Count a file as done."""
        with self._lock:
            self._done_files += 1
            self._tell(label, now=self._done_files == self._files)

    def _tell(self, label: str, *, now: bool = False) -> None:
        at = self._clock()
        if at - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((at, self._done))
        while len(self._samples) > 2 and at - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()
        if at - self._told < _TELL_SECONDS and not now:
            return
        self._told = at
        rate, size = self._rate(at), self._whole_size()
        eta = (size - self._done) / rate if rate and size else None
        self._on_event(Transfer(self._direction, label, self._done, size, self._done_files, self._files, rate, eta))

    def _whole_size(self) -> int:
        if self._size is not None:
            return self._size
        guess = self._done * self._files // self._done_files if self._done_files else 0
        return max(guess, self._done if self._done_files else 0)

    def _rate(self, at: float) -> float | None:
        since, before = self._samples[0]
        moved, seconds = self._done - before, at - since
        return moved / seconds if moved > 0 and seconds >= _SAMPLE_SECONDS else None

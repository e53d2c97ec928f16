"""A few threads that work through a list and end together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from .errors import Cancelled
from .events import CancelToken

T = TypeVar("T")
_LOOK_SECONDS = 0.1
WORKER = "cloud-farm worker"
"""What each of the threads is called."""
_GRACE_SECONDS = 5.0
"""How long an interrupted caller waits for threads that are at something which can't be interrupted, such as a dead line."""


def for_each(
    items: Iterable[T],
    work: Callable[[T, CancelToken], None],
    *,
    workers: int,
    cancel: CancelToken | None = None,
    from_end: int = 0,
) -> None:
    """Do `work` for every item, several at a time; returns when all is done.

    Args:
        work: Gets the item and a token that is set as soon as the work is to end: another item failed, or the caller gave up.
        from_end: So many workers take from the end of the list: of one that is ordered by size the large ones fill the line
            while the small ones wait for answers.

    Raises:
        Cancelled: `cancel` was set before the end.
        Exception: What `work` raised first; the others were ended.
    """
    if cancel is not None:
        cancel.raise_if_cancelled()
    crew = _Crew(deque(items), work, workers, from_end=from_end)
    crew.start()
    try:
        while crew.is_working(_LOOK_SECONDS):
            if cancel is not None and cancel.cancelled:
                crew.stop.cancel()
    except BaseException:
        crew.stop.cancel()
        crew.is_working(_GRACE_SECONDS)
        raise
    if cancel is not None:
        cancel.raise_if_cancelled()
    if crew.error is not None:
        raise crew.error


class _Crew:
    def __init__(
        self, waiting: deque[T], work: Callable[[T, CancelToken], None], workers: int, *, from_end: int
    ) -> None:
        self.stop = CancelToken()
        self.error: BaseException | None = None
        self._lock = threading.Lock()
        # Daemons: whoever interrupts the program is not held up by a dead line.
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(waiting.pop if number < from_end else waiting.popleft, work),
                name=WORKER,
                daemon=True,
            )
            for number in range(min(workers, len(waiting)))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def is_working(self, seconds: float) -> bool:
        """Wait at most so long for the end."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join(seconds)
                return any(other.is_alive() for other in self._threads)
        return False

    def _run(self, take: Callable[[], T], work: Callable[[T, CancelToken], None]) -> None:
        while not self.stop.cancelled:
            try:
                item = take()
            except IndexError:
                return
            try:
                work(item, self.stop)
            except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for it
                self._fail(error)
                return

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self.error is None or isinstance(self.error, Cancelled):
                self.error = error
        self.stop.cancel()

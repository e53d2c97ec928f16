"""Small pictures of large frames, made by the worker: one at a time, and not all the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .worker_client import WorkerClient

_REST = 4.0
"""After each, four times as long as it took: the artist's computer has other things to do."""


class Previews:
    """Has previews made of frames that landed.

    Args:
        client: Returns the worker.
        on_made: Called with the job and its preview.
        clock: Seconds that only grow.

    Attributes:
        problem: Why the last one could not be made.
    """

    def __init__(
        self,
        client: Callable[[], WorkerClient],
        *,
        on_made: Callable[[str, Path], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem = ""
        self._client = client
        self._on_made = on_made
        self._clock = clock
        self._is_busy = False
        self._next_at = clock()

    def ask(self, job: str, frame: Path) -> bool:
        """Have one made, unless another is just being made or that was a moment ago; returns whether it will be."""
        if self._is_busy or self._clock() < self._next_at:
            return False
        self._is_busy = True
        self._client().ask("preview", lambda line: self._take(job, line), job=job, path=str(frame))
        return True

    def _take(self, job: str, line: Mapping[str, Any]) -> None:
        self._is_busy = False
        if "error" in line:
            self.problem = str(line["error"]["message"])
            return
        self.problem = ""
        self._next_at = self._clock() + _REST * line["result"]["seconds"]
        self._on_made(job, Path(line["result"]["path"]))

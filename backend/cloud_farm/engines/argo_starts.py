"""How long pods wait before they run: for a node, then for image, volume and container; from a sample of a job's pods."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import EngineError

if TYPE_CHECKING:
    from .argo_objects import PodStart

_SAMPLE = 20
"""Pods of ten kilobytes each."""
_EVERY_SECONDS, _FIRST_SECONDS = 60.0, 10.0


class StartReader:
    """Asks for a sample of each job's pods now and then.

    Args:
        fetch: Reads how so many pods of a job started.
    """

    def __init__(
        self, fetch: Callable[[str, int], Iterable[PodStart]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._told: dict[str, tuple[float, dict[str, float]]] = {}

    def mean(self, job_id: str, *, look: bool) -> dict[str, float]:
        """Return mean seconds by stage, `pending` and `pulling`; nothing before a pod ran.

        Args:
            look: Ask again, if it is time; else what was told last stands.
        """
        at, told = self._told.get(job_id, (-_EVERY_SECONDS, {}))
        if look and self._clock() - at >= (_EVERY_SECONDS if told else _FIRST_SECONDS):
            with contextlib.suppress(EngineError):  # a job can be followed without a look at its pods
                told = stage_means(self._fetch(job_id, _SAMPLE)) or told
            self._told[job_id] = self._clock(), told
        return told


def stage_means(starts: Iterable[PodStart]) -> dict[str, float]:
    """Return the mean of both stages in seconds; nothing where there is no pod. Kubernetes tells whole seconds."""
    found = list(starts)
    if not found:
        return {}
    return {
        "pending": sum(max(0.0, start.scheduled - start.made) for start in found) / len(found),
        "pulling": sum(max(0.0, start.running - start.scheduled) for start in found) / len(found),
    }

"""Pods that have a node and don't start: why, by the cluster's events; one pod of a job is asked for, now and then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import EngineError
from .argo_nodes import StartingPod

if TYPE_CHECKING:
    from .argo_objects import PodEvent

_SLOW_SECONDS = 20.0
"""From when on a start is worth a question."""
_EVERY_SECONDS = 15.0


class Stuck(NamedTuple):
    """A pod that does not start.

    Attributes:
        task: Whose pod it is.
        event: What befell it last.
    """

    task: str
    event: PodEvent


class StuckReader:
    """Asks for one engine.

    Args:
        fetch: Tells what befell a pod, oldest first.
    """

    def __init__(
        self, fetch: Callable[[str], Sequence[PodEvent]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._seen: dict[str, tuple[float, str, Stuck | None]] = {}

    def find(self, job_id: str, pods: Iterable[StartingPod], *, now: float) -> Stuck | None:
        """Tell of the job's pod that starts longest, if it does so for long.

        Args:
            now: By the cluster's clock.
        """
        oldest = min(pods, key=lambda pod: pod.since, default=None)
        if oldest is None or now - oldest.since < _SLOW_SECONDS:
            return None
        at, name, stuck = self._seen.get(job_id, (-_EVERY_SECONDS, "", None))
        if name != oldest.name or self._clock() - at >= _EVERY_SECONDS:
            stuck = stuck if name == oldest.name else None
            with contextlib.suppress(
                EngineError
            ):  # what was told last stands; where a right lacks the check names the rule
                stuck = self._look(oldest)
            self._seen[job_id] = self._clock(), oldest.name, stuck
        return stuck

    def _look(self, pod: StartingPod) -> Stuck | None:
        events = self._fetch(pod.name)
        return Stuck(pod.task, events[-1]) if events else None

"""Pods of nodes that died: told, and given up after a while, since Argo would wait for them for ever."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import EngineError, EngineForbiddenError
from .argo_labels import pods_selector

if TYPE_CHECKING:
    from .argo_api import Cluster, EndingPod

_LOST_SECONDS = 60.0
"""How long after it should be gone a pod counts as lost."""
_LATE_SECONDS = 5.0
"""From when on a pod that should be gone is worth a word."""


class LostPods:
    """Looks after the jobs of one engine.

    Should such a node come back, two attempts publish the same frames, of which the first one counts.
    """

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._told: dict[str, tuple[float, str]] = {}

    def free(self, job_id: str) -> str:
        """Give up the job's pods that should have ended long ago, now and then; returns what to say of them, if anything."""
        at, said = self._told.get(job_id, (-_LOST_SECONDS, ""))
        if self._clock() - at >= _LOST_SECONDS / 2:
            with contextlib.suppress(EngineError):  # while it can't be looked at, what was told last stands
                said = self._look(job_id)
            self._told[job_id] = self._clock(), said
        return said

    def _look(self, job_id: str) -> str:
        try:
            late = [(self._cluster.now() - pod.due, pod) for pod in self._cluster.ending_pods(pods_selector(job_id))]
        except EngineForbiddenError:
            return ""  # others may have the right; the job goes on once the node is back
        said = ""
        for seconds, pod in late:
            if seconds > _LOST_SECONDS:
                said = self._give_up(pod)
            elif seconds > _LATE_SECONDS:
                said = said or (
                    f"Node {pod.node} does not answer. If it stays away its frames are begun elsewhere in {_LOST_SECONDS - seconds:.0f} s."
                )
        return said

    def _give_up(self, pod: EndingPod) -> str:
        try:
            self._cluster.delete_pod(pod)
        except EngineForbiddenError:
            return (
                f"Node {pod.node} does not answer, and you may not delete its pod {pod.name}. Its frames wait until the node is back or the"
                " cluster's admin deletes the pod; ask for a Role with {apiGroups: [''], resources: ['pods'], verbs: ['delete']}."
            )
        return f"Node {pod.node} does not answer: its frames are begun elsewhere."

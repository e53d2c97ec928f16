"""Pods of nodes that died: told, and given up after a while, since Argo would wait for them for ever."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import EngineError, EngineForbiddenError
from .argo_labels import pods_selector
from .argo_nodes import is_ready

if TYPE_CHECKING:
    from .argo_api import Cluster
    from .argo_objects import EndingPod

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
        late = [(seconds, pod) for seconds, pod in late if seconds > _LATE_SECONDS]
        answers = {node: self._answers(node) for node in {pod.node for _, pod in late}}
        said = ""
        for seconds, pod in late:
            lost = seconds > _LOST_SECONDS and not answers[pod.node]
            told = (self._give_up if lost else _late)(pod, seconds, answers[pod.node])
            said = told if lost else said or told
        return said

    def _answers(self, node: str) -> bool | None:
        """Tell whether a node does, by the cluster's own judgement; None where we may not look."""
        try:
            return any(is_ready(found) for found in self._cluster.nodes(name=node))
        except EngineForbiddenError:
            return None

    def _give_up(self, pod: EndingPod, seconds: float, answers: bool | None) -> str:
        why = _why(pod, seconds, answers)
        try:
            self._cluster.delete_pod(pod)
        except EngineForbiddenError:
            return (
                f"{why}, and you may not delete its pod {pod.name}. Its frames wait until the node is back or the cluster's admin deletes"
                " the pod; ask for a Role with {apiGroups: [''], resources: ['pods'], verbs: ['delete']}."
            )
        return f"{why}: its frames are begun elsewhere."


def _why(pod: EndingPod, seconds: float, answers: bool | None) -> str:
    if answers is None:
        return f"Pod {pod.name} should have ended {seconds:.0f} s ago, and its node {pod.node} may not answer"
    return f"Node {pod.node} does not answer"


def _late(pod: EndingPod, seconds: float, answers: bool | None) -> str:
    if not answers:
        return f"{_why(pod, seconds, answers)}. If it stays away its frames are begun elsewhere in {_LOST_SECONDS - seconds:.0f} s."
    ask = " Ask the cluster's admin to look at that node." if seconds > _LOST_SECONDS else ""
    return f"Pod {pod.name} should have ended {seconds:.0f} s ago; its node {pod.node} answers and has not ended it yet.{ask}"

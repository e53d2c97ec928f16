"""Reading a job's Workflows again and again: each is read whole only when it changed, and a large one not too often."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..plan import PREPARE
from . import TaskStatus
from .argo_nodes import StartingPod, Unreadable, active_pods, begun_tasks, seconds, starting_pods, status_nodes
from .argo_objects import HeadList

if TYPE_CHECKING:
    from .argo_objects import StoredWorkflow, WorkflowHead
    from .argo_watch import News, WorkflowWatch

_BYTES_PER_SECOND = 20_000
"""What following one Workflow may cost: one of a thousand chunks is read a few times a minute, a small one each time. Frames
don't wait for it: they are found on the volume."""
_OLDEST_SECONDS = 30.0
"""How long nobody else's new Workflow may go unnoticed, should a watch not tell."""
_FOLLOWED_SECONDS = 10.0
"""A job that is looked at this often is followed; a list of all jobs, twice a minute, is worth no watch."""
_MOST_WATCHES = 8
"""Connections to the cluster at once; jobs beyond them are listed again and again."""


@dataclass(frozen=True)
class WorkflowState:
    """What one Workflow says; messages are Argo's own.

    Attributes:
        running: Something of it runs or will start by itself.
        tasks: `prepare` and the chunks, begun or not.
        ended: When it ended, seconds since 1970; 0 before that.
        starting: Pods that have a node and no container that runs.
        doubtful: It is suspended, and whether its pods are over can't be read: they must be asked for.
        deadlines: Seconds that one attempt may take, by template.
        dropped: Fields that Argo's controller did not keep.
    """

    running: bool
    tasks: tuple[TaskStatus, ...]
    ended: float = 0.0
    starting: tuple[StartingPod, ...] = ()
    doubtful: bool = False
    deadlines: Mapping[str, int] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Seen:
    listed: str  # the version in the list for which it was read; by then it may have had a later one
    version: str
    at: float
    size: int
    state: WorkflowState


class HeadReader:
    """Lists a job's Workflows for one engine.

    Args:
        fetch: Lists them by the job's id.
        watch: Begins to watch them.
    """

    def __init__(
        self,
        fetch: Callable[[str], HeadList],
        watch: Callable[[str], WorkflowWatch],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._watch = watch
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, HeadList]] = {}
        self._looked: dict[str, float] = {}
        self._unsure: set[str] = set()
        self._watches: dict[str, WorkflowWatch] = {}

    def read(self, job_id: str) -> tuple[WorkflowHead, ...]:
        """List them as they are now."""
        self._unsure.discard(job_id)
        found = self._fetch(job_id)
        self._seen[job_id] = self._clock(), found
        return found.heads

    def recent(self, job_id: str) -> tuple[WorkflowHead, ...]:
        """List them as they were a moment ago: with a watch as it told, without one the longer ago, the longer the list."""
        at, found = self._seen.get(job_id, (0.0, None))
        news = self._news(job_id, found)
        if found is None:
            return self.read(job_id)
        if news is not None and news.missed:
            self._unsure.add(job_id)
        is_sure = news is not None and job_id not in self._unsure
        patience = _OLDEST_SECONDS if is_sure else min(found.size / _BYTES_PER_SECOND, _OLDEST_SECONDS)
        if self._clock() - at >= patience or (news is not None and news.relist):
            self._seen.pop(job_id, None)  # should the list fail, the next one is no older
            return self.read(job_id)
        if news is not None and news.versions:
            heads = (replace(head, version=news.versions.get(head.name, head.version)) for head in found.heads)
            found = HeadList(tuple(heads), found.size)
            self._seen[job_id] = at, found
        return found.heads

    def forget(self) -> None:
        """Take nothing for known any more: we changed a Workflow ourselves."""
        self._seen.clear()

    def _news(self, job_id: str, found: HeadList | None) -> News | None:
        """Return what was heard of a job; one that runs and is looked at again and again is listened to."""
        with self._lock:  # jobs are looked at side by side
            before, self._looked[job_id] = self._looked.get(job_id), self._clock()
            self._watches = {job: watch for job, watch in self._watches.items() if not watch.ended}
            if found is None or all(head.completed for head in found.heads):
                self._watches.pop(job_id, None)  # nobody asks it any more, so it ends
                return None
            is_followed = before is not None and self._looked[job_id] - before < _FOLLOWED_SECONDS
            if job_id not in self._watches and is_followed and len(self._watches) < _MOST_WATCHES:
                self._watches[job_id] = self._watch(job_id)
            watch = self._watches.get(job_id)
        return watch.news() if watch is not None else None


class StateReader:
    """Reads Workflows for one engine.

    Args:
        fetch: Reads a Workflow whole by its name; None if it is gone.
    """

    def __init__(
        self, fetch: Callable[[str], StoredWorkflow | None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def read(self, head: WorkflowHead) -> WorkflowState:
        """Return what a Workflow says now; what did not change is not read again."""
        seen = self._seen.get(head.name)
        if seen is None or not self._is_fresh(seen, head):
            stored = self._fetch(head.name)
            if stored is None:
                return WorkflowState(False, ())
            version = str(stored.content["metadata"]["resourceVersion"])
            seen = self._seen[head.name] = _Seen(
                head.version, version, self._clock(), stored.size, read_state(stored.content)
            )
        return seen.state

    def forget(self) -> None:
        """Read every Workflow anew: we changed one ourselves."""
        self._seen.clear()

    def _is_fresh(self, seen: _Seen, head: WorkflowHead) -> bool:
        if head.version in (seen.listed, seen.version):
            return True
        return not head.completed and self._clock() - seen.at < seen.size / _BYTES_PER_SECOND


def read_state(workflow: Mapping[str, Any]) -> WorkflowState:
    """Return what a Workflow says. Pure."""
    status, spec = workflow.get("status") or {}, workflow["spec"]
    ended = seconds(status.get("finishedAt"))
    ids = (PREPARE, *chunk_ids(spec))
    try:
        nodes = status_nodes(workflow)
    except Unreadable as problem:
        message = f"How far it is can't be told: {problem}."
        tasks = tuple(TaskStatus(task, "waiting", message) for task in ids)
        return WorkflowState(not ended, tasks, ended, doubtful=not ended and bool(spec.get("suspend")))
    begun = begun_tasks(nodes)
    # One that was told to stop ends as failed, too.
    failed = (
        str(status.get("message") or "")
        if status.get("phase") in ("Failed", "Error") and not spec.get("shutdown")
        else ""
    )
    rest = _never_begun(begun.get(PREPARE), over=bool(ended), why=failed)
    tasks = tuple(begun.get(task) or TaskStatus(task, *rest) for task in ids)
    running = not ended and (not spec.get("suspend") or active_pods(nodes.values()) > 0)
    starting = tuple(starting_pods(workflow, nodes)) if running else ()
    return WorkflowState(
        running, tasks, ended, starting, deadlines=read_deadlines(workflow), dropped=dropped_fields(workflow)
    )


def read_deadlines(workflow: Mapping[str, Any]) -> dict[str, int]:
    """Return how long one attempt may take, seconds by template."""
    stored = (workflow.get("status") or {}).get("storedWorkflowTemplateSpec") or {}
    templates = (*(workflow["spec"].get("templates") or ()), *(stored.get("templates") or ()))
    found = {item["name"]: item.get("activeDeadlineSeconds") for item in templates}
    return {name: int(value) for name, value in found.items() if str(value).isdecimal()}


def dropped_fields(workflow: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what an older controller did not keep.

    With minimal definitions the cluster takes fields that its Argo does not know; they are gone as soon as the controller writes.
    """
    spec = workflow["spec"]
    if not (workflow.get("status") or {}).get("phase") or spec.get("workflowTemplateRef"):
        return ()
    lock = spec.get("synchronization") or {}
    found = [] if any(key.startswith("mutex") for key in lock) else ["synchronization.mutexes"]
    pauses = [(item.get("retryStrategy") or {}).get("backoff") or {} for item in spec.get("templates") or ()]
    if any(pause.get("factor") not in (None, "1", 1) and not pause.get("cap") for pause in pauses):
        found.append("retryStrategy.backoff.cap")
    return tuple(found)


def chunk_ids(spec: Mapping[str, Any]) -> list[str]:
    """Return the ids of the chunks that a Workflow renders, from its parameters."""
    for item in (spec.get("arguments") or {}).get("parameters") or ():
        if item.get("name") == "chunks":
            return [str(chunk["id"]) for chunk in json.loads(str(item["value"]))]
    return []


def _never_begun(prepare: TaskStatus | None, *, over: bool, why: str) -> tuple[str, str]:
    """Phase and message of chunks that have no node; `why` the Workflow itself failed."""
    if not over:
        return "waiting", ""
    if prepare is not None and prepare.phase == "failed":
        return "failed", prepare.message
    return ("failed", why) if why and prepare is None else ("stopped", "")

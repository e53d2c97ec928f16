"""The Argo engine: a plan becomes Workflows on a Kubernetes cluster, which see it through without us."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from ..checks import Check
from ..errors import EngineConflictError, EngineError, EngineForbiddenError, EngineUnreachableError, JobBusyError
from ..history import user_name
from ..job import Finding
from ..layout import is_job_id
from ..plan import PREPARE, RenderPlan
from ..profile import FarmProfile
from . import EngineJob, EngineStatus, TaskStatus
from .argo_access import read_access
from .argo_follow import HeadReader, Shard, ShardReader
from .argo_labels import CHUNKS_SHA256, JOB, job_selector, jobs_selector, lost_fields, same_workflow
from .argo_manifest import workflows
from .argo_pod import Manifest
from .argo_settings import read_pod_settings
from .argo_starts import StartReader
from .argo_words import Explainer

if TYPE_CHECKING:
    from .argo_api import Cluster, WorkflowHead

_T = TypeVar("_T")
_TRIES = 5
_POLL_SECONDS = 0.5
_KIND_SECONDS = 5.0
"""How long a cancelled frame may take to end by itself before its pod is told to."""
_END_SECONDS = 30.0
_LOST_SECONDS = 60.0
"""How long after it should be gone a pod counts as lost."""


def open_engine(profile: FarmProfile) -> ArgoEngine:
    """Open the engine of the cluster that the profile names; nothing is sent before the first call."""
    return ArgoEngine(profile)


class ArgoEngine:
    """Carries plans out on a cluster."""

    def __init__(self, profile: FarmProfile, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._profile = profile
        self._settings = read_pod_settings(profile)
        self._sleep = sleep
        self._looked_for_lost = -_LOST_SECONDS

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster's API; Kubernetes' library takes half a second to load, so it waits until it is needed."""
        from .argo_api import Cluster

        return Cluster(lambda: read_access(self._profile), self._settings.namespace)

    @cached_property
    def _listed(self) -> HeadReader:
        instance = self._profile.instance_id
        return HeadReader(lambda job_id: self.cluster.heads(job_selector(job_id, instance_id=instance)))

    @cached_property
    def _shards(self) -> ShardReader:
        return ShardReader(self.cluster.workflow)

    @cached_property
    def _starts(self) -> StartReader:
        return StartReader(lambda job_id, most: self.cluster.pod_starts(f"{JOB}={job_id}", most=most))

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self._profile, self._settings, self.cluster.nodes)

    def check(self) -> tuple[Finding, ...]:
        """Look whether jobs can run there; a finding for each thing that is wrong."""
        from .argo_check import check_cluster

        return check_cluster(self._profile, self._settings, lambda: self.cluster)

    def try_out(self) -> Iterator[Check]:
        """Tell whether Kubernetes answers, and whether its Argo can take our jobs."""
        from .argo_check import try_out_cluster

        return try_out_cluster(self._profile, self._settings, lambda: self.cluster)

    def manifests(self, plan: RenderPlan) -> tuple[Manifest, ...]:
        """Return the Workflows of a plan's first run."""
        return workflows(plan, self._profile, owner=user_name(), only=plan.wanted)

    def submit(self, plan: RenderPlan) -> None:
        """Create every Workflow of the plan; after that nothing of ours need run. The same job and revision twice is one job.

        Raises:
            JobBusyError: Another revision of the job runs.
            EngineError: The cluster refuses it or is not reachable; calling again goes on.
        """
        heads = self._heads(plan.job_id)
        active = [head for head in heads if not head.completed]
        if any(head.revision != plan.revision for head in active):
            raise _busy(plan.job_id)
        if active:
            run = max(head.run for head in active)
        else:
            run = 1 + max((head.run for head in heads if head.revision == plan.revision), default=-1)
        manifests = workflows(plan, self._profile, owner=user_name(), run=run, only=plan.wanted)
        missing = missing_workflows(manifests, active)
        if missing and not active:
            self._judge(missing[0])
        for manifest in missing:
            self._create(manifest)
        self._patch(active, suspend=None)

    def status(self, job_id: str) -> EngineStatus:
        """Explain a job from its Workflows; what did not change since the last call is not read again."""
        heads = self._listed.recent(job_id) if is_job_id(job_id) else ()
        if not heads:
            message = "The cluster has no Workflow of this job (any more)."
            return EngineStatus(running=False, known=False, message=message)
        rows: dict[str, TaskStatus] = {}
        running = False
        newest = max(head.revision for head in heads)
        for head in heads:
            shard = self._shards.read(head)
            running = running or shard.running or self._may_hide_records(shard)
            for task in shard.tasks if head.revision == newest else ():
                told = dataclasses.replace(
                    task, message=self._explainer.plain(task.message, waits=task.phase == "waiting")
                )
                rows[task.id] = _later(rows.get(task.id), told, head)
        if running:
            self._free_lost_pods(job_id)
        return EngineStatus(
            running=running,
            tasks=_in_order(rows),
            message=_summary(rows.values()) if running else missing_parts(heads),
            stages=self._starts.mean(job_id, look=running),
        )

    def page(self, job_id: str) -> str:
        """Return where Argo's own pages list the job's Workflows, if the profile says where those pages are."""
        if not self._settings.argo_ui:
            return ""
        pages = f"{self._settings.argo_ui.rstrip('/')}/workflows/{self._settings.namespace}".rstrip("/")
        return f"{pages}?label={quote(f'{JOB}={job_id}', safe='')}"

    def jobs(self) -> tuple[EngineJob, ...]:
        """List the jobs that the cluster has Workflows of."""
        found: dict[str, EngineJob] = {}
        for head in self.cluster.heads(jobs_selector(self._profile)).heads:
            before = found.get(head.job)
            running = not head.completed or (before is not None and before.running)
            created = max(head.created, before.created if before else "")
            found[head.job] = EngineJob(head.job, head.owner, created, running)
        return tuple(job for job in found.values() if is_job_id(job.id))

    def cancel(self, job_id: str) -> None:
        """Stop the job's Workflows; returns when their pods are gone, or when the cluster has long been told to end them."""
        active = self._active(job_id)
        if not active:
            return
        for head in active:
            if not head.started:
                self._delete(head)
        self._patch([head for head in active if head.started], suspend=True)
        self._wait_until_still(job_id, _KIND_SECONDS)
        self._patch(self._active(job_id), suspend=None, shutdown="Stop")
        self._wait_until_still(job_id, self._settings.grace_s + _END_SECONDS, ended=True)

    def pause(self, job_id: str) -> None:
        """Start no more pods; the stop file on the volume ends supervisors between frames."""
        self._patch(self._active(job_id), suspend=True)

    def resume(self, job_id: str) -> None:
        """Go on with the Workflows that are suspended.

        Raises:
            EngineError: The cluster has none of this job.
        """
        active = self._active(job_id)
        if not active:
            raise EngineError(
                f"The cluster has nothing of job {job_id} to go on with. Start it with: cloud-farm retry {job_id}"
            )
        self._patch(active, suspend=None)

    def forget(self, job_id: str) -> None:
        """Delete the job's Workflows.

        Raises:
            JobBusyError: It still runs.
        """
        heads = self._heads(job_id)
        if any(self._shards.read(head).running for head in heads):
            raise _busy(job_id)
        for head in heads:
            self._delete(head)

    # -- inner ------------------------------------------------------------------------------------------------------------

    def _may_hide_records(self, shard: Shard) -> bool:
        """It ended so short a time ago that its last frames may not be seen on the volume yet."""
        return bool(shard.ended) and self.cluster.now() - shard.ended < self._profile.visibility_s

    def _heads(self, job_id: str) -> Sequence[WorkflowHead]:
        return self._listed.read(job_id) if is_job_id(job_id) else ()

    def _active(self, job_id: str) -> list[WorkflowHead]:
        """List the job's Workflows that are not over."""
        return [head for head in self._heads(job_id) if not head.completed]

    def _forget(self) -> None:
        """Take nothing for known any more: we change a Workflow ourselves."""
        self._listed.forget()
        self._shards.forget()

    def _patch(self, heads: Iterable[WorkflowHead], **spec: Any) -> None:
        for head in heads:
            self._forget()
            self.cluster.patch_workflow(head.name, {"spec": spec})

    def _delete(self, head: WorkflowHead) -> None:
        self._forget()
        self.cluster.delete_workflow(head.name)

    def _judge(self, manifest: Manifest) -> None:
        """Have the cluster judge a Workflow before anything is made.

        Raises:
            EngineError: It refuses it, or would silently keep less than was sent.
        """
        try:
            stored = self._patiently(lambda: self.cluster.create_workflow(manifest, dry_run=True))
        except EngineConflictError:
            return  # somebody else submits the same; `_create` looks whether it is
        lost = lost_fields(manifest["spec"], stored["spec"])
        if lost:
            raise EngineError(
                f"The cluster's Argo would drop {', '.join(lost[:3])} of the job without a word: its definition of a Workflow is of another"
                " version. Set argo_version in the farm's profile to the controller's."
            )

    def _create(self, manifest: Manifest) -> None:
        """Create a Workflow; a name that is taken by the very same one is fine: an earlier try made it, or somebody beside us."""
        self._forget()
        try:
            self._patiently(lambda: self.cluster.create_workflow(manifest))
        except EngineConflictError:
            stored = self.cluster.workflow(manifest["metadata"]["name"])
            if stored is None or not same_workflow(stored.content, manifest):
                raise

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """Call again while nobody answers. Perhaps it was done and only the answer got lost: what we make has its name from us."""
        for tried in range(_TRIES - 1):
            try:
                return call()
            except EngineUnreachableError:
                self._sleep(2.0**tried)
        return call()

    def _free_lost_pods(self, job_id: str) -> None:
        """Forget pods that should have ended long ago: their node is dead, and Argo would wait for them for ever.

        Should such a node come back, two attempts publish the same frames, of which the first one counts.
        """
        if time.monotonic() - self._looked_for_lost < _LOST_SECONDS / 2:
            return
        self._looked_for_lost = time.monotonic()
        with contextlib.suppress(
            EngineForbiddenError
        ):  # others may have the right; the job goes on once the node is back
            for pod in self.cluster.ending_pods(f"{JOB}={job_id}"):
                if self.cluster.now() > pod.due + _LOST_SECONDS:
                    self.cluster.delete_pod(pod)

    def _wait_until_still(self, job_id: str, seconds: float, *, ended: bool = False) -> None:
        """Wait until no pod of the job runs, and with `ended` until Argo has closed its books on it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            heads = self._heads(job_id)
            if not (any(not head.completed for head in heads) if ended else False) and not self.cluster.has_living_pods(
                f"{JOB}={job_id}"
            ):
                return
            self._sleep(_POLL_SECONDS)


def missing_parts(heads: Sequence[WorkflowHead]) -> str:
    """Say which Workflows of the newest run are not there; empty if all are."""
    newest = max((head.revision, head.run) for head in heads)
    parts = [head for head in heads if (head.revision, head.run) == newest]
    lacking = max(head.shards for head in parts) - len(parts)
    if lacking <= 0:
        return ""
    return (
        f"{lacking} of the {lacking + len(parts)} Workflows of this job are not on the cluster: its submission was interrupted, or"
        f" they were deleted. Render what is missing with: cloud-farm retry {parts[0].job}"
    )


def missing_workflows(manifests: Sequence[Manifest], active: Sequence[WorkflowHead]) -> list[Manifest]:
    """Return what is still to be made: nothing where a run of other chunks goes on, whose frames these will be among.

    Whoever goes on with a paused job wants only what it lacks by now; its Workflows were cut from all that it lacked before.
    """
    there = {head.name: head.chunks_sha256 for head in active}
    ours = {item["metadata"]["name"]: item["metadata"]["annotations"][CHUNKS_SHA256] for item in manifests}
    if any(ours.get(name) != chunks for name, chunks in there.items()):
        return []
    return [manifest for manifest in manifests if manifest["metadata"]["name"] not in there]


def _later(before: TaskStatus | None, task: TaskStatus, head: WorkflowHead) -> TaskStatus:
    """Join what two Workflows say about a task: the later run counts; of several preparations the one that is not done."""
    if before is None or task.id != PREPARE:
        return task
    return before if task.phase == "done" and before.phase != "done" and head.run == 0 else task


def _in_order(rows: Mapping[str, TaskStatus]) -> tuple[TaskStatus, ...]:
    return tuple(sorted(rows.values(), key=lambda task: (task.id != PREPARE, task.id)))


def _summary(tasks: Iterable[TaskStatus]) -> str:
    """Say why nothing starts, where nothing runs: the commonest reason of those that wait."""
    waiting = [task.message for task in tasks if task.phase == "waiting" and task.message]
    if not waiting or any(task.phase == "running" for task in tasks):
        return ""
    return max(set(waiting), key=waiting.count)


def _busy(job_id: str) -> JobBusyError:
    return JobBusyError(f"Job {job_id} still runs. Wait for it, or stop it first with: cloud-farm cancel {job_id}")

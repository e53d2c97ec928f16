"""The Argo engine: a plan becomes Workflows on a Kubernetes cluster, which see it through without us."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..checks import Check
from ..errors import EngineError, JobBusyError
from ..history import user_name
from ..job import Finding
from ..layout import is_job_id
from ..plan import PREPARE, RenderPlan
from ..profile import FarmProfile
from . import EngineJob, EngineStatus, TaskStatus
from .argo_access import read_access
from .argo_follow import HeadReader, StateReader, WorkflowState
from .argo_labels import CHUNKS_SHA256, job_selector, jobs_selector, pods_selector
from .argo_lost import LostPods
from .argo_manifest import workflow_template, workflows
from .argo_nodes import seconds
from .argo_pod import Manifest
from .argo_settings import read_pod_settings
from .argo_starts import StartReader
from .argo_stuck import StuckReader
from .argo_watch import WorkflowWatch
from .argo_words import Explainer
from .argo_writer import WorkflowWriter, patiently

if TYPE_CHECKING:
    from .argo_api import Cluster
    from .argo_objects import WorkflowHead

_MATTERS = ("failed", "running", "backing_off", "done", "waiting", "stopped")
"""Which of the Workflows of one run that prepare the same scene is told."""
_POLL_SECONDS = 0.5
_KIND_SECONDS = 5.0
"""How long a cancelled frame may take to end by itself before its pod is told to."""
_END_SECONDS = 30.0
_UNNOTICED_SECONDS = 45.0
"""How long after its creation a Workflow of which the controller said nothing is worth a word."""


def open_engine(profile: FarmProfile) -> ArgoEngine:
    """Open the engine of the cluster that the profile names; nothing is sent before the first call."""
    return ArgoEngine(profile)


class ArgoEngine:
    """Carries plans out on a cluster."""

    def __init__(self, profile: FarmProfile, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._profile = profile
        self._settings = read_pod_settings(profile)
        self._sleep = sleep

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster's API; Kubernetes' library takes half a second to load, so it waits until it is needed."""
        from .argo_api import Cluster

        return Cluster(lambda: read_access(self._profile), self._settings.namespace)

    @cached_property
    def _listed(self) -> HeadReader:
        def selector(job_id: str) -> str:
            return job_selector(job_id, instance_id=self._profile.instance_id)

        return HeadReader(
            lambda job_id: self.cluster.heads(selector(job_id)),
            lambda job_id: WorkflowWatch(partial(self.cluster.watch, selector(job_id))),
        )

    @cached_property
    def _states(self) -> StateReader:
        return StateReader(self.cluster.workflow)

    @cached_property
    def _writer(self) -> WorkflowWriter:
        return WorkflowWriter(self.cluster, forget=self._forget, sleep=self._sleep)

    @cached_property
    def _lost(self) -> LostPods:
        return LostPods(self.cluster)

    @cached_property
    def _stuck(self) -> StuckReader:
        return StuckReader(self.cluster.pod_events)

    @cached_property
    def _starts(self) -> StartReader:
        return StartReader(lambda job_id, most: self.cluster.pod_starts(pods_selector(job_id), most=most))

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self._profile, self._settings, lambda: self.cluster)

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

    def installed(self) -> tuple[Manifest, ...]:
        """Return the WorkflowTemplates that the farm's administrator installs, where its profile names one."""
        names = self._profile.images if self._settings.workflow_template else ()
        return tuple(workflow_template(self._profile, blender) for blender in sorted(names))

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
            self._writer.judge(missing[0])
        for manifest in missing:
            self._writer.create(manifest)
        self._writer.patch(active, suspend=None)

    def status(self, job_id: str, *, fresh: bool = False) -> EngineStatus:
        """Explain a job from its Workflows; what did not change since the last call is not read again."""
        if fresh:
            self._forget()
        heads = self._listed.recent(job_id) if is_job_id(job_id) else ()
        if not heads:
            message = "The cluster has no Workflow of this job (any more)."
            return EngineStatus(running=False, known=False, message=message)
        states = {head: self._states.read(head) for head in heads}
        newest = max(head.revision for head in heads)
        parts = ((head, state) for head, state in states.items() if head.revision == newest)
        rows = joined((head, self._told(task, state)) for head, state in parts for task in state.tasks)
        running = any(self._is_running(job_id, state) for state in states.values())
        said = self._said_while_running(job_id, states, rows) if running else missing_parts(heads)
        return EngineStatus(
            running=running,
            tasks=_in_order(rows),
            message=said,
            stages=self._starts.mean(job_id, look=running),
        )

    def page(self, job_id: str) -> str:
        """Return where Argo's own pages list the job's Workflows, if the profile says where those pages are."""
        if not self._settings.argo_ui:
            return ""
        pages = f"{self._settings.argo_ui.rstrip('/')}/workflows/{self._settings.namespace}".rstrip("/")
        return f"{pages}?label={quote(job_selector(job_id), safe='')}"

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
                self._writer.delete(head)
        self._writer.patch([head for head in active if head.started], suspend=True)
        with suppress(EngineError):  # whatever keeps us from looking: what is suspended must be stopped
            self._wait_until_still(job_id, _KIND_SECONDS)
        self._writer.patch(self._active(job_id, known=True), suspend=None, shutdown="Stop")
        self._wait_until_still(job_id, self._settings.grace_s + _END_SECONDS, ended=True)

    def pause(self, job_id: str) -> None:
        """Start no more pods; the stop file on the volume ends supervisors between frames."""
        self._writer.patch(self._active(job_id), suspend=True)

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
        self._writer.patch(active, suspend=None)

    def forget(self, job_id: str) -> None:
        """Delete the job's Workflows.

        Raises:
            JobBusyError: It still runs.
        """
        self._forget()
        heads = self._heads(job_id)
        if any(self._states.read(head).running for head in heads):
            raise _busy(job_id)
        for head in heads:
            self._writer.delete(head)

    # -- inner ------------------------------------------------------------------------------------------------------------

    def _told(self, task: TaskStatus, state: WorkflowState) -> TaskStatus:
        """Put a task's message in plain words."""
        prepares = task.id == PREPARE
        deadline_s = state.deadlines.get(PREPARE if prepares else "render", 0)
        said = self._explainer.plain(
            task.message, waits=task.phase == "waiting", prepares=prepares, deadline_s=deadline_s
        )
        return dataclasses.replace(task, message=said)

    def _said_while_running(
        self, job_id: str, states: Mapping[WorkflowHead, WorkflowState], rows: dict[str, TaskStatus]
    ) -> str:
        """Say why nothing starts, or what is wrong besides; a pod that does not start gets its reason among the tasks."""
        now = self.cluster.now()
        stuck = self._stuck.find(job_id, [pod for state in states.values() for pod in state.starting], now=now)
        if stuck is not None and stuck.task in rows and (said := self._explainer.stuck(stuck.event)):
            rows[stuck.task] = dataclasses.replace(rows[stuck.task], message=said)
        return (
            self._lost.free(job_id)
            or unnoticed(states, now=now, namespace=self.cluster.namespace)
            or _summary(rows.values())
            or dropped_words(states.values(), self._profile.argo_version)
        )

    def _is_running(self, job_id: str, state: WorkflowState) -> bool:
        if state.doubtful:
            return self._has_living_pods(job_id)
        return state.running or self._may_hide_records(state)

    def _has_living_pods(self, job_id: str) -> bool:
        return self.cluster.has_living_pods(pods_selector(job_id))

    def _may_hide_records(self, state: WorkflowState) -> bool:
        """It ended so short a time ago that its last frames may not be seen on the volume yet."""
        return bool(state.ended) and self.cluster.now() - state.ended < self._profile.visibility_s

    def _heads(self, job_id: str, *, known: bool = False) -> Sequence[WorkflowHead]:
        """List the job's Workflows; a cluster that is busy is asked again, one that is not there only if it is known."""
        if not is_job_id(job_id):
            return ()
        return patiently(lambda: self._listed.read(job_id), self._sleep, known=known)

    def _active(self, job_id: str, *, known: bool = False) -> list[WorkflowHead]:
        """List the job's Workflows that are not over."""
        return [head for head in self._heads(job_id, known=known) if not head.completed]

    def _forget(self) -> None:
        """Take nothing for known any more: we change a Workflow ourselves."""
        self._listed.forget()
        self._states.forget()

    def _wait_until_still(self, job_id: str, seconds: float, *, ended: bool = False) -> None:
        """Wait until no pod of the job runs, and with `ended` until Argo has closed its books on it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            heads = self._heads(job_id, known=True)
            open_books = ended and any(not head.completed for head in heads)
            if not open_books and not patiently(partial(self._has_living_pods, job_id), self._sleep):
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


def unnoticed(heads: Iterable[WorkflowHead], *, now: float, namespace: str) -> str:
    """Say that Argo's controller does not look at a Workflow, once it had the time to."""
    waits = [now - seconds(head.created) for head in heads if not head.phase and not head.completed]
    longest = max(waits, default=0.0)
    if longest < _UNNOTICED_SECONDS:
        return ""
    return (
        f"Argo's controller has not looked at this job for {longest:.0f} s. Ask the cluster's admin whether it runs, whether it watches"
        f" namespace {namespace}, and whether it has an instance id (instance_id in the farm's profile)."
    )


def dropped_words(states: Iterable[WorkflowState], version: str) -> str:
    """Say which fields the controller did not keep; empty if it kept all."""
    lost = sorted({name for state in states for name in state.dropped})
    if not lost:
        return ""
    written = f"argo_version {version}" if version else "the version that is taken where argo_version is not set"
    return (
        f"Argo's controller dropped {', '.join(lost)} of this job: it is older than {written} in the farm's profile. Set argo_version to"
        " its version and submit again."
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


def joined(told: Iterable[tuple[WorkflowHead, TaskStatus]]) -> dict[str, TaskStatus]:
    """Join what Workflows say about their tasks, by id: the later run counts; in one run each Workflow prepares the same scene.

    Args:
        told: In the order of the runs.
    """
    rows: dict[str, tuple[int, TaskStatus]] = {}
    for head, task in told:
        run, before = rows.get(task.id, (-1, task))
        if run != head.run or _MATTERS.index(task.phase) < _MATTERS.index(before.phase):
            rows[task.id] = head.run, task
    return {task_id: task for task_id, (_, task) in rows.items()}


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

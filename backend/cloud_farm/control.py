"""What people do to a job that is on the farm: cancel, pause, resume, retry."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from . import history
from .blender import find_blender, probe
from .engines import Engine
from .errors import InvalidJobError, JobBusyError, StoreUnreachableError
from .frames import FrameRange
from .images import choose_image
from .job import SCHEMA, JobDocument
from .json_data import require_schema
from .layout import JobLayout
from .plan import RenderPlan, Toolchain, plan, restore_plan
from .profile import FarmProfile
from .status import JobStatus
from .stores import Store
from .toolchain import local_toolchain, pod_toolchain
from .upload_lock import upload_lock

OVERRIDES = ("samples", "percentage", "seed", "engine", "file_format", "device", "view_layers")
"""RenderJob fields that a further revision may change: those that need no new pack."""


def cancel_whatever_answers(engine: Engine, job_id: str, cancel: Callable[[], None]) -> None:
    """Cancel a job; where the volume does not answer, at least what runs is stopped.

    Raises:
        StoreUnreachableError: It does not.
    """
    try:
        cancel()
    except StoreUnreachableError as error:
        engine.cancel(job_id)
        raise StoreUnreachableError(
            f"What ran of {job_id} was told to stop, but that can't be noted on the volume: {error} Cancel it once more later."
        ) from error


class JobControl:
    """Changes one job. The volume's events say what was wanted; the engine carries it out."""

    def __init__(self, store: Store, engine: Engine, profile: FarmProfile, document: JobDocument) -> None:
        self._store = store
        self._engine = engine
        self._profile = profile
        self._document = document
        self._job_id = document.id
        self._layout = JobLayout(document.id)

    def cancel(self) -> None:
        """Stop the job; frames that are finished stay. Idempotent."""
        try:
            if history.last_control(self._history()) != history.CANCELLED:
                history.append_event(self._store, self._job_id, history.CANCELLED)
            self._store.put(b"cancelled\n", self._layout.stop)
        finally:
            self._engine.cancel(self._job_id)  # also where the volume is full and can't take the event

    def pause(self, status: JobStatus) -> None:
        """Let frames that render end, then stop until `resume`."""
        if status.state == "paused":
            return
        if status.state not in ("queued", "rendering"):
            raise InvalidJobError(f"Job {self._job_id} is {status.state}; only a job that runs can be paused.")
        self._require_schema()
        history.append_event(self._store, self._job_id, history.PAUSED)
        self._store.put(b"paused\n", self._layout.stop)
        self._engine.pause(self._job_id)

    def resume(self, status: JobStatus) -> None:
        """Go on with a paused job, or with one whose runner died.

        Raises:
            InvalidJobError: There is nothing to resume, or the Blender here is not the plan's.
        """
        if status.state != "paused" and not status.stalled:
            over = status.state in ("failed", "cancelled")
            hint = f" Render what is missing with: cloud-farm retry {self._job_id}" if over else ""
            raise InvalidJobError(f"Job {self._job_id} is {status.state}; only a paused job can be resumed.{hint}")
        self._require_schema()
        stored = self._stored_plan()
        self._clear_stop()
        history.append_event(self._store, self._job_id, history.RESUMED)
        self._engine.submit(_unfinished(stored, status))

    def retry_missing(self, status: JobStatus) -> int:
        """Render every frame that is missing, as the same revision; returns that revision.

        Raises:
            JobBusyError: Something of the job runs.
            InvalidJobError: Nothing is missing, or the Blender here is not the plan's.
        """
        self._require_still()
        if status.frames_done == status.frames_total:
            raise InvalidJobError(
                f"Job {self._job_id} has all its {status.frames_total} frames."
                f" To render some again: cloud-farm retry {self._job_id} --frames … --force"
            )
        self._require_schema()
        stored = self._stored_plan()
        with upload_lock(self._job_id):
            self._clear_stop()
            # What failed before counts no more: the markers hold the count of tries.
            self._store.trash(self._layout.folder / "markers", job_id=self._job_id)
            history.append_event(self._store, self._job_id, history.RETRIED, revision=stored.revision)
            self._engine.submit(_unfinished(stored, status))
        return stored.revision

    @property
    def document(self) -> JobDocument:
        """The job's job.json."""
        return self._document

    def start_rest(self, status: JobStatus) -> tuple[RenderPlan, int]:
        """Start what an interrupted submission left out; returns the plan, and how many chunks were started.

        Nothing is where the job is over, or where people did something to it since.
        """
        stored = self._stored_plan()
        if history.last_control(self._history()) != history.SUBMITTED or status.state == "done":
            return stored, 0
        rest = self._never_begun(stored, status)
        if rest:
            # What runs is told to the engine as a whole: it knows which parts of it are missing.
            wanted = None if status.engine_running else rest
            self._engine.submit(dataclasses.replace(stored, wanted=wanted))
        return stored, len(rest)

    def _never_begun(self, planned: RenderPlan, status: JobStatus) -> frozenset[str]:
        """Return the chunks that the engine does not know (any more), and of which no attempt was made."""
        begun = {entry.name.partition(".")[0] for entry in self._store.list(self._layout.attempts)}
        begun |= {task.id for task in status.tasks}
        return frozenset(chunk.id for chunk in planned.chunks if chunk.id not in begun)

    def new_revision(
        self, frames: FrameRange | None, overrides: Mapping[str, Any], *, allow_scripts: bool = False
    ) -> int:
        """Render chosen frames again, with other values if wanted; returns the new revision.

        Raises:
            JobBusyError: Something of the job runs.
            InvalidJobError: An override that needs a new pack, or frames that the job does not have.
        """
        self._require_still()
        self._require_schema()
        self._check_overrides(overrides)
        submitted = history.revisions(self._history())
        revision = self._next_revision(submitted)
        profile, tools = self._tools(json.loads(self._stored(max(submitted, default=1))))
        job = dataclasses.replace(self._document.job, **overrides)
        planned = plan(
            job, self._document.pack, profile, self._job_id,
            tools=tools, revision=revision, only=self._frames_of_job(frames), allow_scripts=allow_scripts,
        )  # fmt: skip
        self._engine.manifests(planned)  # what the engine can't take is refused before anything is written
        publish_plan(planned, self._store)
        with upload_lock(self._job_id):
            self._clear_stop()
            self._engine.submit(planned)
        return revision

    def _next_revision(self, submitted: tuple[int, ...]) -> int:
        """Return a number that nobody used: a plan may lie there whose submitter was killed before it said so."""
        names = [entry.name.removesuffix(".json") for entry in self._store.list(self._layout.plans)]
        return max([*submitted, *(int(name) for name in names if name.isdigit())], default=0) + 1

    def _check_overrides(self, overrides: Mapping[str, Any]) -> None:
        for key in overrides:
            if key not in OVERRIDES:
                raise InvalidJobError(
                    f"A new revision can't change '{key}'; it can change {', '.join(OVERRIDES)}."
                    " Submit the scene again instead."
                )

    def _frames_of_job(self, frames: FrameRange | None) -> FrameRange | None:
        scene = self._document.pack.facts.scene(self._document.job.scene)
        span = (scene.frame_start, scene.frame_end, scene.frame_step)
        known = FrameRange.parse(self._document.job.frames, scene=span)
        strangers = [frame for frame in frames or () if frame not in known]
        if strangers:
            raise InvalidJobError(
                f"Job {self._job_id} has the frames {known}; {FrameRange.of(strangers)} is not among them."
                " Submit the scene again for more frames."
            )
        return frames

    def _require_schema(self) -> None:
        """Refuse a job of a newer version; it can be cancelled all the same."""
        require_schema({"schema": self._document.schema}, SCHEMA, where=str(self._layout.job_json))

    def _require_still(self) -> None:
        if self._engine.status(self._job_id, fresh=True).running:
            raise JobBusyError(
                f"Job {self._job_id} still runs. Wait for it, or stop it first with: cloud-farm cancel {self._job_id}"
            )

    def _history(self) -> tuple[history.JobEvent, ...]:
        return history.read_history(self._store, self._job_id)

    def _clear_stop(self) -> None:
        self._store.trash(self._layout.stop, job_id=self._job_id)

    def _stored_plan(self) -> RenderPlan:
        """The newest revision's plan as it was submitted, ready to run again."""
        revision = max(history.revisions(self._history()), default=1)
        content = self._stored(revision)
        document = json.loads(content)
        profile, tools = self._tools(document)
        planned_for = str(document["blender"])
        if tools.major_minor != planned_for:
            raise InvalidJobError(
                f"Job {self._job_id} was planned for Blender {planned_for}, but the Blender here is {tools.blender}; its"
                f" frames would not match. Name a {planned_for} with --blender, or render all of them again:"
                f" cloud-farm retry {self._job_id} --force"
            )
        return restore_plan(content, profile, tools=tools, priority=self._document.job.priority)

    def _stored(self, revision: int) -> bytes:
        return self._store.read(self._layout.plan(revision))

    def _tools(self, stored: Mapping[str, Any]) -> tuple[FarmProfile, Toolchain]:
        """What a stored plan runs with: the farm's Blender, and the scripts as they were sent."""
        if not self._profile.is_local:
            return self._profile, pod_toolchain(choose_image(self._profile, stored["blender"]), stored["scripts"])
        from .submission import resolve_profile

        launcher = find_blender(self._profile.blender or None, file_version=self._document.pack.facts.numbers)
        info = probe(launcher)
        return resolve_profile(self._profile, info), local_toolchain(launcher, info, stored["scripts"])


def _unfinished(planned: RenderPlan, status: JobStatus) -> RenderPlan:
    """Want only the chunks of which a frame is missing."""
    missing = {(state.camera, state.frame) for state in status.frame_states if state.state != "done"}
    wanted = (c.id for c in planned.chunks if any((c.camera, frame) in missing for frame in c.frames))
    return dataclasses.replace(planned, wanted=frozenset(wanted))


def publish_plan(planned: RenderPlan, store: Store) -> None:
    """Write a revision's plan and, last, the event that makes it run.

    Raises:
        JobBusyError: Somebody else wrote a plan for this revision, or submitted it.
    """
    path = JobLayout(planned.job_id).plan(planned.revision)
    if not store.put(planned.content, path, if_absent=True) and store.read(path) != planned.content:
        raise JobBusyError(
            f"Somebody else submits revision {planned.revision} of job {planned.job_id} at this moment."
            f" Follow it with: cloud-farm follow {planned.job_id}"
        )
    history.append_event(
        store, planned.job_id, history.SUBMITTED, revision=planned.revision, plan_sha256=planned.sha256
    )

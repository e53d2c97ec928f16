"""A job that is ready goes to its farm; a submission that was broken off goes on under its id, and stays one job."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from . import history
from .control import JobControl
from .engines import Engine
from .errors import InvalidJobError
from .events import CancelToken, Listener, PauseSwitch, Stage, counted
from .outcomes import Submission
from .sending import send
from .stores import Store

if TYPE_CHECKING:
    from pathlib import Path

    from .job import JobDocument, RenderJob
    from .status import JobStatus
    from .submission import Prepared


def submit_ready(
    ready: Prepared,
    store: Store,
    engine: Engine,
    *,
    on_event: Listener,
    cancel: CancelToken | None = None,
    pause: PauseSwitch | None = None,
) -> Submission:
    """Send a job that is packed and planned, and start it.

    Raises:
        StoreError: The volume did not take it.
        EngineError: What renders did not take it. It lies on the volume: its id submitted again goes on.
        Cancelled: `cancel` was set; nothing renders.
    """
    planned = ready.plan
    engine.manifests(planned)  # what the engine can't take is refused before anything is sent
    found = send(ready, store, on_event=on_event, cancel=cancel, pause=pause)
    extent = f"{counted(planned.frame_count, 'frame')} in {counted(len(planned.chunks), 'chunk')}"
    on_event(Stage("submitting", extent))
    engine.submit(planned)
    return Submission(planned.job_id, planned.revision, planned, (*ready.findings, *found), ready.landing)


def is_submitted(store: Store, job_id: str) -> bool:
    """Tell whether a job is on the volume to be rendered, whatever became of it since."""
    return bool(history.revisions(history.read_history(store, job_id)))


def finish_submission(
    control: JobControl, status: JobStatus, job: RenderJob, *, landing: Path, on_event: Listener
) -> Submission:
    """Start what an interrupted submission did not start any more; what began, or what people did to the job, stays.

    Args:
        job: What is submitted again.

    Raises:
        InvalidJobError: The job on the farm is another one, or somebody stopped it.
        EngineError: What renders did not take it.
    """
    document = control.document
    _require_same(document, job)
    if status.state in ("cancelling", "cancelled", "paused"):
        go_on = "cloud-farm resume" if status.state == "paused" else "cloud-farm retry"
        raise InvalidJobError(
            f"Job {status.id} was submitted before and is {status.state}. Go on with: {go_on} {status.id}"
        )
    planned, started = control.start_rest(status)
    on_event(Stage("submitting", _what_was_done(status, started)))
    return Submission(status.id, planned.revision, planned, (), landing)


def _require_same(document: JobDocument, job: RenderJob) -> None:
    """Refuse an id that another job has."""
    if document.owner != history.user_name():
        raise InvalidJobError(f"Job {document.id} is {document.owner}'s, from {document.host}. Choose another id.")
    stored = document.job
    ours = dataclasses.replace(job, scene_file=_name(job.scene_file), landing=stored.landing)
    theirs = dataclasses.replace(stored, scene_file=_name(stored.scene_file))
    other = [
        field.name for field in dataclasses.fields(job) if getattr(ours, field.name) != getattr(theirs, field.name)
    ]
    if other:
        raise InvalidJobError(
            f"Job {document.id} is on the farm already, as another one: {', '.join(other)} differ"
            f"{'s' if len(other) == 1 else ''}. Choose another id."
        )


def _name(scene_file: str) -> str:
    return PurePosixPath(scene_file.replace("\\", "/")).name


def _what_was_done(status: JobStatus, started: int) -> str:
    if started:
        return f"It was submitted before; {counted(started, 'chunk')} that had not begun were started"
    return f"It was submitted before and is {status.state}; nothing had to be started"

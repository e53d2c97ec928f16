"""A job that is ready goes to its farm; a submission that was broken off goes on under its id, and stays one job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import history
from .control import JobControl
from .engines import Engine
from .events import CancelToken, Listener, PauseSwitch, Stage, counted
from .outcomes import Submission
from .sending import send
from .stores import Store

if TYPE_CHECKING:
    from pathlib import Path

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


def finish_submission(control: JobControl, status: JobStatus, *, landing: Path, on_event: Listener) -> Submission:
    """Start what an interrupted submission did not start any more; a job that began is left as it is.

    Raises:
        EngineError: What renders did not take it.
    """
    on_event(Stage("submitting", "It is on the farm already; what is missing is started"))
    planned = control.start_rest(status)
    return Submission(status.id, planned.revision, planned, (), landing)

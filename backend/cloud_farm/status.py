"""A job's state: derived from its events, the records on the volume and the engine's explanation."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from . import history
from .asset_trust import AssetTrust
from .engines import Engine, EngineJob, EngineStatus, TaskStatus
from .errors import EngineError, ProfileError
from .events import CancelToken, FrameFailed, FrameStarted, Listener, Progress, StateChanged, ignore
from .frame_table import FrameState, FrameTable, Pace
from .frames import format_frames
from .job import JobDocument
from .landed import Landing
from .landing_queue import LandingQueue
from .running import RunningFrame
from .stages import StageTimes
from .stores import Store
from .tracking import FrameFailure, FrameKey, JobTracker
from .upload_lock import is_being_sent

_LONG_UPLOAD = 86400.0
"""Seconds after which an upload from another computer counts as interrupted."""
_LONGEST_FRAMES = 60
"""Letters of a list of frames in a sentence."""
_LONG_START = 120.0
"""Seconds after which a submission from another computer counts as interrupted where nothing came of it."""
NOT_ON_VOLUME = "not on volume"
FINAL_STATES = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class JobSummary:
    """One line of the job list; `stalled` as in `JobStatus`."""

    id: str
    title: str
    state: str
    owner: str
    host: str
    created: str
    frames_total: int
    frames_done: int
    frames_failed: int
    message: str = ""
    tags: tuple[str, ...] = ()
    stalled: bool = False

    @classmethod
    def stray(cls, job: EngineJob) -> JobSummary:
        """Describe a job that the engine knows of and the volume does not."""
        remove = f"cloud-farm {'cancel' if job.running else 'delete --yes'} {job.id}"
        message = f"Its files are gone from the farm's volume, or lie on another one. Clear it away with: {remove}"
        return cls(job.id, job.id, NOT_ON_VOLUME, job.owner, "", job.created, 0, 0, 0, message)

    @classmethod
    def unreadable(cls, job_id: str, message: str) -> JobSummary:
        """Describe a job whose files make no sense."""
        return cls(job_id, job_id, "unreadable", "", "", "", 0, 0, 0, message)


@dataclass(frozen=True)
class JobStatus:
    """A whole picture of a job.

    Attributes:
        state: uploading, queued, rendering, paused, cancelling, cancelled, failed or done.
        frame_states: Every frame, in order of camera and frame.
        running: What each Blender does now.
        frames_per_second: From the last frames, None while unknown.
        eta_seconds: Until the last frame, None while unknown.
        last_file: The frame file that landed (or was published) last.
        messages: What went wrong, in plain words.
        set_aside: Where frames were put because something newer had their name.
        not_landed: Why finished frames could not be brought here.
        engine_running: Something of the job still runs, if only to end.
        stalled: Nothing runs although the job is not over: its runner died, and `resume` goes on; or its upload was
            interrupted.
        started_at: When it was last submitted or retried, by the volume's clock (seconds since 1970); 0 before that.
        last_frame_at: When the newest frame was published, same clock; 0 while there is none.
        read_at: When this picture was taken, same clock.
        comment: The submitter's note for people.
        tags: Words to find the job by.
        stages: Where the time of a chunk goes, mean seconds by stage (`stages.STAGES`), as far as it is known.
    """

    id: str
    title: str
    state: str
    revision: int
    owner: str
    host: str
    created: str
    farm: str
    frames_total: int
    frames_done: int
    frames_failed: int
    frame_states: tuple[FrameState, ...]
    running: tuple[RunningFrame, ...]
    tasks: tuple[TaskStatus, ...]
    frames_per_second: float | None
    eta_seconds: float | None
    last_file: str
    landing: str
    messages: tuple[str, ...]
    set_aside: tuple[str, ...] = ()
    not_landed: tuple[str, ...] = ()
    engine_running: bool = False
    stalled: bool = False
    started_at: float = 0.0
    last_frame_at: float = 0.0
    read_at: float = 0.0
    comment: str = ""
    tags: tuple[str, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen by itself; a paused job waits for a person.

        A job whose frames are all there is done, but a retry must wait until its last process is gone.
        """
        return (self.state in (*FINAL_STATES, "paused") and not self.engine_running) or self.stalled


class StatusReader:
    """Reads one job again and again; each `read` costs what is new."""

    def __init__(self, store: Store, engine: Engine, document: JobDocument, *, landing: Path) -> None:
        self._store = store
        self._engine = engine
        self._document = document
        self._landing_folder = landing
        self._tracker = JobTracker(store, document.id)
        self._history: tuple[history.JobEvent, ...] = ()
        self._state = ""
        self._told: set[object] = set()
        self._queue = LandingQueue(store, self._tracker, document.id)
        self._table = FrameTable(self._tracker)
        self._pace = Pace()
        self._running: tuple[RunningFrame, ...] = ()
        self._explained = EngineStatus(running=True)
        self._stages = StageTimes(store, self._tracker.layout)

    def read(
        self, *, on_event: Listener = ignore, landing: Landing | None = None, cancel: CancelToken | None = None
    ) -> JobStatus:
        """Refresh from the volume and the engine, land what is new, and tell what changed.

        Raises:
            Cancelled: `cancel` was set before all had landed.
        """
        # The engine is asked first: a job that ends in between has its last records on the volume when we look there.
        engine = self._ask_engine()
        self._refresh(engine)
        if landing is not None:
            self._queue.land(landing, on_event, cancel=cancel)
        status = self._status(engine, landing)
        self._tell(status, on_event)
        return status

    @property
    def is_landing(self) -> bool:
        """Whether finished frames wait for their files to be seen."""
        return len(self._queue) > 0

    def landed(self, landing: Landing) -> dict[FrameKey, Path]:
        """Land every finished frame and tell where its main file lies; the newest revision of each.

        Raises:
            LandingError: The folder can't be written.
        """
        self._refresh(self._ask_engine())
        self._queue.add(self._tracker.published.values())
        return self._queue.land(landing)

    def summary(self) -> JobSummary:
        """Return one line about the job; reads no log and no record."""
        engine = self._ask_engine()
        self._refresh(engine, look_closely=False)
        state, message, stalled = self._derive(engine)
        doc = self._document
        return JobSummary(
            doc.id,
            doc.job.title,
            state,
            doc.owner,
            doc.host,
            doc.created,
            len(self._tracker.wanted),
            self._table.done,
            len(self._table.failed()),
            message,
            doc.job.tags,
            stalled,
        )

    def _ask_engine(self) -> EngineStatus:
        """Have the engine explain the job; while it can't, what it said last stands: frames come by the volume all the same."""
        try:
            self._explained = self._engine.status(self._document.id)
        except (EngineError, ProfileError) as error:  # out of reach, a login that ran out, a right that was taken away
            return dataclasses.replace(self._explained, running=True, message=str(error), answered=False)
        return self._explained

    def _refresh(self, engine: EngineStatus, *, look_closely: bool = True) -> None:
        self._history = history.read_history(self._store, self._document.id, known=self._history)
        fresh = self._tracker.refresh(
            history.revisions(self._history), since=history.last_retry(self._history), at_once=not engine.running
        )
        for part in (self._queue, self._pace):
            part.add(fresh)
        self._table.update(fresh)
        self._running = self._tracker.running() if engine.running and look_closely else ()
        if look_closely and not self._stages.is_enough:
            self._stages.look(self._tracker.ended_chunks)

    def _derive(self, engine: EngineStatus) -> tuple[str, str, bool]:
        """Return (state, message, stalled)."""
        kind = history.last_control(self._history)
        if not kind:
            return self._derive_unsubmitted()
        if kind == history.CANCELLED and not self._tracker.wanted:
            return "cancelled", "", False
        if self._table.done == len(self._tracker.wanted) and not (kind == history.CANCELLED and engine.running):
            return "done", "", False
        if kind == history.CANCELLED:
            return ("cancelling" if engine.running else "cancelled"), "", False
        if kind == history.PAUSED:
            return "paused", "", False
        if engine.running:
            begun = self._tracker.published or self._tracker.has_begun
            return "rendering" if begun else "queued", engine.message, False
        return self._derive_still(engine)

    def _derive_unsubmitted(self) -> tuple[str, str, bool]:
        """Somebody sends it, or was interrupted: on this computer we know, of another one we only know since when."""
        doc = self._document
        if is_being_sent(doc.id):
            return "uploading", "", False
        here = (doc.host, doc.owner) == (socket.gethostname(), history.user_name())
        age = self._store.server_time() - datetime.fromisoformat(doc.created).timestamp()
        if not here and age < _LONG_UPLOAD:
            return (
                "uploading",
                f"Waiting for {doc.host}, which sends it; a Blender that was closed there goes on when it is started.",
                False,
            )
        return (
            "uploading",
            f"Its submission{'' if here else f' from {doc.host}'} was interrupted. Submit the scene again: what was sent is not sent twice."
            f" Remove this job with: cloud-farm delete {doc.id} --yes",
            True,
        )

    def _derive_still(self, engine: EngineStatus) -> tuple[str, str, bool]:
        """Nothing runs, not everything is done, and nobody asked for that."""
        if not engine.known and self._is_being_started():
            return "queued", "It is just being submitted.", False
        over = {"done", "failed"}
        if not engine.known or any(task.phase not in over for task in engine.tasks):
            message = engine.message or "Nothing of this job runs any more, and frames are missing."
            return "failed", f"{message} Go on with: cloud-farm resume {self._document.id}", True
        if not engine.message and len(self._tracker.wanted) > self._table.done + len(self._table.failed()):
            message = "Every chunk ended, but frames have no record on the volume."
            return "failed", f"{message} Render them with: cloud-farm retry {self._document.id}", False
        return "failed", engine.message, False

    def _is_being_started(self) -> bool:
        """It was submitted or retried, and whoever did so may not have told the engine yet."""
        if is_being_sent(self._document.id):
            return True
        age = self._store.server_time() - history.last_retry(self._history)
        return self._history[-1].host != socket.gethostname() and age < _LONG_START

    def _status(self, engine: EngineStatus, landing: Landing | None) -> JobStatus:
        state, message, stalled = self._derive(engine)
        doc, since, now = self._document, history.last_retry(self._history), self._store.server_time()
        rate = self._pace.per_second(since=since, now=now if self._running else None)
        failed = self._table.failed()
        waiting = len(self._tracker.wanted) - self._table.done - len(failed)
        return JobStatus(
            id=doc.id,
            title=doc.job.title,
            state=state,
            revision=max(self._tracker.revisions, default=0),
            owner=doc.owner,
            host=doc.host,
            created=doc.created,
            farm=doc.farm,
            frames_total=len(self._tracker.wanted),
            frames_done=self._table.done,
            frames_failed=len(failed),
            frame_states=self._table.states((frame.camera, frame.frame) for frame in self._running),
            running=self._running,
            tasks=engine.tasks,
            frames_per_second=rate,
            eta_seconds=waiting / rate if rate and state == "rendering" else None,
            last_file=self._queue.last_file,
            landing=str(landing.folder if landing else self._landing_folder),
            messages=self._messages(message, engine, failed.values()),
            not_landed=tuple(dict.fromkeys(self._queue.failed.values())),
            set_aside=tuple(str(path) for path in landing.set_aside) if landing else (),
            # Whoever waits for the last frame does not wait for an engine that nobody can ask.
            engine_running=engine.running and (engine.answered or state != "done"),
            stalled=stalled,
            started_at=since,
            last_frame_at=self._pace.last,
            read_at=now,
            comment=doc.job.comment,
            tags=doc.job.tags,
            stages=self._stages.mean(engine.stages),
        )

    def _messages(self, message: str, engine: EngineStatus, failed: Iterable[FrameFailure]) -> tuple[str, ...]:
        tasks = [task.message for task in engine.tasks if task.message and task.phase in ("failed", "backing_off")]
        return tuple(
            dict.fromkeys(text for text in (*_frame_messages(failed), *self._tracker.reasons, *tasks, message) if text)
        )

    def _doubt_assets(self) -> None:
        """Have the next submission prove the files that this job could not use, though they look as they always did."""
        if self._tracker.has_wrong_files:
            files = self._document.pack.files
            AssetTrust(self._store.volume).forget(
                str(sha256) for entry in files for sha256 in (entry.get("sha256"), *(entry.get("parts") or ()))
            )

    def _tell(self, status: JobStatus, on_event: Listener) -> None:
        if status.state != self._state:
            self._state = status.state
            self._doubt_assets()
            on_event(
                StateChanged(
                    status.id,
                    status.state,
                    "; ".join(status.messages[:1]) if status.state == "failed" else "",
                )
            )
        for running in status.running:
            self._once(
                ("started", running.attempt, running.camera, running.frame),
                on_event,
                FrameStarted(status.id, running.camera, running.frame, running.attempt),
            )
        for key, failure in self._table.failed().items():
            self._once(
                ("failed", key, failure.message),
                on_event,
                FrameFailed(status.id, failure.camera, failure.frame, failure.message),
            )
        figures = Progress(
            status.id,
            status.state,
            status.frames_done,
            status.frames_failed,
            status.frames_total,
            status.frames_per_second,
            status.eta_seconds,
        )
        self._once(("progress", status.state, status.frames_done, status.frames_failed), on_event, figures)

    def _once(self, key: object, on_event: Listener, event: FrameStarted | FrameFailed | Progress) -> None:
        if key not in self._told:
            self._told.add(key)
            on_event(event)


def _frame_messages(failed: Iterable[FrameFailure]) -> Iterator[str]:
    """Yield why frames failed, those that failed alike in one sentence."""
    alike: dict[str, set[int]] = {}
    for failure in failed:
        alike.setdefault(failure.message, set()).add(failure.frame)
    for message, frames in alike.items():
        text = format_frames(sorted(frames))
        if len(text) > _LONGEST_FRAMES:
            text = f"{text[: text.rindex(',', 0, _LONGEST_FRAMES)]} and more"
        yield f"Frame{'s' if len(frames) > 1 else ''} {text}: {message}"


def status_data(status: JobStatus) -> dict[str, Any]:
    """Return a job's picture for programs; frames are ranges by camera and state, not one entry each."""
    found: dict[str | None, dict[str, list[int]]] = {}
    for frame in status.frame_states:
        found.setdefault(frame.camera, {}).setdefault(frame.state, []).append(frame.frame)
    frames = [
        {"camera": camera, **{state: format_frames(sorted(numbers)) for state, numbers in states.items()}}
        for camera, states in found.items()
    ]
    plain = dataclasses.asdict(dataclasses.replace(status, frame_states=()))
    return {**plain, "frame_states": frames}

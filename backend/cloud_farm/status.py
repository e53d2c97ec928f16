"""A job's state: derived from its events, the records on the volume and the engine's explanation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import history
from .engines import Engine, EngineStatus, TaskStatus
from .errors import LandingError, NotFoundError
from .events import FrameDone, FrameFailed, FrameStarted, Listener, Note, Progress, StateChanged, ignore
from .job import JobDocument
from .landing import Landing
from .stores import Store
from .tracking import FrameKey, JobTracker, Published, RunningFrame

FINAL_STATES = ("done", "failed", "cancelled")
_RATE_WINDOW = 20
"""Frames/s is taken from this many last frames: it follows the job, and one slow frame does not shake it."""


@dataclass(frozen=True)
class FrameState:
    """One frame of one camera: waiting, rendering, done or failed."""

    camera: str | None
    frame: int
    state: str


@dataclass(frozen=True)
class JobSummary:
    """One line of the job list."""

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
        engine_running: Something of the job still runs, if only to end.
        stalled: Nothing runs although the job is not over: its runner died. `resume` goes on.
        started_at: When it was last submitted or retried, by the volume's clock (seconds since 1970); 0 before that.
        last_frame_at: When the newest frame was published, same clock; 0 while there is none.
        read_at: When this picture was taken, same clock.
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
    engine_running: bool = False
    stalled: bool = False
    started_at: float = 0.0
    last_frame_at: float = 0.0
    read_at: float = 0.0

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
        self._last_file = ""
        self._told: set[object] = set()
        self._unlanded: list[Published] = []
        self._running: tuple[RunningFrame, ...] = ()

    def read(self, *, on_event: Listener = ignore, landing: Landing | None = None) -> JobStatus:
        """Refresh from the volume and the engine, land what is new, and tell what changed."""
        # The engine is asked first: a job that ends in between has its last records on the volume when we look there.
        engine = self._engine.status(self._document.id)
        self._refresh()
        if landing is not None:
            self._land(landing, on_event)
        status = self._status(engine, landing)
        self._tell(status, on_event)
        return status

    def landed(self, landing: Landing) -> dict[FrameKey, Path]:
        """Land every finished frame and tell where its main file lies; the newest revision of each.

        Raises:
            LandingError: A frame has a hostile name, or the folder can't be written.
        """
        self._refresh()
        newest = {key: revision for revision, key in sorted(self._tracker.published, key=lambda item: item[0])}
        found = {key: self._tracker.published[revision, key] for key, revision in newest.items()}
        return {key: landing.land(item.revision, self._tracker.record(item)) for key, item in found.items()}

    def summary(self) -> JobSummary:
        """Return one line about the job; reads no log and no record."""
        engine = self._engine.status(self._document.id)
        self._refresh()
        state, message, _ = self._derive(engine)
        doc = self._document
        return JobSummary(
            doc.id,
            doc.job.title,
            state,
            doc.owner,
            doc.host,
            doc.created,
            len(self._tracker.wanted),
            self._done,
            self._failed,
            message,
        )

    def _refresh(self) -> None:
        self._history = history.read_history(self._store, self._document.id, known=self._history)
        fresh = self._tracker.refresh(history.revisions(self._history), since=history.last_retry(self._history))
        self._unlanded.extend(fresh)

    @property
    def _done(self) -> int:
        return sum(1 for key in self._tracker.wanted if self._tracker.is_done(key))

    @property
    def _failed(self) -> int:
        return sum(1 for key in self._tracker.failures if self._final_failure(key))

    def _final_failure(self, key: FrameKey) -> bool:
        failure = self._tracker.failure(key)
        return failure is not None and failure.final

    def _derive(self, engine: EngineStatus) -> tuple[str, str, bool]:
        """Return (state, message, stalled)."""
        kind = history.last_control(self._history)
        if not kind or kind == history.CANCELLED and not self._tracker.wanted:
            return ("cancelled" if kind else "uploading"), "", False
        if self._done == len(self._tracker.wanted) and not (kind == history.CANCELLED and engine.running):
            return "done", "", False
        if kind == history.CANCELLED:
            return ("cancelling" if engine.running else "cancelled"), "", False
        if kind == history.PAUSED:
            return "paused", "", False
        if engine.running:
            return (
                ("rendering" if self._tracker.published or self._tracker.running() else "queued"),
                engine.message,
                False,
            )
        return self._derive_still(engine)

    def _derive_still(self, engine: EngineStatus) -> tuple[str, str, bool]:
        """Nothing runs, not everything is done, and nobody asked for that."""
        over = {"done", "failed"}
        if not engine.known or any(task.phase not in over for task in engine.tasks):
            message = engine.message or "Nothing of this job runs any more, and frames are missing."
            return "failed", f"{message} Go on with: cloud-farm resume {self._document.id}", True
        return "failed", engine.message, False

    def _status(self, engine: EngineStatus, landing: Landing | None) -> JobStatus:
        state, message, stalled = self._derive(engine)
        self._running = self._tracker.running() if engine.running else ()
        doc, rate = self._document, self._rate()
        waiting = len(self._tracker.wanted) - self._done - self._failed
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
            frames_done=self._done,
            frames_failed=self._failed,
            frame_states=self._frame_states(),
            running=self._running,
            tasks=engine.tasks,
            frames_per_second=rate,
            eta_seconds=waiting / rate if rate and state == "rendering" else None,
            last_file=self._last_file,
            landing=str(landing.folder if landing else self._landing_folder),
            messages=self._messages(message, engine),
            set_aside=tuple(str(path) for path in landing.set_aside) if landing else (),
            engine_running=engine.running,
            stalled=stalled,
            started_at=history.last_retry(self._history),
            last_frame_at=max((found.at for found in self._tracker.published.values()), default=0.0),
            read_at=self._store.server_time(),
        )

    def _frame_states(self) -> tuple[FrameState, ...]:
        now = {(frame.camera, frame.frame) for frame in self._running}
        return tuple(
            FrameState(*key, self._frame_state(key, now))
            for key in sorted(self._tracker.wanted, key=lambda k: (k[0] or "", k[1]))
        )

    def _frame_state(self, key: FrameKey, now: set[FrameKey]) -> str:
        if self._tracker.is_done(key):
            return "done"
        if self._final_failure(key):
            return "failed"
        return "rendering" if key in now else "waiting"

    def _messages(self, message: str, engine: EngineStatus) -> tuple[str, ...]:
        frames = [
            f"Frame {f.frame}: {f.message}"
            for f in self._tracker.failures.values()
            if self._final_failure((f.camera, f.frame))
        ]
        tasks = [task.message for task in engine.tasks if task.message and task.phase in ("failed", "backing_off")]
        return tuple(dict.fromkeys(text for text in (*frames, *self._tracker.reasons, *tasks, message) if text))

    def _rate(self) -> float | None:
        """Frames a second: over the last frames, and from the start while there are only a few."""
        since = history.last_retry(self._history)
        times = sorted(found.at for found in self._tracker.published.values() if found.at >= since)
        if not times:
            return None
        begin, count = (since, len(times)) if len(times) <= _RATE_WINDOW else (times[-_RATE_WINDOW], _RATE_WINDOW - 1)
        end = max(self._store.server_time(), times[-1]) if self._running else times[-1]
        return count / (end - begin) if end > begin else None

    def _land(self, landing: Landing, on_event: Listener) -> None:
        """Land every new frame; one that can't be landed is told and does not stop the others."""
        newest = {
            (found.camera, found.frame): found.revision for found in sorted(self._unlanded, key=lambda f: f.revision)
        }
        for found in self._unlanded:
            if newest[found.camera, found.frame] != found.revision:
                continue
            try:
                record = self._tracker.record(found)
                path = landing.land(found.revision, record)
            except (LandingError, NotFoundError) as error:
                on_event(Note(str(error)))
                if isinstance(error, LandingError) and "can't be written" in str(error):
                    raise
                continue
            self._last_file = str(path)
            on_event(
                FrameDone(
                    self._document.id,
                    found.camera,
                    found.frame,
                    str(path),
                    record.seconds,
                    record.device,
                    record.host,
                )
            )
        self._unlanded.clear()

    def _tell(self, status: JobStatus, on_event: Listener) -> None:
        if status.state != self._state:
            self._state = status.state
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
        for key, failure in self._tracker.failures.items():
            if self._final_failure(key):
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

"""The façade: everything that a front (CLI, add-on worker, submit.py) does with a farm."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .control import JobControl, cancel_whatever_answers
from .engines import Engine, open_engine
from .errors import InvalidJobError, JobBusyError, JobNotFoundError, NotFoundError, StoreUnreachableError
from .events import CancelToken, Listener, PauseSwitch, ignore
from .following import look_patiently
from .frames import FrameRange
from .job import Finding, JobDocument, RenderJob, parse_job
from .job_list import Summaries, is_stray, list_jobs, over_before
from .job_logs import JobLogs
from .job_notes import forget_note, note_landed, read_note
from .job_search import find_job, made_at, unknown_job
from .landed import Landing
from .landing import check_landing, default_fetch_folder
from .layout import JobLayout, is_job_id
from .outcomes import Fetched, Submission
from .profile import FarmProfile, load_profile
from .status import JobStatus, JobSummary, StatusReader
from .stores import Store, open_store
from .upload_lock import is_being_sent

if TYPE_CHECKING:
    from .movie import Movie
    from .tracking import FrameKey

_LOG_POLL_SECONDS = 1.0


def open_farm(farm: str = "local", *, flags: Mapping[str, Any] | None = None) -> Farm:
    """Open a farm by name or profile file.

    Args:
        flags: Dotted profile key to value, on top of all else (`limits.workers`, `blender`, …).

    Raises:
        ProfileError: No such farm, or a profile that makes no sense.
    """
    return Farm(load_profile(farm, flags=flags))


class Farm:
    """One farm: submit jobs, follow them, fetch what they made."""

    def __init__(self, profile: FarmProfile) -> None:
        self.profile = profile
        self.store: Store = open_store(profile)
        self.engine: Engine = open_engine(profile)
        self._summaries = Summaries(self._reader)

    # -- submit -----------------------------------------------------------------------------------------------------

    def check(self) -> tuple[Finding, ...]:
        """Look whether jobs can run here; empty when all is well."""
        return self.engine.check()

    @contextmanager
    def prepare(
        self,
        job: RenderJob,
        *,
        allow_scripts: bool = False,
        home: Path | None = None,
        job_id: str = "",
        on_event: Listener = ignore,
        cancel: CancelToken | None = None,
    ) -> Iterator[Any]:
        """Pack and plan a job and send nothing: what `--dry-run` and `plan` show. Yields a `submission.Prepared`.

        Args:
            home: What `//` in an output path means where the scene file is a copy of another: that one's folder.
            job_id: The id that it gets; empty draws one.

        Raises:
            InvalidJobError: The scene or the job has an error; each is named.
            Cancelled: `cancel` was set.
        """
        from .submission import prepared, scene_on_disk

        with (
            scene_on_disk(job, self.store) as scene_file,
            prepared(
                job, self.profile, scene_file=scene_file, allow_scripts=allow_scripts, home=home, job_id=job_id,
                on_event=on_event, cancel=cancel,
            ) as ready,
        ):  # fmt: skip
            yield ready

    def submit(
        self,
        job: RenderJob,
        *,
        allow_scripts: bool = False,
        home: Path | None = None,
        job_id: str = "",
        on_event: Listener = ignore,
        cancel: CancelToken | None = None,
        pause: PauseSwitch | None = None,
    ) -> Submission:
        """Pack, send and start a job; after this nothing of ours need run.

        Args:
            home: As in `prepare`.
            job_id: As in `prepare`. A submission that is repeated with one id is one job, wherever it was broken off.
            cancel: Ends the upload; what was sent stays for the next try.
            pause: Halts the upload while it is set.

        Raises:
            InvalidJobError: Refused before anything was sent.
            JobBusyError: Somebody else sends this very job.
            LandingError: The landing folder can't be written.
            StoreError: The volume did not take it.
            Cancelled: `cancel` was set; nothing renders.
        """
        from .submission import refuse_errors
        from .submitting import finish_submission, is_submitted, submit_ready

        if is_job_id(job_id) and is_submitted(self.store, job_id):
            control, landing = self._control(job_id), self.landing_folder(job_id)
            return finish_submission(control, self.status(job_id), job, landing=landing, on_event=on_event)
        with self.prepare(
            job, allow_scripts=allow_scripts, home=home, job_id=job_id, on_event=on_event, cancel=cancel
        ) as ready:
            refuse_errors(self.check())
            check_landing(ready.landing)
            return submit_ready(ready, self.store, self.engine, on_event=on_event, cancel=cancel, pause=pause)

    # -- look -------------------------------------------------------------------------------------------------------

    def jobs(self) -> tuple[JobSummary, ...]:
        """List every job of the farm, newest first: all on the volume, and what only the engine still knows of."""
        return list_jobs(self.store, self.engine, self._summaries.of)

    def find(self, text: str) -> str:
        """Return the one job id that begins with `text`; `last` or nothing is the newest.

        A job that only the engine still knows of is found by its whole id.

        Raises:
            JobNotFoundError: None, or several.
        """
        try:
            return find_job(self.store, text, farm=self.profile.name)
        except JobNotFoundError:
            if self._is_stray(text):
                return text
            raise
        except StoreUnreachableError:
            if is_job_id(text):
                return text  # who knows it whole can stop it, whatever the volume does
            raise

    def document(self, job_id: str) -> JobDocument:
        """Read a job's job.json.

        Raises:
            JobNotFoundError: No such job.
            SchemaError: It was edited into nonsense.
        """
        if not is_job_id(job_id):
            raise unknown_job(job_id, farm=self.profile.name)
        path = JobLayout(job_id).job_json
        try:
            document = parse_job(self.store.read(path), where=str(path))
        except NotFoundError:
            raise unknown_job(job_id, farm=self.profile.name) from None
        if document.id != job_id:
            raise InvalidJobError(
                f"{path} calls itself '{document.id}'. It was copied or edited by hand; submit the scene again."
            )
        return document

    def status(self, job_id: str) -> JobStatus:
        """Return a whole picture of the job."""
        return self._reader(job_id).read()

    def follow(
        self,
        job_id: str,
        *,
        land: bool = True,
        target: Path | None = None,
        on_event: Listener = ignore,
        on_status: Callable[[JobStatus], None] | None = None,
        cancel: CancelToken | None = None,
        poll_seconds: float | None = None,
    ) -> JobStatus:
        """Follow a job until nothing more happens by itself; land its frames as they finish.

        Args:
            land: Bring finished frames to `target`, or to where the submission said.
            on_status: Called with every refreshed picture.
            poll_seconds: Between two looks; None takes what pays with this farm's store.

        Raises:
            StoreUnreachableError: For many minutes; the job goes on.
            Cancelled: `cancel` was set; the job goes on.
        """
        cancel = cancel or CancelToken()
        landing = self._landing(job_id, target) if land else None
        reader = self._reader(job_id)
        while True:
            status = look_patiently(reader, on_event=on_event, landing=landing, cancel=cancel)
            if on_status is not None:
                on_status(status)
            if status.is_final and not (land and reader.is_landing):
                if land and target is None:
                    note_landed(job_id, status.frames_done)
                return status
            cancel.wait(self.store.poll_seconds if poll_seconds is None else poll_seconds)
            cancel.raise_if_cancelled()

    def logs(self, job_id: str, *, chunk: str | None = None) -> Iterator[str]:
        """Yield the lines of a job's logs, attempt by attempt in order of time, each after a line `== <attempt>`.

        Raises:
            UsageError: That chunk has no log.
        """
        self.document(job_id)
        logs = JobLogs(self.store, job_id, chunk=chunk)
        logs.check()
        yield from logs.new_lines(over=True)

    def follow_logs(self, job_id: str, *, chunk: str | None = None, cancel: CancelToken | None = None) -> Iterator[str]:
        """Yield the lines of a job's logs as they come, until nothing more happens by itself. Raises Cancelled as `follow`."""
        cancel = cancel or CancelToken()
        reader, logs = self._reader(job_id), JobLogs(self.store, job_id, chunk=chunk)
        while True:
            over = reader.read().is_final
            yield from logs.new_lines(over=over)
            if over:
                return
            cancel.wait(max(_LOG_POLL_SECONDS, self.store.poll_seconds))
            cancel.raise_if_cancelled()

    # -- control ----------------------------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> None:
        """Stop a job; frames that are finished stay. Idempotent.

        Raises:
            StoreUnreachableError: The volume does not answer; the engine was told to stop all the same.
        """
        cancel_whatever_answers(self.engine, job_id, lambda: self._cancel(job_id))

    def pause(self, job_id: str) -> None:
        """Let frames that render end, then stop until `resume`.

        Raises:
            InvalidJobError: The job is not one that runs.
        """
        self._control(job_id).pause(self.status(job_id))

    def resume(self, job_id: str) -> None:
        """Go on with a paused job, or with one whose runner died.

        Raises:
            InvalidJobError: There is nothing to resume.
        """
        self._control(job_id).resume(self.status(job_id))

    def retry(
        self,
        job_id: str,
        *,
        frames: FrameRange | None = None,
        overrides: Mapping[str, Any] | None = None,
        force: bool = False,
        allow_scripts: bool = False,
    ) -> int:
        """Render again what is missing, or (with `force` or overrides) chosen frames as a new revision.

        Args:
            frames: Which frames the new revision renders; None takes all.
            overrides: RenderJob fields with other values; None values are left out.

        Returns:
            The revision that runs now.

        Raises:
            JobBusyError: Something of the job still runs.
            InvalidJobError: Nothing is missing, or an override that needs a new pack.
        """
        chosen = {key: value for key, value in (overrides or {}).items() if value is not None}
        if force or chosen:
            return self._control(job_id).new_revision(frames, chosen, allow_scripts=allow_scripts)
        if frames is not None:
            raise InvalidJobError(
                "A plain retry renders all that is missing. To render chosen frames again, add --force."
            )
        return self._control(job_id).retry_missing(self.status(job_id))

    def delete(self, job_id: str) -> None:
        """Move a job to the volume's trash and forget it. Its landed frames stay.

        Raises:
            JobBusyError: It still runs, or is being sent.
        """
        stray = self._is_stray(job_id)
        if not stray and (not is_job_id(job_id) or not self.store.list(JobLayout(job_id).folder)):
            raise unknown_job(job_id, farm=self.profile.name)
        if is_being_sent(job_id):
            raise JobBusyError(f"Job {job_id} is just being sent. Interrupt that first (Ctrl-C where it was started).")
        self.engine.forget(job_id)
        if not stray:
            self.store.trash(JobLayout(job_id).folder, job_id=job_id)
        forget_note(job_id)

    def older_than(self, age: datetime.timedelta) -> tuple[JobSummary, ...]:
        """Return the jobs that were created longer ago than `age`, by the volume's clock, and that are over.

        An interrupted upload is over, too.
        """
        return over_before(self.jobs(), self.store.server_time() - age.total_seconds())

    # -- frames -----------------------------------------------------------------------------------------------------

    def fetch(self, job_id: str, *, target: Path | None = None, on_event: Listener = ignore) -> Fetched:
        """Land every finished frame."""
        landing, reader = self._landing(job_id, target), self._reader(job_id)
        status = reader.read(on_event=on_event, landing=landing)
        while reader.is_landing:
            time.sleep(self.store.poll_seconds)
            status = reader.read(on_event=on_event, landing=landing)
        return Fetched(landing.folder, status.frames_done - len(status.not_landed), status.not_landed)

    def landed(self, job_id: str, *, target: Path | None = None) -> Mapping[FrameKey, Path]:
        """Land every finished frame and tell where each one's main file lies."""
        return self._reader(job_id).landed(self._landing(job_id, target))

    def encode(self, job_id: str, folder: Path | None = None, *, target: Path | None = None) -> tuple[Movie, ...]:
        """Make a movie of the finished frames, with the scene's sound; one of each camera.

        Args:
            folder: Where the frames land or landed; None is the job's own landing folder.
            target: The movie, or the folder that takes it; None is the frames' folder.

        Raises:
            InvalidJobError: No frame is finished.
            BlenderError: No Blender on this computer, or it failed.
        """
        from .movie import encode_movies

        landing = self._landing(job_id, folder)
        frames = self._reader(job_id).landed(landing)
        document = self.document(job_id)
        profile = read_note(job_id).apply(self.profile)
        return encode_movies(document, frames, store=self.store, profile=profile, target=target or landing.folder)

    def landing_folder(self, job_id: str) -> Path:
        """Return where this computer lands a job's frames."""
        return read_note(job_id).landing or default_fetch_folder(job_id)

    # -- inner ------------------------------------------------------------------------------------------------------

    def _reader(self, job_id: str) -> StatusReader:
        return StatusReader(self.store, self.engine, self.document(job_id), landing=self.landing_folder(job_id))

    def _is_stray(self, job_id: str) -> bool:
        return is_stray(self.store, self.engine, job_id)

    def _cancel(self, job_id: str) -> None:
        return self.engine.cancel(job_id) if self._is_stray(job_id) else self._control(job_id).cancel()

    def _landing(self, job_id: str, target: Path | None) -> Landing:
        folder = target.absolute() if target is not None else self.landing_folder(job_id)
        check_landing(folder)
        return Landing(self.store, job_id, folder, created=self._created_here(job_id))

    def _created_here(self, job_id: str) -> float:
        """Return when the job was made by this computer's clock: by how old the volume says that it is."""
        return time.time() - (self.store.server_time() - made_at(self.store, job_id))

    def _control(self, job_id: str) -> JobControl:
        profile = read_note(job_id).apply(self.profile)
        return JobControl(self.store, self.engine, profile, self.document(job_id))

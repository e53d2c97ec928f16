"""The façade: everything that a front (CLI, add-on worker, submit.py) does with a farm."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .control import JobControl
from .engines import Engine, open_engine
from .errors import InvalidJobError, JobNotFoundError, StoreError
from .events import CancelToken, Listener, Stage, counted, ignore
from .frames import FrameRange
from .job import Finding, JobDocument, RenderJob, parse_job
from .landing import Landing, check_landing, default_fetch_folder
from .layout import JOBS, JobLayout, is_job_id
from .plan import RenderPlan
from .platform import user_folders
from .profile import FarmProfile, load_profile
from .status import JobStatus, JobSummary, StatusReader
from .stores import Store, open_store

if TYPE_CHECKING:
    from .movie import Movie

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Submission:
    """A job that is on the farm.

    Attributes:
        landing: Folder on this computer in which its frames land.
    """

    job_id: str
    revision: int
    plan: RenderPlan
    findings: tuple[Finding, ...]
    landing: Path


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

    # -- submit -----------------------------------------------------------------------------------------------------

    def check(self) -> tuple[Finding, ...]:
        """Look whether jobs can run here; empty when all is well."""
        return self.engine.check()

    @contextmanager
    def prepare(self, job: RenderJob, *, allow_scripts: bool = False, on_event: Listener = ignore) -> Iterator[Any]:
        """Pack and plan a job and send nothing: what `--dry-run` and `plan` show. Yields a `submission.Prepared`.

        Raises:
            InvalidJobError: The scene or the job has an error; each is named.
        """
        from .submission import prepared

        with (
            self._scene_file(job) as scene_file,
            prepared(job, self.profile, scene_file=scene_file, allow_scripts=allow_scripts, on_event=on_event) as ready,
        ):
            yield ready

    def submit(self, job: RenderJob, *, allow_scripts: bool = False, on_event: Listener = ignore) -> Submission:
        """Pack, send and start a job; after this nothing of ours need run.

        Raises:
            InvalidJobError: Refused before anything was sent.
            LandingError: The landing folder can't be written.
            StoreError: The volume did not take it.
        """
        from .submission import send

        with self.prepare(job, allow_scripts=allow_scripts, on_event=on_event) as ready:
            check_landing(ready.landing)
            send(ready, self.store, on_event=on_event)
            self._remember(ready.plan.job_id, ready.landing)
            on_event(
                Stage(
                    "submitting",
                    f"{counted(ready.plan.frame_count, 'frame')} in {counted(len(ready.plan.chunks), 'chunk')}",
                )
            )
            self.engine.submit(ready.plan)
            return Submission(ready.plan.job_id, ready.plan.revision, ready.plan, ready.findings, ready.landing)

    # -- look -------------------------------------------------------------------------------------------------------

    def jobs(self) -> tuple[JobSummary, ...]:
        """List every job on the volume, newest first."""
        found = [self._summary(entry.name) for entry in self.store.list(JOBS) if entry.is_dir and is_job_id(entry.name)]
        return tuple(sorted(found, key=lambda job: (job.created, job.id), reverse=True))

    def find(self, text: str) -> str:
        """Return the one job id that begins with `text`; `last` or nothing is the newest.

        Raises:
            JobNotFoundError: None, or several.
        """
        ids = [entry.name for entry in self.store.list(JOBS) if entry.is_dir and is_job_id(entry.name)]
        if text in ("", "last"):
            if not ids:
                raise JobNotFoundError(
                    f"Farm '{self.profile.name}' has no jobs yet. Start one with: cloud-farm render SCENE.blend"
                )
            return max(ids, key=self._created)
        matches = [text] if text in ids else sorted(job_id for job_id in ids if job_id.startswith(text))
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise JobNotFoundError(f"'{text}' could be {', '.join(matches)}. Write more of it.", job_id=text)
        raise JobNotFoundError(
            f"Farm '{self.profile.name}' has no job '{text}'. List them with: cloud-farm jobs", job_id=text
        )

    def document(self, job_id: str) -> JobDocument:
        """Read a job's job.json.

        Raises:
            JobNotFoundError: No such job.
            SchemaError: It was edited into nonsense.
        """
        path = JobLayout(job_id).job_json
        if not is_job_id(job_id) or self.store.stat(path) is None:
            raise JobNotFoundError(
                f"Farm '{self.profile.name}' has no job '{job_id}'. List them with: cloud-farm jobs",
                job_id=job_id,
            )
        document = parse_job(self.store.read(path), where=str(path))
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
        poll_seconds: float = _POLL_SECONDS,
    ) -> JobStatus:
        """Follow a job until nothing more happens by itself; land its frames as they finish.

        Args:
            land: Bring finished frames to `target`, or to where the submission said.
            on_status: Called with every refreshed picture.

        Raises:
            Cancelled: `cancel` was set; the job goes on.
        """
        cancel = cancel or CancelToken()
        landing = self._landing(job_id, target) if land else None
        reader = self._reader(job_id)
        while True:
            status = reader.read(on_event=on_event, landing=landing)
            if on_status is not None:
                on_status(status)
            if status.is_final:
                return status
            cancel.wait(poll_seconds)
            cancel.raise_if_cancelled()

    def logs(self, job_id: str, *, chunk: str | None = None) -> Iterator[str]:
        """Yield the lines of a job's logs, attempt by attempt in order of time, each after a line `== <attempt>`."""
        self.document(job_id)
        folder = JobLayout(job_id).logs
        for entry in sorted(self.store.list(folder), key=lambda e: e.mtime):
            attempt = entry.name.removesuffix(".log")
            if entry.name.endswith(".log") and chunk in (None, attempt, attempt.rpartition(".")[0]):
                yield f"== {attempt}"
                yield from self.store.read(folder / entry.name).decode("utf-8", "replace").splitlines()

    # -- control ----------------------------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> None:
        """Stop a job; frames that are finished stay. Idempotent."""
        self._control(job_id).cancel()

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
            JobBusyError: It still runs.
        """
        if not is_job_id(job_id) or self.store.stat(JobLayout(job_id).folder) is None:
            raise JobNotFoundError(
                f"Farm '{self.profile.name}' has no job '{job_id}'. List them with: cloud-farm jobs",
                job_id=job_id,
            )
        self.engine.forget(job_id)
        self.store.trash(JobLayout(job_id).folder, job_id=job_id)
        self._note_path(job_id).unlink(missing_ok=True)

    def older_than(self, age: datetime.timedelta) -> tuple[JobSummary, ...]:
        """Return the jobs that were created longer ago than `age`, by the volume's clock, and that are over."""
        before = datetime.datetime.fromtimestamp(self.store.server_time(), datetime.UTC) - age
        limit = before.strftime("%Y-%m-%dT%H:%M:%SZ")
        return tuple(job for job in self.jobs() if job.created < limit and job.state in ("done", "failed", "cancelled"))

    # -- frames -----------------------------------------------------------------------------------------------------

    def fetch(self, job_id: str, *, target: Path | None = None, on_event: Listener = ignore) -> tuple[Path, int]:
        """Land every finished frame; returns the folder and the number of frames that are there."""
        landing = self._landing(job_id, target)
        status = self._reader(job_id).read(on_event=on_event, landing=landing)
        return landing.folder, status.frames_done

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
        profile = self._own_profile(job_id)
        return encode_movies(document, frames, store=self.store, profile=profile, target=target or landing.folder)

    def landing_folder(self, job_id: str) -> Path:
        """Return where this computer lands a job's frames."""
        landing = self._note(job_id).get("landing")
        return Path(landing) if landing else default_fetch_folder(job_id)

    # -- inner ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _scene_file(self, job: RenderJob) -> Iterator[Path]:
        """Yield the scene file on this computer; a file that is on the volume is mirrored with what it links."""
        if not job.on_volume:
            yield Path(job.scene_file).absolute()  # its folder is remembered with the job
            return
        from .mirror import mirror_scene

        with TemporaryDirectory(prefix="cloud-farm-volume-") as folder:
            yield mirror_scene(self.store, PurePosixPath(job.scene_file), Path(folder))

    def _reader(self, job_id: str) -> StatusReader:
        return StatusReader(self.store, self.engine, self.document(job_id), landing=self.landing_folder(job_id))

    def _summary(self, job_id: str) -> JobSummary:
        try:
            return self._reader(job_id).summary()
        except (InvalidJobError, JobNotFoundError, StoreError) as error:
            return JobSummary.unreadable(job_id, str(error))
        except Exception as error:  # noqa: BLE001 - one damaged job must not hide the others from the list
            return JobSummary.unreadable(job_id, f"{type(error).__name__}: {error}")

    def _created(self, job_id: str) -> tuple[str, float]:
        entry = self.store.stat(JobLayout(job_id).job_json)
        return ("", 0.0) if entry is None else ("x", entry.mtime)

    def _landing(self, job_id: str, target: Path | None) -> Landing:
        folder = target.absolute() if target is not None else self.landing_folder(job_id)
        check_landing(folder)
        created = datetime.datetime.fromisoformat(self.document(job_id).created).timestamp()
        return Landing(self.store, job_id, folder, created=created)

    def _control(self, job_id: str) -> JobControl:
        return JobControl(self.store, self.engine, self._own_profile(job_id), self.document(job_id))

    def _own_profile(self, job_id: str) -> FarmProfile:
        """Return the profile with the Blender that the job was submitted with, unless it names one itself."""
        blender = self._note(job_id).get("blender")
        if self.profile.blender or not blender:
            return self.profile
        return self.profile.with_values({"blender": blender}, origin="the job's submission")

    def _note_path(self, job_id: str) -> Path:
        return user_folders().state / "jobs" / f"{job_id}.json"

    def _remember(self, job_id: str, landing: Path) -> None:
        path = self._note_path(job_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({
                "schema": 1, "job": job_id, "farm": self.profile.name, "landing": str(landing),
                "blender": self.profile.blender,
            }),
            encoding="utf-8",
        )  # fmt: skip

    def _note(self, job_id: str) -> dict[str, str]:
        """Read what this computer remembers of a job; empty if another one submitted it, or the note was lost."""
        try:
            data = json.loads(self._note_path(job_id).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}

"""The façade: everything that a front (CLI, add-on worker, submit.py) does with a farm."""

from __future__ import annotations

import dataclasses
import datetime
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from . import history
from .engines import Engine, open_engine
from .errors import InvalidJobError, JobBusyError, JobNotFoundError, StoreError
from .events import CancelToken, Listener, Stage, ignore
from .frames import FrameRange
from .job import SCHEMA, Finding, JobDocument, RenderJob, parse_job
from .json_data import require_schema
from .landing import Landing, check_landing, default_fetch_folder
from .layout import JOBS, JobLayout, is_job_id
from .platform import user_folders
from .plan import RenderPlan, Toolchain, restore_plan
from .profile import FarmProfile, load_profile
from .status import JobStatus, JobSummary, StatusReader
from .stores import Store, open_store

_POLL_SECONDS = 0.5
_OVERRIDES = ("samples", "percentage", "seed", "engine", "file_format", "device", "view_layers")


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
    def prepare(
        self, job: RenderJob, *, allow_scripts: bool = False, on_event: Listener = ignore
    ) -> Iterator[Any]:
        """Pack and plan a job and send nothing: what `--dry-run` and `plan` show. Yields a `submission.Prepared`.

        Raises:
            InvalidJobError: The scene or the job has an error; each is named.
        """
        from .submission import prepared

        with (
            self._scene_file(job) as scene_file,
            prepared(
                job, self.profile, scene_file=scene_file, allow_scripts=allow_scripts, on_event=on_event
            ) as ready,
        ):
            yield ready

    def submit(
        self, job: RenderJob, *, allow_scripts: bool = False, on_event: Listener = ignore
    ) -> Submission:
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
                Stage("submitting", f"{ready.plan.frame_count} frames in {len(ready.plan.chunks)} chunks")
            )
            self.engine.submit(ready.plan)
            return Submission(
                ready.plan.job_id, ready.plan.revision, ready.plan, ready.findings, ready.landing
            )

    # -- look -------------------------------------------------------------------------------------------------------

    def jobs(self) -> tuple[JobSummary, ...]:
        """List every job on the volume, newest first."""
        found = [
            self._summary(entry.name)
            for entry in self.store.list(JOBS)
            if entry.is_dir and is_job_id(entry.name)
        ]
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
        self.document(job_id)
        if history.last_control(history.read_history(self.store, job_id)) != history.CANCELLED:
            history.append_event(self.store, job_id, history.CANCELLED)
        self.store.put(b"cancelled\n", JobLayout(job_id).stop)
        self.engine.cancel(job_id)

    def pause(self, job_id: str) -> None:
        """Let frames that render end, then stop until `resume`.

        Raises:
            InvalidJobError: The job is not one that runs.
        """
        self._require_state(job_id, ("queued", "rendering"), "paused")
        history.append_event(self.store, job_id, history.PAUSED)
        self.store.put(b"paused\n", JobLayout(job_id).stop)
        self.engine.pause(job_id)

    def resume(self, job_id: str) -> None:
        """Go on with a paused job, or with one whose runner died.

        Raises:
            InvalidJobError: There is nothing to resume.
        """
        status = self.status(job_id)
        if status.state != "paused" and not status.stalled:
            raise InvalidJobError(
                f"Job {job_id} is {status.state}; only a paused job can be resumed."
                + (f" Try: cloud-farm retry {job_id}" if status.state in ("failed", "cancelled") else "")
            )
        self._clear_stop(job_id)
        history.append_event(self.store, job_id, history.RESUMED)
        self.engine.submit(self._stored_plan(job_id))

    def retry(
        self,
        job_id: str,
        *,
        frames: FrameRange | None = None,
        overrides: Mapping[str, Any] | None = None,
        force: bool = False,
        allow_scripts: bool = False,
    ) -> int:
        """Render again what is missing, or chosen frames as a new revision.

        Args:
            frames: With `force` or overrides: which frames; None takes all.
            overrides: RenderJob fields with other values (samples, percentage, seed, engine, device, …).
            force: Render the frames again although they are done.

        Returns:
            The revision that runs now.

        Raises:
            JobBusyError: Something of the job still runs.
            InvalidJobError: An override that a revision can't change, or nothing is missing.
        """
        document = self.document(job_id)
        require_schema({"schema": document.schema}, SCHEMA, where=str(JobLayout(job_id).job_json))
        if self.engine.status(job_id).running:
            raise JobBusyError(
                f"Job {job_id} still runs. Wait for it, or stop it first with: cloud-farm cancel {job_id}"
            )
        chosen = {key: value for key, value in (overrides or {}).items() if value is not None}
        if not force and not chosen:
            return self._retry_missing(job_id, frames)
        return self._new_revision(document, frames, chosen, allow_scripts=allow_scripts)

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
        return tuple(
            job for job in self.jobs() if job.created < limit and job.state in ("done", "failed", "cancelled")
        )

    # -- frames -----------------------------------------------------------------------------------------------------

    def fetch(
        self, job_id: str, *, target: Path | None = None, on_event: Listener = ignore
    ) -> tuple[Path, int]:
        """Land every finished frame; returns the folder and the number of frames that are there."""
        landing = self._landing(job_id, target)
        status = self._reader(job_id).read(on_event=on_event, landing=landing)
        return landing.folder, status.frames_done

    def landing_folder(self, job_id: str) -> Path:
        """Return where this computer lands a job's frames."""
        try:
            note = json.loads(self._note_path(job_id).read_text(encoding="utf-8"))
            return Path(str(note["landing"]))
        except (OSError, ValueError, KeyError):
            return default_fetch_folder(job_id)  # submitted from another computer, or the note was lost

    # -- inner ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _scene_file(self, job: RenderJob) -> Iterator[Path]:
        """Yield the scene file on this computer; a file that is on the volume is mirrored with what it links."""
        if not job.on_volume:
            yield Path(job.scene_file)
            return
        from .mirror import mirror_scene

        with TemporaryDirectory(prefix="cloud-farm-volume-") as folder:
            yield mirror_scene(self.store, PurePosixPath(job.scene_file), Path(folder))

    def _reader(self, job_id: str) -> StatusReader:
        return StatusReader(
            self.store, self.engine, self.document(job_id), landing=self.landing_folder(job_id)
        )

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

    def _require_state(self, job_id: str, states: tuple[str, ...], verb: str) -> None:
        state = self.status(job_id).state
        if state not in states:
            raise InvalidJobError(f"Job {job_id} is {state}; it can't be {verb}.")

    def _clear_stop(self, job_id: str) -> None:
        self.store.trash(JobLayout(job_id).stop, job_id=job_id)

    def _retry_missing(self, job_id: str, frames: FrameRange | None) -> int:
        status = self.status(job_id)
        if frames is not None:
            raise InvalidJobError(
                "A plain retry renders all that is missing. To render chosen frames again, add --force."
            )
        if status.frames_done == status.frames_total:
            raise InvalidJobError(
                f"Job {job_id} has all its {status.frames_total} frames. To render some again: cloud-farm retry {job_id} --frames … --force"
            )
        self._clear_stop(job_id)
        # What failed before counts no more: the markers hold the count of tries.
        self.store.trash(JobLayout(job_id).folder / "markers", job_id=job_id)
        stored = self._stored_plan(job_id)
        history.append_event(self.store, job_id, history.RETRIED, revision=stored.revision)
        self.engine.submit(stored)
        return stored.revision

    def _new_revision(
        self,
        document: JobDocument,
        frames: FrameRange | None,
        overrides: Mapping[str, Any],
        *,
        allow_scripts: bool,
    ) -> int:
        from .submission import publish_plan, replanned, resolve_profile

        for key in overrides:
            if key not in _OVERRIDES:
                raise InvalidJobError(
                    f"A new revision can't change '{key}'; it can change {', '.join(_OVERRIDES)}. Submit the scene again instead."
                )
        launcher, info = self._blender()
        job = dataclasses.replace(document.job, **overrides)
        submitted = history.revisions(history.read_history(self.store, document.id))
        revision = max(submitted, default=0) + 1
        scripts = self._stored_scripts(document.id, max(submitted, default=1))
        planned = replanned(
            job,
            document,
            resolve_profile(self.profile, info),
            info,
            launcher,
            scripts=scripts,
            revision=revision,
            only=frames,
            allow_scripts=allow_scripts,
        )
        self._clear_stop(document.id)
        publish_plan(planned, self.store)
        self.engine.submit(planned)
        return revision

    def _stored_plan(self, job_id: str) -> RenderPlan:
        """The newest revision's plan as it was submitted, ready to run again here."""
        from .submission import resolve_profile

        revision = max(history.revisions(history.read_history(self.store, job_id)), default=1)
        launcher, info = self._blender()
        tools = Toolchain(info.version, _python(), launcher.argv, self._stored_scripts(job_id, revision))
        return restore_plan(
            self._plan_bytes(job_id, revision), resolve_profile(self.profile, info), tools=tools
        )

    def _plan_bytes(self, job_id: str, revision: int) -> bytes:
        return self.store.read(JobLayout(job_id).plan(revision))

    def _stored_scripts(self, job_id: str, revision: int) -> Mapping[str, str]:
        return dict(json.loads(self._plan_bytes(job_id, revision))["scripts"])

    def _blender(self) -> tuple[Any, Any]:
        from .blender import find_blender, probe

        launcher = find_blender(self.profile.blender or None)
        return launcher, probe(launcher)

    def _note_path(self, job_id: str) -> Path:
        return user_folders().state / "jobs" / f"{job_id}.json"

    def _remember(self, job_id: str, landing: Path) -> None:
        path = self._note_path(job_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"schema": 1, "job": job_id, "farm": self.profile.name, "landing": str(landing)}),
            encoding="utf-8",
        )


def _python() -> tuple[str, ...]:
    return (sys.executable,)

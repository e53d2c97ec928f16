"""The local engine: Blender processes on this computer, started by a runner that outlives whoever submitted."""

from __future__ import annotations

import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..capacity import usable_cores, usable_memory
from ..checks import Check, judged
from ..errors import EngineError, JobBusyError
from ..history import user_name
from ..job import Finding
from ..layout import is_job_id
from ..plan import RenderPlan
from ..platform import end_group, start_detached, user_folders
from ..profile import FarmProfile
from . import EngineJob, EngineStatus, TaskStatus
from .local_files import JobFolder

_MEMORY_PER_WORKER = 2 << 30
_START_SECONDS = 20.0
_GRACE_SECONDS = 30.0
"""More than the supervisor's own grace, so that it can remove parts and write its end."""
_END_SECONDS = 15.0
_ASK_AGAIN_SECONDS = 2.0
_CONTROL_SECONDS = _GRACE_SECONDS + _END_SECONDS + _START_SECONDS
_SOURCE = Path(__file__).resolve().parent.parent.parent
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from cloud_farm.engines.local_runner import main; sys.exit(main(sys.argv[2:]))"


def open_engine(profile: FarmProfile) -> LocalEngine:
    """Open the engine of this computer."""
    root = Path(profile.volume.mount_path).expanduser().absolute()
    return LocalEngine(user_folders().state / "local", root, slots=profile.limits.workers)


def default_workers(device: str, *, cores: int | None = None, memory: int | None = None) -> int:
    """Return how many Blenders fit on this computer.

    A GPU renders one frame after the other. On the CPU a few Blenders with some cores each use them better than one with
    all: scene building is serial. Each needs memory of its own.

    Args:
        device: cpu, or any GPU.
        cores: Usable cores; None looks.
        memory: Usable bytes; None looks.
    """
    cores = usable_cores() if cores is None else cores
    memory = usable_memory() if memory is None else memory
    if device != "cpu":
        return 1
    by_cores = min(cores, 2) if cores < 8 else cores // 4
    return max(1, min(by_cores, memory // _MEMORY_PER_WORKER))


def threads_per_worker(workers: int, *, cores: int | None = None) -> int:
    """Return how many threads each of `workers` Blenders may use so that together they use every core once."""
    return max(1, (usable_cores() if cores is None else cores) // max(1, workers))


class LocalEngine:
    """Carries plans out on this computer."""

    def __init__(self, base: Path, root: Path, *, slots: int | None = None) -> None:
        self._base = base
        self._root = root
        self._slots = slots

    def check(self) -> tuple[Finding, ...]:
        """Look whether the volume's folder and our own can be written."""
        moved = (
            "Make room there, or choose another folder: volume.mount_path in the farm's profile, or CLOUD_FARM_HOME."
        )
        folders = (
            (self._root, "volume_unwritable", "The local farm's folder", moved),
            (
                self._base,
                "state_unwritable",
                "The folder for running jobs",
                "Make room there, or choose another folder: CLOUD_FARM_HOME.",
            ),
        )
        found = []
        for folder, code, name, fix in folders:
            reason = _why_unwritable(folder)
            if reason:
                message = f"{name} {folder} can't be written: {reason}."
                found.append(Finding(code, "error", message, path=str(folder), fix=fix))
        return tuple(found)

    def try_out(self) -> Iterator[Check]:
        """Tell whether jobs can run on this computer."""
        yield judged("computer", self.check(), "jobs can run here")

    def manifests(self, plan: RenderPlan) -> tuple[Mapping[str, Any], ...]:
        """Return nothing: there is no cluster."""
        return ()

    def installed(self) -> tuple[Mapping[str, Any], ...]:
        """Return nothing: there is no cluster."""
        return ()

    def submit(self, plan: RenderPlan) -> None:
        """Start a runner for the plan, unless one of this revision runs."""
        folder = self._folder(plan.job_id)
        with self._control(folder):
            self._start(folder, _tasks_document(plan, self._root, self._slots))

    def status(self, job_id: str, *, fresh: bool = False) -> EngineStatus:
        """Explain a job from its runner's state."""
        folder = JobFolder(self._base, job_id)
        if not is_job_id(job_id) or not folder.tasks.exists():
            return EngineStatus(running=False, known=False, message="This computer does not run this job.")
        # In this order: a runner that ends in between has written its last state when we read it.
        running = folder.alive.is_held() or folder.control.is_held()
        led = folder.leader.is_held()
        state = folder.read(folder.state)
        tasks = tuple(TaskStatus(**row) for row in state.get("tasks", ()))
        message = str(state.get("message", ""))
        if not running and not state.get("over"):
            message = "What ran this job on this computer ended before it was done (was the computer restarted?)."
        elif running and not led and not folder.control.is_held():
            message = "What ran this job on this computer was killed; what it had started still renders."
        return EngineStatus(running=running, tasks=tasks, message=message)

    def page(self, job_id: str) -> str:
        """Return nothing: this computer has no such page."""
        return ""

    def jobs(self) -> tuple[EngineJob, ...]:
        """List the jobs of this farm's folder that a runner was started for."""
        found = []
        for folder in sorted(self._base.glob("*/tasks.json")):
            job = JobFolder(self._base, folder.parent.name)
            if is_job_id(folder.parent.name) and job.read(job.tasks).get("root") == str(self._root):
                made = datetime.fromtimestamp(folder.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                found.append(EngineJob(folder.parent.name, user_name(), made, job.alive.is_held()))
        return tuple(found)

    def cancel(self, job_id: str) -> None:
        """Stop the runner and all that it started; returns when they are gone."""
        folder = self._known(job_id)
        if folder is None:
            return
        with self._control(folder):
            _end_all(folder, job_id)
            _mark_stopped(folder)

    def pause(self, job_id: str) -> None:
        """Start nothing new; the stop file on the volume ends supervisors between frames, and the runner after them."""
        folder = self._known(job_id)
        if folder is not None:
            folder.write_text(folder.paused, "")

    def resume(self, job_id: str) -> None:
        """Go on with the revision that was submitted last, where it stood.

        Raises:
            EngineError: This computer never ran the job.
        """
        folder = self._known(job_id)
        if folder is None:
            raise EngineError(f"This computer does not run job {job_id}. Start it here with: cloud-farm retry {job_id}")
        with self._control(folder):
            self._start(folder, folder.read(folder.tasks))

    def forget(self, job_id: str) -> None:
        """Remove what is kept of a job here."""
        folder = self._known(job_id)
        if folder is None:
            return
        with self._control(folder):
            if folder.alive.is_held():
                raise _busy(job_id)
            shutil.rmtree(folder.path)

    # -- inner ------------------------------------------------------------------------------------------------------

    def _folder(self, job_id: str) -> JobFolder:
        if not is_job_id(job_id):
            raise EngineError(f"'{job_id}' is not a job's id.")
        return JobFolder(self._base, job_id)

    def _known(self, job_id: str) -> JobFolder | None:
        folder = JobFolder(self._base, job_id)
        return folder if is_job_id(job_id) and folder.tasks.exists() else None

    @contextmanager
    def _control(self, folder: JobFolder) -> Iterator[None]:
        """Keep others from starting, stopping or forgetting the job meanwhile."""
        try:
            if not folder.control.acquire(patience=_CONTROL_SECONDS):
                raise EngineError(
                    f"Another program starts or stops job {folder.path.name} and does not finish. Try again."
                )
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise EngineError(
                f"{folder.path} can't be written: {reason}. Free some space, or choose another folder: CLOUD_FARM_HOME."
            ) from error
        finally:
            folder.control.release()

    def _start(self, folder: JobFolder, document: dict[str, Any]) -> None:
        """Have a runner carry out the document: the one that runs, or a new one."""
        token = secrets.token_hex(8)
        if folder.alive.is_held() and folder.read(folder.tasks).get("revision") != document["revision"]:
            raise _busy(str(document["job"]))
        folder.paused.unlink(missing_ok=True)
        if folder.leader.is_held():
            folder.write_text(folder.request, token)
            if _wait_for(lambda: folder.read(folder.state).get("token") == token, while_=folder.leader.is_held):
                return
            # It was about to end and did not take notice.
        _end_all(folder, str(document["job"]))
        self._launch(folder, {**document, "token": token})

    def _launch(self, folder: JobFolder, document: dict[str, Any]) -> None:
        waiting = [{"id": t["id"], "phase": "waiting", "message": "", "attempts": 0} for t in document["tasks"]]
        folder.request.unlink(missing_ok=True)  # an older one would be answered in place of this
        folder.write(folder.tasks, document)
        # No pid yet: the number of an earlier runner may belong to somebody else by now.
        folder.write(folder.state, {"token": "", "pid": None, "over": False, "tasks": waiting})
        start_detached(
            (sys.executable, "-P", "-c", _BOOT, str(_SOURCE), str(folder.path)), log=folder.log, cwd=folder.path
        )
        if not _wait_for(lambda: folder.read(folder.state).get("token") == document["token"]):
            raise EngineError(
                f"What runs jobs on this computer did not start within {_START_SECONDS:g} s. {folder.log_tail()}".strip()
            )


def _tasks_document(plan: RenderPlan, root: Path, slots: int | None) -> dict[str, Any]:
    device = str(plan.document["settings"]["device"])
    return {
        "job": plan.job_id,
        "revision": plan.revision,
        "root": str(root),
        "workers": plan.workers,
        "priority": plan.priority,
        "slots": max(plan.workers, slots or default_workers(device)),
        "threads": threads_per_worker(plan.workers) if device == "cpu" else None,
        "tasks": [asdict(task) for task in plan.tasks],
    }


def _wait_for(condition: Callable[[], bool], *, while_: Callable[[], bool] = lambda: True) -> bool:
    """Wait for a runner's answer; False when it does not come in time, or nobody is there to give it."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        there = while_()
        if condition():
            return True
        if not there:
            return False
        time.sleep(0.02)
    return False


def _end_all(folder: JobFolder, job_id: str) -> None:
    """End the runner and its supervisors: kindly, so that they leave no parts, and then for sure.

    Raises:
        EngineError: Something does not end.
    """
    began, asked = time.monotonic(), -_ASK_AGAIN_SECONDS
    while folder.alive.is_held():
        passed = time.monotonic() - began
        # While the lock is held somebody of the group lives, so the number is still its own.
        leader = folder.read(folder.state).get("pid")
        if isinstance(leader, int) and passed - asked >= _ASK_AGAIN_SECONDS:
            end_group(leader, force=passed > _GRACE_SECONDS)
            asked = passed
        if passed > _GRACE_SECONDS + _END_SECONDS:
            raise EngineError(
                f"The processes of job {job_id} do not end (process group {leader}). End them by hand, then try again."
            )
        time.sleep(0.05)


def _mark_stopped(folder: JobFolder) -> None:
    """Write the end down where the runner itself could not."""
    state = folder.read(folder.state)
    if state.get("over"):
        return
    rows = [
        row if row["phase"] in ("done", "failed") else {**row, "phase": "stopped", "message": "It was asked to stop."}
        for row in state.get("tasks", ())
    ]
    folder.write(folder.state, {**state, "over": True, "pid": None, "message": "", "tasks": rows})


def _busy(job_id: str) -> JobBusyError:
    return JobBusyError(f"Job {job_id} still runs. Wait for it, or stop it first with: cloud-farm cancel {job_id}")


def _why_unwritable(folder: Path) -> str:
    probe = folder / f".probe-{secrets.token_hex(4)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""

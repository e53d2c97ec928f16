"""The local engine: Blender processes on this computer, started by a runner that outlives whoever submitted."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from dataclasses import asdict
from pathlib import Path

from ..errors import EngineError, JobBusyError
from ..job import Finding
from ..plan import PlannedTask, RenderPlan
from ..platform import FileLock, start_detached, terminate, usable_cores, usable_memory, user_folders
from ..profile import FarmProfile
from . import EngineStatus, TaskStatus

_MEMORY_PER_WORKER = 2 << 30
_START_SECONDS = 15.0
_STOP_SECONDS = 40.0
_SOURCE = Path(__file__).resolve().parent.parent.parent


def open_engine(profile: FarmProfile) -> LocalEngine:
    """Open the engine of this computer."""
    return LocalEngine(user_folders().state / "local", Path(profile.volume.mount_path).expanduser())


def default_workers(device: str, *, cores: int | None = None, memory: int | None = None) -> int:
    """Return how many Blenders fit on this computer.

    A GPU renders one frame after the other. On the CPU a few Blenders with some cores each use them better than one with
    all: scene building is serial. Each needs memory of its own.
    """
    cores = usable_cores() if cores is None else cores
    memory = usable_memory() if memory is None else memory
    if device != "cpu":
        return 1
    by_cores = min(cores, 2) if cores < 8 else cores // 4
    return max(1, min(by_cores, memory // _MEMORY_PER_WORKER))


class JobFolder:
    """What the engine keeps of one job on this computer: the tasks, the runner's state and lock."""

    def __init__(self, base: Path, job_id: str) -> None:
        self.path = base / job_id
        self.tasks = self.path / "tasks.json"
        self.state = self.path / "state.json"
        self.log = self.path / "runner.log"
        self.lock = FileLock(self.path / "runner.lock")

    def read(self, path: Path) -> dict[str, object]:
        """Read a JSON file; empty if it is absent or torn."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, path: Path, data: object) -> None:
        """Replace a JSON file at once."""
        self.path.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        part.write_text(json.dumps(data), encoding="utf-8")
        os.replace(part, path)


class LocalEngine:
    """Carries plans out on this computer."""

    def __init__(self, base: Path, root: Path) -> None:
        self._base = base
        self._root = root

    def check(self) -> tuple[Finding, ...]:
        """Look whether the volume's folder can be written and has room."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            probe = self._root / f".probe-{secrets.token_hex(4)}"
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            fix = "Choose another folder: volume.mount_path in the farm's profile, or CLOUD_FARM_HOME."
            message = f"The local farm's folder {self._root} can't be written: {error.strerror or error}."
            return (Finding("volume_unwritable", "error", message, path=str(self._root), fix=fix),)
        return ()

    def submit(self, plan: RenderPlan) -> None:
        """Start a runner for the plan, unless one of this revision runs."""
        folder = JobFolder(self._base, plan.job_id)
        if folder.lock.is_held():
            if folder.read(folder.tasks).get("revision") == plan.revision:
                return
            raise JobBusyError(
                f"Job {plan.job_id} still runs. Wait for it, or stop it first with: cloud-farm cancel {plan.job_id}"
            )
        token = secrets.token_hex(8)
        folder.write(folder.tasks, _tasks_document(plan, self._root, token))
        start_detached(
            (sys.executable, "-m", "cloud_farm.engines.local_runner", str(folder.path)),
            log=folder.log,
            environment={**os.environ, "PYTHONPATH": _python_path()},
        )
        _wait_until_started(folder, token)

    def status(self, job_id: str) -> EngineStatus:
        """Explain a job from its runner's state."""
        folder = JobFolder(self._base, job_id)
        if not folder.tasks.exists():
            return EngineStatus(running=False, known=False, message="This computer does not run this job.")
        state = folder.read(folder.state)
        running = folder.lock.is_held()
        rows = state.get("tasks")
        tasks = tuple(TaskStatus(**row) for row in rows) if isinstance(rows, list) else ()
        message = str(state.get("message", ""))
        if not running and not state.get("over"):
            message = "The runner on this computer ended without finishing (was the computer restarted?)."
        return EngineStatus(running=running, tasks=tasks, message=message)

    def cancel(self, job_id: str) -> None:
        """Stop the runner and all that it started; returns when they are gone."""
        folder = JobFolder(self._base, job_id)
        deadline = time.monotonic() + _STOP_SECONDS
        while folder.lock.is_held():
            pid = folder.read(folder.state).get("pid")
            if isinstance(pid, int):
                terminate(pid)
            if time.monotonic() > deadline:
                raise EngineError(
                    f"The processes of job {job_id} did not end within {_STOP_SECONDS:g} s (runner {pid})."
                )
            time.sleep(0.2)

    def pause(self, job_id: str) -> None:
        """Nothing to do: the stop file ends supervisors between frames, and the runner with them."""

    def resume(self, job_id: str) -> None:
        """Nothing to do: going on is a submit of the same plan."""

    def forget(self, job_id: str) -> None:
        """Remove what is kept of a job here."""
        folder = JobFolder(self._base, job_id)
        if folder.lock.is_held():
            raise JobBusyError(f"Job {job_id} still runs. Stop it first with: cloud-farm cancel {job_id}")
        if folder.path.is_dir():
            for path in folder.path.iterdir():
                path.unlink(missing_ok=True)
            folder.path.rmdir()


def _tasks_document(plan: RenderPlan, root: Path, token: str) -> dict[str, object]:
    return {
        "job": plan.job_id,
        "revision": plan.revision,
        "root": str(root),
        "workers": plan.workers,
        "threads": max(1, usable_cores() // plan.workers) if plan.document["settings"]["device"] == "cpu" else None,
        "token": token,
        "tasks": [_task(task) for task in plan.tasks],
    }


def _task(task: PlannedTask) -> dict[str, object]:
    return asdict(task)


def _python_path() -> str:
    """Let the runner find this very package, wherever it was imported from."""
    rest = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(_SOURCE), *([rest] if rest else [])])


def _wait_until_started(folder: JobFolder, token: str) -> None:
    """Wait until the runner holds its lock and says so: from then on nobody needs us."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if folder.read(folder.state).get("token") == token:
            return
        time.sleep(0.02)
    tail = folder.log.read_text(encoding="utf-8", errors="replace")[-500:] if folder.log.exists() else ""
    raise EngineError(f"The runner of this computer did not start within {_START_SECONDS:g} s. {tail}".strip())

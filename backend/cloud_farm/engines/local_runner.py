"""The runner of one job on this computer: `python -m cloud_farm.engines.local_runner <folder>`.

Starts the plan's supervisors, a few at a time, tries again what may be tried again, and writes down how things stand. It
holds the job's lock, and so does every supervisor: the job "runs" until the last of them is gone.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..platform import FileLock
from .local import JobFolder

_POLL_SECONDS = 0.05
_MOST_ATTEMPTS = 20
_LONGEST_BACKOFF = 30.0
_NEVER, _STOPPED, _NO_DEVICE = 78, 143, 11
_REASONS = {
    10: "Blender ended unexpectedly",
    11: "the wanted device is not on this computer",
    12: "frames failed",
    13: "the output can't be written",
    16: "the device failed",
    78: "it can't be rendered",
}


@dataclass
class Task:
    """One task and how it stands."""

    id: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    phase: str = "waiting"
    message: str = ""
    attempts: int = 0
    not_before: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    slot: FileLock | None = None

    def row(self) -> dict[str, Any]:
        """Return what `status` shows."""
        return {"id": self.id, "phase": self.phase, "message": self.message, "attempts": self.attempts}

    @property
    def over(self) -> bool:
        """Whether it will not be started again."""
        return self.phase in ("done", "failed")


@dataclass
class Runner:
    """Carries out one job's tasks."""

    folder: JobFolder
    slots: Path
    document: Mapping[str, Any]
    tasks: list[Task] = field(default_factory=list)
    stopping: bool = False
    message: str = ""

    def run(self) -> None:
        """Run until everything is done, failed or stopped."""
        signal.signal(signal.SIGTERM, self._stop)
        self.tasks = [Task(str(t["id"]), tuple(t["command"]), dict(t["env"])) for t in self.document["tasks"]]
        self._write()
        while not self._finished():
            changed = self._reap()
            changed = self._start_ready() or changed
            if changed:
                self._write()
            time.sleep(_POLL_SECONDS)
        self._write(over=True)

    def _stop(self, _signal: int, _frame: object) -> None:
        self.stopping = True
        for task in self.tasks:
            if task.process is not None:
                task.process.terminate()

    def _finished(self) -> bool:
        if any(task.process is not None for task in self.tasks):
            return False
        return self.stopping or self._stop_file() or self._prepare_failed() or all(task.over for task in self.tasks)

    def _stop_file(self) -> bool:
        root = Path(str(self.document["root"]))
        return (root / "cloud-farm" / "jobs" / str(self.document["job"]) / "control" / "stop").exists()

    def _prepare_failed(self) -> bool:
        """Without a scene no chunk can be rendered: they fail for the same reason."""
        if self.tasks[0].phase != "failed":
            return False
        for task in self.tasks[1:]:
            task.phase, task.message = "failed", self.tasks[0].message
        return True

    def _start_ready(self) -> bool:
        if self.stopping or self._stop_file():
            return False
        running = sum(task.process is not None for task in self.tasks)
        ready = self.tasks if self.tasks[0].phase == "done" else self.tasks[:1]
        now, changed = time.monotonic(), False
        for task in ready:
            if running >= int(self.document["workers"]):
                break
            if task.process is None and not task.over and task.not_before <= now:
                slot = self._free_slot()
                if slot is None:
                    break  # other jobs use this computer; our turn comes
                self._start(task, slot)
                running, changed = running + 1, True
        return changed

    def _free_slot(self) -> FileLock | None:
        """Take one of the computer's places: two jobs at once share them."""
        for number in range(int(self.document["workers"])):
            slot = FileLock(self.slots / f"{number}.lock")
            if slot.acquire():
                return slot
        return None

    def _start(self, task: Task, slot: FileLock) -> None:
        task.attempts += 1
        task.slot = slot
        threads = self.document.get("threads")
        extra = {"CLOUD_FARM_THREADS": str(threads)} if threads else {}
        keep = (self.folder.lock.descriptor, slot.descriptor) if os.name == "posix" else ()
        task.process = subprocess.Popen(
            task.command,
            env={**os.environ, **extra, **task.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the log is on the volume
            pass_fds=keep,
        )
        task.phase, task.message = "running", ""

    def _reap(self) -> bool:
        changed = False
        for task in self.tasks:
            if task.process is None or task.process.poll() is None:
                continue
            code, task.process = task.process.returncode, None
            if task.slot is not None:
                task.slot.release()
                task.slot = None
            self._judge(task, code)
            changed = True
        return changed

    def _judge(self, task: Task, code: int) -> None:
        """Decide by the exit code whether a task is over or tried again (contract §4)."""
        if code == 0:
            task.phase, task.message = "done", ""
        elif code == _STOPPED and (self.stopping or self._stop_file()):
            task.phase, task.message = "stopped", "It was asked to stop."
        elif code in (_NEVER, _NO_DEVICE) or task.attempts >= _MOST_ATTEMPTS:
            task.phase, task.message = "failed", self._explain(task, code)
        else:
            wait = min(_LONGEST_BACKOFF, 2.0 ** (task.attempts - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
            task.phase, task.not_before = "backing_off", time.monotonic() + wait
            task.message = f"{self._explain(task, code)} Trying again in {wait:.0f} s."

    def _explain(self, task: Task, code: int) -> str:
        reason = self._last_reason(task.id)
        if code < 0:
            reason = f"The supervisor was ended by {signal.Signals(-code).name}."
        return reason or f"Chunk {task.id}: {_REASONS.get(code, f'exit code {code}')} (exit code {code})."

    def _last_reason(self, task_id: str) -> str:
        """What the task's newest attempt says about its end, on the volume."""
        job = Path(str(self.document["root"])) / "cloud-farm" / "jobs" / str(self.document["job"])
        ends = sorted((job / "attempts").glob(f"{task_id}.*.end.json"), key=lambda path: path.stat().st_mtime)
        return str(self.folder.read(ends[-1]).get("reason", "")) if ends else ""

    def _write(self, *, over: bool = False) -> None:
        state = {
            "pid": os.getpid(),
            "token": self.document["token"],
            "over": over,
            "message": self.message,
            "tasks": [task.row() for task in self.tasks],
        }
        self.folder.write(self.folder.state, state)


def main(argv: list[str]) -> int:
    """Run the job of a folder; 0 also when somebody else runs it already."""
    path = Path(argv[0])
    folder = JobFolder(path.parent, path.name)
    if not folder.lock.acquire():
        return 0
    Runner(folder, path.parent / "slots", folder.read(folder.tasks)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

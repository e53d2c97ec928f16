"""The runner of one job on this computer: a detached process that nobody needs to watch.

Starts the plan's supervisors, a few at a time, tries again what may be tried again, and writes down how things stand. It
holds the job's `alive` lock, and so does every supervisor: the job "runs" until the last of them is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..layout import JobLayout
from ..platform import FileLock, child_flags
from .local_files import JobFolder, Scratch, Slots
from .local_verdict import STOPPED, Verdict, judge

_POLL_SECONDS = 0.05
_STOP_POLL_SECONDS = 0.3
_WRITE_SECONDS = 0.1
_FORWARD_SECONDS = 1.0


@dataclass
class Task:
    """One task and how it stands.

    Attributes:
        strikes: Attempts that ended without saying which frame was the reason.
        ends: Names of the attempts' ends on the volume that were read already.
    """

    id: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    phase: str = "waiting"
    message: str = ""
    attempts: int = 0
    strikes: int = 0
    not_before: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    slot: FileLock | None = None
    ends: set[str] = field(default_factory=set)

    def row(self) -> dict[str, Any]:
        """Return what `status` shows."""
        return {"id": self.id, "phase": self.phase, "message": self.message, "attempts": self.attempts}


class Runner:
    """Carries out one job's tasks."""

    def __init__(self, folder: JobFolder, document: Mapping[str, Any]) -> None:
        self._folder = folder
        self._document = document
        layout = JobLayout(str(document["job"]))
        self._attempts = Path(str(document["root"])) / layout.attempts
        self._stop_file = Path(str(document["root"])) / layout.stop
        self._slots = Slots(
            folder.path.parent / "slots",
            int(document["slots"]),
            owner=folder.path.name,
            priority=int(document["priority"]),
        )
        self._scratch = Scratch(folder.scratch)
        self._tasks = [Task(str(t["id"]), tuple(t["command"]), dict(t["env"])) for t in document["tasks"]]
        self._prepare = self._tasks[0]
        self._queue = deque(self._tasks[1:])
        self._running: list[Task] = []
        self._token = str(document["token"])
        self._asked_to_end = False
        self._holding = (0.0, False)
        self._written = 0.0
        self._forwarded = 0.0
        self._changed = True
        self._message = ""

    def run(self) -> None:
        """Run until everything is done, failed or stopped."""
        signal.signal(signal.SIGTERM, self._on_signal)
        self._scratch.open()
        self._write()
        while True:
            self._reap()
            if not self._running and (self._is_held() or self._is_over()):
                break
            self._forward()
            self._answer()
            self._start_ready()
            if self._changed and time.monotonic() - self._written > _WRITE_SECONDS:
                self._write()
            time.sleep(_POLL_SECONDS)
        self._slots.leave()
        self._scratch.close()
        for task in self._queue if self._asked_to_end else ():
            task.phase, task.message = "stopped", "It was asked to stop."
        self._write(over=True)

    def _on_signal(self, _signal: int, _frame: object) -> None:
        self._asked_to_end = True

    def _forward(self) -> None:
        """Pass the wish to end on; again and again, for a process that just starts can't hear it yet."""
        if self._asked_to_end and time.monotonic() - self._forwarded > _FORWARD_SECONDS:
            self._forwarded = time.monotonic()
            for task in self._running:
                if task.process is not None:
                    task.process.terminate()

    def _is_held(self) -> bool:
        """Tell whether nothing new may be started."""
        checked, held = self._holding
        if time.monotonic() - checked > _STOP_POLL_SECONDS:
            held = self._folder.paused.exists() or self._stop_file.exists()
            self._holding = (time.monotonic(), held)
        return self._asked_to_end or held

    def _is_over(self) -> bool:
        if self._prepare.phase == "failed":
            # Without a scene no chunk can be rendered: they fail for the same reason.
            for task in self._queue:
                task.phase, task.message = "failed", self._prepare.message
            return True
        return self._prepare.phase == "done" and not self._queue

    def _answer(self) -> None:
        """Tell who submitted or resumed the job again that we go on."""
        wanted = self._folder.requested()
        if wanted and wanted != self._token and not self._asked_to_end:
            self._holding = (0.0, False)
            if not self._is_held():
                self._token = wanted
                self._write()

    def _start_ready(self) -> None:
        ready = self._ready()
        if ready is None or self._is_held():
            self._slots.leave()
            return
        slot = self._slots.take()
        if slot is None:
            self._tell("" if self._running else "It waits: other jobs use this computer.")
            return
        self._tell("")
        self._start(ready, slot)

    def _ready(self) -> Task | None:
        """Return what may start now: prepare first, then chunks in their order, those that back off when they may."""
        if len(self._running) >= int(self._document["workers"]):
            return None
        now = time.monotonic()
        if self._prepare.phase != "done":
            return self._prepare if self._prepare.process is None and self._prepare.not_before <= now else None
        return next((task for task in self._queue if task.not_before <= now), None)

    def _start(self, task: Task, slot: FileLock) -> None:
        if task is not self._prepare:
            self._queue.remove(task)
        task.attempts += 1
        task.slot = slot
        task.phase, task.message = "running", ""
        self._running.append(task)
        self._changed = True
        threads = self._document.get("threads")
        extra = {"CLOUD_FARM_SCRATCH": str(self._scratch.of(task.id))}
        if threads:
            extra["CLOUD_FARM_THREADS"] = str(threads)
        try:
            task.process = subprocess.Popen(
                task.command,
                env={**os.environ, **extra, **task.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the log is on the volume
                **child_flags((self._folder.alive.descriptor, slot.descriptor)),
            )
        except OSError as error:
            self._end(task, Verdict("failed", f"{task.command[0]} can't be started: {error.strerror or error}."))

    def _reap(self) -> None:
        for task in list(self._running):
            if task.process is None or task.process.poll() is None:
                continue
            code, task.process = task.process.returncode, None
            stopped = code == STOPPED or code == -signal.SIGTERM
            if stopped and (self._asked_to_end or self._is_stopped_now()):
                verdict = Verdict("stopped", "It was asked to stop.")
            else:
                verdict = judge(task.id, code, task.strikes, self._new_end(task))
            self._end(task, verdict)

    def _is_stopped_now(self) -> bool:
        self._holding = (0.0, False)
        return self._is_held()

    def _end(self, task: Task, verdict: Verdict) -> None:
        """Note how an attempt ended, and give its place back."""
        self._running.remove(task)
        self._scratch.clear(task.id)
        if task.slot is not None:
            task.slot.release()
            task.slot = None
        task.phase, task.message = verdict.phase, verdict.message
        task.strikes += verdict.strike
        task.not_before = time.monotonic() + verdict.wait_seconds
        if task is not self._prepare and verdict.phase not in ("done", "failed"):
            self._queue.append(task)
        self._changed = True

    def _new_end(self, task: Task) -> dict[str, Any]:
        """Read what the attempt that just ended says about it; empty if it was killed before it could."""
        if task.phase != "running":
            return {}
        found = set(self._attempts.glob(f"{task.id}.*.end.json"))
        fresh = sorted((p for p in found if p.name not in task.ends), key=lambda path: path.stat().st_mtime)
        task.ends = {path.name for path in found}
        return self._folder.read(fresh[-1]) if fresh else {}

    def _tell(self, message: str) -> None:
        self._changed = self._changed or message != self._message
        self._message = message

    def _write(self, *, over: bool = False) -> None:
        self._written, self._changed = time.monotonic(), False
        state = {
            "pid": os.getpid(),
            "token": self._token,
            "revision": self._document["revision"],
            "over": over,
            "message": self._message,
            "tasks": [task.row() for task in self._tasks],
        }
        try:
            self._folder.write(self._folder.state, state)
        except OSError as error:  # a full disk must not end the job; what counts is on the volume
            sys.stderr.write(f"The state can't be written: {error}\n")
            self._changed = True


def main(argv: list[str]) -> int:
    """Run the job of a folder; 0 also when somebody else runs it already."""
    path = Path(argv[0])
    folder = JobFolder(path.parent, path.name)
    if not folder.lead():
        return 0
    try:
        Runner(folder, folder.read(folder.tasks)).run()
    except OSError as error:
        sys.stderr.write(f"The job can't run on this computer: {error}\n")
        return 1
    return 0

"""What the local engine keeps on this computer: a folder a job, and the places that all jobs share."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..platform import FileLock, replace

_WISH = "wish."
"""Begins the file that a waiting job holds; its priority and its id follow."""
_LOOKS_SECONDS = 5.0
"""Looking at a lock takes it for a moment; who wants it tries this long."""


class JobFolder:
    """One job's folder.

    Attributes:
        tasks: What is to run, written by the engine before it starts a runner.
        state: How things stand, written by the runner.
        request: A token; a runner that sees it and goes on copies it into its state.
        paused: Present: start nothing new.
        scratch: Where the runner keeps the tasks' scratch folders.
        alive: Held by the runner and by every supervisor: something of the job runs.
        leader: Held by the runner alone.
        control: Held while somebody starts, stops or forgets the job.
    """

    def __init__(self, base: Path, job_id: str) -> None:
        self.path = base / job_id
        self.tasks = self.path / "tasks.json"
        self.state = self.path / "state.json"
        self.request = self.path / "request"
        self.paused = self.path / "paused"
        self.log = self.path / "runner.log"
        self.scratch = self.path / "scratch"
        self.alive = FileLock(self.path / "alive.lock")
        self.leader = FileLock(self.path / "leader.lock")
        self.control = FileLock(self.path / "control.lock")

    def read(self, path: Path) -> dict[str, Any]:
        """Read a JSON file; empty if it is absent or damaged."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, path: Path, data: Mapping[str, Any]) -> None:
        """Replace a JSON file at once."""
        self.write_text(path, json.dumps(data))

    def write_text(self, path: Path, text: str) -> None:
        """Replace a file at once."""
        self.path.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            part.write_text(text, encoding="utf-8")
            replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def requested(self) -> str:
        """Return the newest token that somebody waits for; empty if there is none."""
        try:
            return self.request.read_text(encoding="ascii")
        except (OSError, ValueError):
            return ""

    def log_tail(self, *, characters: int = 500) -> str:
        """Return the last words of runner and supervisors."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")[-characters:].strip()
        except OSError:
            return ""

    def lead(self) -> bool:
        """Become the job's runner; False if somebody is, or something of an earlier runner still runs."""
        if not self.leader.acquire(patience=_LOOKS_SECONDS):
            return False
        if not self.alive.acquire(patience=_LOOKS_SECONDS):
            self.leader.release()
            return False
        return True


class Scratch:
    """A folder on this computer's own disk for what a job's Blenders write before it is published, one a task.

    A supervisor that is killed can't clear its own; whoever runs the job does. `note` remembers where it is.
    """

    _PREFIX = "cloud-farm-"

    def __init__(self, note: Path) -> None:
        self._note = note
        self._path: Path | None = None

    def open(self) -> None:
        """Make the folder, and remove what an earlier runner left; nothing of the job may run now.

        Raises:
            OSError: There is no room, or no right, for it.
        """
        self._clear_earlier()
        base = os.environ.get("CLOUD_FARM_SCRATCH")
        if base:
            Path(base).mkdir(parents=True, exist_ok=True)
        self._path = Path(tempfile.mkdtemp(prefix=self._PREFIX, dir=base))
        self._note.write_text(str(self._path), encoding="utf-8")

    def of(self, task_id: str) -> Path:
        """Name the folder of a task."""
        assert self._path is not None, "not open"
        return self._path / task_id

    def clear(self, task_id: str) -> None:
        """Remove what a task left."""
        shutil.rmtree(self.of(task_id), ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._note.unlink(missing_ok=True)

    def _clear_earlier(self) -> None:
        try:
            earlier = Path(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if earlier.is_absolute() and earlier.name.startswith(self._PREFIX) and not earlier.is_symlink():
            shutil.rmtree(earlier, ignore_errors=True)


class Slots:
    """The places of this computer: every running task of every job holds one.

    Who wants one takes the turn first, and lets go of it once it has one: a job that gives a place back stands behind those
    that wait, so that two jobs at once both get on. A job lets those of higher priority that wait go first, until they
    `leave`.
    """

    def __init__(self, folder: Path, count: int, *, owner: str = "", priority: int = 50) -> None:
        self._folder = folder
        self._count = count
        self._priority = priority
        self._turn = FileLock(folder / "turn.lock")
        self._has_turn = False
        self._wish_file = folder / f"{_WISH}{priority:03d}.{owner}"
        self._wish = FileLock(self._wish_file)
        self._has_wish = False

    def take(self) -> FileLock | None:
        """Take a free place; None while there is none, or while it is another job's turn."""
        self._has_wish = self._has_wish or self._wish.acquire()
        if self._is_outranked():
            self._leave_turn()
            return None
        if not self._has_turn:
            self._has_turn = self._turn.acquire()
        if not self._has_turn:
            return None
        for number in range(self._count):
            slot = FileLock(self._folder / f"{number}.lock")
            if slot.acquire():
                self._leave_turn()  # the wish stays: between two takes nobody of lower priority slips in
                return slot
        return None

    def leave(self) -> None:
        """Want no more places for now: give way to others."""
        self._leave_turn()
        if self._has_wish:
            self._wish.release()
            self._has_wish = False
            with contextlib.suppress(OSError):  # Windows lets nobody remove what another just looks at
                self._wish_file.unlink()

    def _leave_turn(self) -> None:
        self._turn.release()
        self._has_turn = False

    def _is_outranked(self) -> bool:
        """Tell whether a job of higher priority waits; what a killed one left behind is held by nobody."""
        for path in self._folder.glob(f"{_WISH}*"):
            if int(path.name[len(_WISH) :][:3]) > self._priority and FileLock(path).is_held():
                return True
        return False

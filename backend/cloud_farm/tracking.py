"""What the volume says about a job: frames, failures and progress, read so that a refresh costs what is new.

The disk is the truth about frames; the engine only explains why something is not there yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from .errors import NotFoundError, SchemaError
from .job import FrameRecord, parse_record
from .layout import JobLayout, camera_slug
from .plan import Chunk, read_chunks
from .running import RunningFrame, RunningFrames
from .stores import Store
from .watching import FolderWatch

_RECORD = re.compile(r"(?P<slug>[a-z0-9-]+)\.(?P<frame>-?\d{6,})\.json")

_CAUSE_HASH = 17

FrameKey = tuple[str | None, int]
"""(camera, frame); camera None leaves the choice to the scene."""


@dataclass(frozen=True)
class Published:
    """A record that is on the volume."""

    revision: int
    camera: str | None
    frame: int
    at: float

    @property
    def key(self) -> FrameKey:
        """Which frame it is about."""
        return self.camera, self.frame


@dataclass(frozen=True)
class FrameFailure:
    """Why a frame is not there, from the attempts' ends.

    Attributes:
        final: Nothing will try it again by itself.
    """

    camera: str | None
    frame: int
    message: str
    final: bool


class Revision:
    """One stored plan: its document and chunks."""

    def __init__(self, number: int, content: bytes, *, where: str) -> None:
        self.number = number
        self.content = content
        try:
            self.document: dict[str, Any] = json.loads(content)
            self.chunks: tuple[Chunk, ...] = read_chunks(self.document)
        except (ValueError, KeyError, TypeError) as error:
            raise SchemaError(f"The plan {where} is damaged or was edited by hand ({error}).", path=where) from error
        self.by_id = {chunk.id: chunk for chunk in self.chunks}


class JobTracker:
    """Follows one job on the volume. `refresh` reads what is new since the last call.

    Attributes:
        has_wrong_files: An attempt found a file of the job that is not what its hash says.
    """

    def __init__(self, store: Store, job_id: str) -> None:
        self._store = store
        self.layout = JobLayout(job_id)
        self.revisions: dict[int, Revision] = {}
        self.published: dict[tuple[int, FrameKey], Published] = {}
        self.wanted: dict[FrameKey, int] = {}
        self.failures: dict[FrameKey, FrameFailure] = {}
        self.reasons: list[str] = []
        self.has_wrong_files = False
        self._watch = FolderWatch(store)
        self._slugs: dict[str, str | None] = {}
        self._fresh: list[Published] = []
        self._unread: dict[str, tuple[float, float]] = {}
        self._ends: set[str] = set()
        self._since = 0.0
        self._open_attempts: set[str] = set()
        self._running = RunningFrames(store, self.layout)

    def refresh(
        self, revisions: tuple[int, ...], *, since: float = 0.0, at_once: bool = False
    ) -> tuple[Published, ...]:
        """Read new plans, records and ends of attempts; returns the records that are new.

        Args:
            since: Failures before this moment (volume's clock) count no more: the job was retried then.
            at_once: Look at every folder that changed, even if it is large and was looked at a moment ago.
        """
        if since > self._since:
            self._since = since
            self.failures.clear()
            self.reasons.clear()
        for number in revisions:
            if number not in self.revisions:
                self._add_revision(number)
        for number in revisions:
            self._find_records(number, at_once=at_once)
        self._read_attempts(at_once=at_once)
        fresh, self._fresh = self._fresh, []
        return tuple(sorted(fresh, key=lambda found: found.at))

    def record(self, found: Published) -> FrameRecord:
        """Read a record whole."""
        path = self.layout.record(found.revision, found.camera, found.frame)
        return parse_record(self._store.read(path), where=str(path))

    @property
    def has_begun(self) -> bool:
        """Whether an attempt at a chunk runs."""
        chunks = {attempt.rpartition(".")[0] for attempt in self._open_attempts}
        return any(chunks & revision.by_id.keys() for revision in self.revisions.values())

    @property
    def ended_chunks(self) -> set[str]:
        """The attempts at chunks that are over."""
        chunks = {chunk for revision in self.revisions.values() for chunk in revision.by_id}
        return {attempt for attempt in self._ends if attempt.rpartition(".")[0] in chunks}

    def is_done(self, key: FrameKey) -> bool:
        """Tell whether the frame is there in the newest revision that wants it."""
        return (self.wanted[key], key) in self.published

    def failure(self, key: FrameKey) -> FrameFailure | None:
        """Return why a frame that is not done failed, if it did."""
        return None if self.is_done(key) else self.failures.get(key)

    def running(self) -> tuple[RunningFrame, ...]:
        """Return what the attempts that have no end yet render, from the tails of their logs."""
        return self._running.read(self._open_attempts)

    def _add_revision(self, number: int) -> None:
        path = self.layout.plan(number)
        revision = Revision(number, self._store.read(path), where=str(path))
        self.revisions[number] = revision
        for chunk in revision.chunks:
            self._slugs[camera_slug(chunk.camera)] = chunk.camera
            for frame in chunk.frames:
                key = (chunk.camera, frame)
                if number >= self.wanted.get(key, 0):
                    self.wanted[key] = number
                    self.failures.pop(key, None)

    def _find_records(self, number: int, *, at_once: bool) -> None:
        """Find what is new; it is kept until a whole refresh could tell of it."""
        for block, changed_at in self._watch.changed(self.layout.records(number), at_once=at_once).items():
            for name, at in self._watch.look(block, changed_at, ending=".json").items():
                found = self._published(number, name, at)
                if found is not None and (number, found.key) not in self.published:
                    self.published[number, found.key] = found
                    self._fresh.append(found)

    def _published(self, number: int, name: str, at: float) -> Published | None:
        match = _RECORD.fullmatch(name)
        if match is None or match["slug"] not in self._slugs:
            return None
        return Published(number, self._slugs[match["slug"]], int(match["frame"]), at)

    def _read_attempts(self, *, at_once: bool) -> None:
        folder = self.layout.attempts
        changed_at = self._watch.changed(self.layout.folder, at_once=at_once).get(folder)
        if changed_at is not None:
            names = self._watch.look(folder, changed_at, ending=".json")
            listed = {name.removesuffix(".end.json"): at for name, at in names.items() if name.endswith(".end.json")}
            starts = {name.removesuffix(".start.json") for name in names if name.endswith(".start.json")}
            self._unread = {attempt: (at, changed_at) for attempt, at in listed.items() if attempt not in self._ends}
            self._open_attempts = starts - listed.keys()
        for attempt, (at, changed_at) in sorted(self._unread.items(), key=lambda item: item[1]):
            if not self._is_whole(attempt) and self._ended_at(attempt, at, changed_at) >= self._since:
                self._read_end(attempt)
            self._ends.add(attempt)
            del self._unread[attempt]

    def _is_whole(self, attempt: str) -> bool:
        """Tell whether every frame of the attempt's chunk is there: then nobody asks how it ended."""
        chunk_id = attempt.rpartition(".")[0]
        for number, revision in self.revisions.items():
            chunk = revision.by_id.get(chunk_id)
            if chunk is not None:
                return all((number, (chunk.camera, frame)) in self.published for frame in chunk.frames)
        return False

    def _ended_at(self, attempt: str, listed: float, changed_at: float) -> float:
        """Return when an attempt ended; the time that stands for all of a large folder says too little."""
        if listed < changed_at:
            return listed
        entry = self._store.stat(self.layout.attempts / f"{attempt}.end.json")
        return entry.mtime if entry is not None else listed

    def _read_end(self, attempt: str) -> None:
        end = self._read_json(self.layout.attempts / f"{attempt}.end.json")
        number = int(end.get("revision") or 0)
        chunk = self.revisions[number].by_id.get(str(end.get("chunk"))) if number in self.revisions else None
        final = end.get("exit") == 78
        self.has_wrong_files = self.has_wrong_files or end.get("cause") == _CAUSE_HASH
        if chunk is None:
            if final and end.get("reason"):
                self.reasons.append(str(end["reason"]))
            return
        listed = {
            (item.get("camera"), int(item["frame"])): str(item.get("message", "")) for item in end.get("failed", ())
        }
        if final and end.get("cause") not in (None, 12):
            listed.update({(chunk.camera, frame): str(end.get("reason", "")) for frame in chunk.frames})
        for key, message in listed.items():
            if self.wanted.get(key) == number:
                self.failures[key] = FrameFailure(*key, message, final)

    def _read_json(self, path: PurePosixPath) -> Mapping[str, Any]:
        try:
            data = json.loads(self._store.read(path))
        except (ValueError, NotFoundError):
            return {}  # an attempt's end explains, it decides nothing: a torn one is as good as none
        return data if isinstance(data, dict) else {}

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
from .stores import Store, StoreEntry

_RECORD = re.compile(r"(?P<slug>[a-z0-9-]+)\.(?P<frame>-?\d{6,})\.json")
_FRESH_SECONDS = 3.0
"""A folder that changed this recently is listed again even if its time stands still: clocks of file systems are coarse."""
_LOG_TAIL = 16 * 1024

FrameKey = tuple[str | None, int]
"""(camera, frame); camera None leaves the choice to the scene."""


@dataclass(frozen=True)
class Published:
    """A record that is on the volume."""

    revision: int
    camera: str | None
    frame: int
    at: float


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


@dataclass(frozen=True)
class RunningFrame:
    """A frame that a Blender renders now."""

    attempt: str
    chunk: str
    camera: str | None
    frame: int
    sample: int | None = None
    samples: int | None = None


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


class FolderWatch:
    """Lists a folder again only when it changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[PurePosixPath, float] = {}

    def changed(self, parent: PurePosixPath) -> list[PurePosixPath]:
        """Return the subfolders of `parent` that changed since the last call (by their times), new ones included."""
        now = self._store.server_time()
        result = []
        for entry in self._store.list(parent):
            path = parent / entry.name
            if entry.is_dir and self._seen.get(path) != entry.mtime:
                result.append(path)
                if now - entry.mtime > _FRESH_SECONDS:
                    self._seen[path] = entry.mtime
        return result


class JobTracker:
    """Follows one job on the volume. `refresh` reads what is new since the last call."""

    def __init__(self, store: Store, job_id: str) -> None:
        self._store = store
        self.layout = JobLayout(job_id)
        self.revisions: dict[int, Revision] = {}
        self.published: dict[tuple[int, FrameKey], Published] = {}
        self.wanted: dict[FrameKey, int] = {}
        self.failures: dict[FrameKey, FrameFailure] = {}
        self.reasons: list[str] = []
        self._watch = FolderWatch(store)
        self._slugs: dict[str, str | None] = {}
        self._ends: set[str] = set()
        self._since = 0.0
        self._open_attempts: set[str] = set()

    def refresh(self, revisions: tuple[int, ...], *, since: float = 0.0) -> tuple[Published, ...]:
        """Read new plans, records and ends of attempts; returns the records that are new.

        Args:
            since: Failures before this moment (volume's clock) count no more: the job was retried then.
        """
        if since > self._since:
            self._since = since
            self.failures.clear()
            self.reasons.clear()
        for number in revisions:
            if number not in self.revisions:
                self._add_revision(number)
        fresh = [found for number in revisions for found in self._new_records(number)]
        self._read_attempts()
        return tuple(fresh)

    def record(self, found: Published) -> FrameRecord:
        """Read a record whole."""
        path = self.layout.record(found.revision, found.camera, found.frame)
        return parse_record(self._store.read(path), where=str(path))

    def is_done(self, key: FrameKey) -> bool:
        """Tell whether the frame is there in the newest revision that wants it."""
        return (self.wanted[key], key) in self.published

    def failure(self, key: FrameKey) -> FrameFailure | None:
        """Return why a frame that is not done failed, if it did."""
        return None if self.is_done(key) else self.failures.get(key)

    def running(self) -> tuple[RunningFrame, ...]:
        """Return what the attempts that have no end yet render, from the tails of their logs."""
        frames = (self._running_frame(attempt) for attempt in sorted(self._open_attempts))
        return tuple(frame for frame in frames if frame is not None)

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

    def _new_records(self, number: int) -> list[Published]:
        fresh = []
        for block in self._watch.changed(self.layout.records(number)):
            for entry in self._store.list(block):
                found = self._published(number, entry)
                if found is not None and (number, (found.camera, found.frame)) not in self.published:
                    self.published[number, (found.camera, found.frame)] = found
                    fresh.append(found)
        return sorted(fresh, key=lambda found: found.at)

    def _published(self, number: int, entry: StoreEntry) -> Published | None:
        match = _RECORD.fullmatch(entry.name)
        if match is None or match["slug"] not in self._slugs:
            return None
        return Published(number, self._slugs[match["slug"]], int(match["frame"]), entry.mtime)

    def _read_attempts(self) -> None:
        entries = self._store.list(self.layout.attempts)
        ends = {
            entry.name.removesuffix(".end.json"): entry.mtime for entry in entries if entry.name.endswith(".end.json")
        }
        starts = {entry.name.removesuffix(".start.json") for entry in entries if entry.name.endswith(".start.json")}
        for attempt in sorted(ends.keys() - self._ends, key=lambda name: ends[name]):
            if ends[attempt] >= self._since:
                self._read_end(attempt)
        self._ends |= ends.keys()
        self._open_attempts = starts - ends.keys()

    def _read_end(self, attempt: str) -> None:
        end = self._read_json(self.layout.attempts / f"{attempt}.end.json")
        number = int(end.get("revision") or 0)
        chunk = self.revisions[number].by_id.get(str(end.get("chunk"))) if number in self.revisions else None
        final = end.get("exit") == 78
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

    def _running_frame(self, attempt: str) -> RunningFrame | None:
        last: dict[str, Any] = {}
        for line in self.log_tail(attempt).splitlines():
            event = _progress(line)
            if event.get("cloud_farm") in ("frame_started", "sample"):
                last = {**last, **event} if last.get("frame") == event.get("frame") else event
            elif event.get("cloud_farm") in ("frame_done", "frame_failed"):
                last = {}
        if "frame" not in last:
            return None
        return RunningFrame(
            attempt,
            attempt.rsplit(".", 1)[0],
            last.get("camera"),
            int(last["frame"]),
            last.get("sample"),
            last.get("samples"),
        )

    def log_tail(self, attempt: str) -> str:
        """Return the last few kilobytes of an attempt's log; empty while there is none."""
        path = self.layout.logs / f"{attempt}.log"
        entry = self._store.stat(path)
        if entry is None:
            return ""
        return self._store.read(path, start=max(0, entry.size - _LOG_TAIL)).decode("utf-8", "replace")

    def _read_json(self, path: PurePosixPath) -> Mapping[str, Any]:
        try:
            data = json.loads(self._store.read(path))
        except (ValueError, NotFoundError):
            return {}  # an attempt's end explains, it decides nothing: a torn one is as good as none
        return data if isinstance(data, dict) else {}


def _progress(line: str) -> dict[str, Any]:
    if not line.startswith('{"cloud_farm":'):
        return {}
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}

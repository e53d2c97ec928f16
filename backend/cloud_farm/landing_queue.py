"""Lands frames as their records appear: several at a time, each once, and again later where a record is seen before its files."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from .errors import FrameNotLandedError, HashMismatchError, NotFoundError, SchemaError
from .events import CancelToken, FrameDone, Listener, Note, ignore
from .job import FrameRecord
from .landed import Landing
from .landing_ledger import LandedFrame
from .parallel import for_each
from .stores import Store
from .tracking import FrameKey, JobTracker, Published
from .transfer import TransferMeter


class LandingQueue:
    """Frames of one job that are published and not landed yet.

    Attributes:
        last_file: The main file of the newest frame that landed; empty while none did.
        failed: Why frames could not be landed; one frame's trouble does not keep the others.
    """

    def __init__(self, store: Store, tracker: JobTracker, job_id: str) -> None:
        self._store = store
        self._tracker = tracker
        self._job_id = job_id
        self._waiting: dict[FrameKey, Published] = {}
        self._newest = 0.0
        self._lock = threading.Lock()
        self.last_file = ""
        self.failed: dict[FrameKey, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, fresh: Iterable[Published]) -> None:
        """Take in new records; of several revisions of a frame only the newest lands."""
        for found in fresh:
            known = self._waiting.get(found.key)
            if known is None or known.revision < found.revision:
                self._waiting[found.key] = found

    def land(
        self, landing: Landing, on_event: Listener = ignore, *, cancel: CancelToken | None = None
    ) -> dict[FrameKey, Path]:
        """Land every frame that waits, in the order of their making; returns where the main files are.

        Raises:
            LandingError: The landing folder can't be written; what waits goes on waiting.
            StoreError: The volume can't be read; likewise.
            Cancelled: `cancel` was set; likewise.
        """
        places: dict[FrameKey, Path] = {}
        absent: list[Published] = []
        for found in sorted(self._waiting.values(), key=lambda found: (found.at, found.frame)):
            known = landing.known(found.revision, found.key)
            if known is None:
                absent.append(found)
            else:
                places[found.key] = self._landed(found, known, on_event)
        meter = TransferMeter("download", on_event, files=len(absent), size=None)

        def land_one(found: Published, stop: CancelToken) -> None:
            try:
                record = self._record(found)
                progress = meter.progress(record.main.path, stop)
                landed = landing.land(found.revision, record, progress=progress)
            except (FrameNotLandedError, NotFoundError, HashMismatchError, SchemaError) as problem:
                self._put_off(found, problem, on_event)
                return
            meter.finished(record.main.path)
            places[found.key] = self._landed(found, landed, on_event)

        for_each(absent, land_one, workers=self._store.connections, cancel=cancel)
        return places

    def _record(self, found: Published) -> FrameRecord:
        record = self._tracker.record(found)
        if (record.camera, record.frame) != found.key:
            raise SchemaError(f"The record of frame {found.frame} says that it is of frame {record.frame}.")
        return record

    def _landed(self, found: Published, landed: LandedFrame, on_event: Listener) -> Path:
        """Take a frame off the queue and tell of it."""
        main = landed.paths[0]
        with self._lock:
            if found.at >= self._newest:
                self._newest, self.last_file = found.at, main
            self._waiting.pop(found.key, None)
            self.failed.pop(found.key, None)
            on_event(
                FrameDone(self._job_id, found.camera, found.frame, main, landed.seconds, landed.device, landed.host)
            )
        return Path(main)

    def _put_off(self, found: Published, problem: Exception, on_event: Listener) -> None:
        """Let a frame wait whose file may only not be seen yet; else give it up."""
        with self._lock:
            if isinstance(problem, NotFoundError) and self._may_come(found):
                return
            self._waiting.pop(found.key, None)
            self.failed[found.key] = str(problem)
            on_event(Note(str(problem)))

    def _may_come(self, found: Published) -> bool:
        """Tell whether caches of a network file system explain that a file is not seen yet."""
        limits = self._tracker.revisions[found.revision].document.get("limits", {})
        return self._store.server_time() - found.at <= float(limits.get("visibility_s", 0.0))

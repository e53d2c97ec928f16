"""Lands frames as their records appear: each once, and again later where the volume shows a record before its files."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import HashMismatchError, LandingError, NotFoundError, SchemaError
from .events import FrameDone, Listener, Note
from .landing import Landing
from .stores import Store
from .tracking import FrameKey, JobTracker, Published


class LandingQueue:
    """Frames of one job that are published and not landed yet.

    Attributes:
        last_file: The main file that landed last; empty while none did.
        failed: Why frames could not be landed; one frame's trouble does not keep the others.
    """

    def __init__(self, store: Store, tracker: JobTracker, job_id: str) -> None:
        self._store = store
        self._tracker = tracker
        self._job_id = job_id
        self._waiting: dict[FrameKey, Published] = {}
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

    def land(self, landing: Landing, on_event: Listener) -> None:
        """Land every frame that waits.

        Raises:
            LandingError: The landing folder can't be written; what waits goes on waiting.
        """
        for key, found in list(self._waiting.items()):
            try:
                self._land(found, landing, on_event)
            except NotFoundError as error:
                if self._may_come(found):
                    continue
                self._give_up(key, str(error), on_event)
            except LandingError as error:
                if "can't be written" in str(error):
                    raise
                self._give_up(key, str(error), on_event)
            except (HashMismatchError, SchemaError) as error:
                self._give_up(key, str(error), on_event)
            self._waiting.pop(key, None)

    def _land(self, found: Published, landing: Landing, on_event: Listener) -> None:
        record = self._tracker.record(found)
        self.last_file = str(landing.land(found.revision, record))
        self.failed.pop(found.key, None)
        on_event(
            FrameDone(
                self._job_id,
                found.camera,
                found.frame,
                self.last_file,
                record.seconds,
                record.device,
                record.host,
            )
        )

    def _give_up(self, key: FrameKey, message: str, on_event: Listener) -> None:
        self.failed[key] = message
        on_event(Note(message))

    def _may_come(self, found: Published) -> bool:
        """Tell whether caches of a network file system explain that a file is not seen yet."""
        limits = self._tracker.revisions[found.revision].document.get("limits", {})
        return self._store.server_time() - found.at <= float(limits.get("visibility_s", 0.0))

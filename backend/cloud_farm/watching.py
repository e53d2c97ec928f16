"""Looking at folders of the volume again and again, so that a look costs what is new.

A folder is listed again only when its time changed. A large one is listed without times, which is a tenth of the bytes, and
not more often than its size allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import PurePosixPath

from .stores import Store

_FRESH_SECONDS = 3.0
"""A folder that changed this recently is listed again even if its time stands still: clocks of file systems are coarse."""
_FEW = 50
"""Names in a folder that is listed with their times."""
_NAMES_PER_SECOND = 250.0
_LONGEST_WAIT = 30.0


class FolderWatch:
    """Watches folders of a volume."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[PurePosixPath, float] = {}
        self._looked: dict[PurePosixPath, tuple[float, int]] = {}

    def changed(self, parent: PurePosixPath, *, at_once: bool = False) -> dict[PurePosixPath, float]:
        """Return the subfolders of `parent` that changed since they were looked at, with their times.

        Args:
            at_once: Also those that were looked at a moment ago.
        """
        folders = {parent / entry.name: entry.mtime for entry in self._store.list(parent) if entry.is_dir}
        return {
            folder: at
            for folder, at in folders.items()
            if self._seen.get(folder) != at and (at_once or self._is_due(folder))
        }

    def look(self, folder: PurePosixPath, changed_at: float, *, ending: str) -> dict[str, float]:
        """Return the names in a folder that end so, and their times; in a large folder that of its last change.

        Args:
            changed_at: When the folder changed last.
        """
        _, count = self._looked.get(folder, (0.0, _FEW + 1))
        found: dict[str, float] = {}
        if count > _FEW:
            found = dict.fromkeys(self._store.names(folder, ending=ending), changed_at)
            count = len(found)
        if count <= _FEW:
            entries = self._store.list(folder)
            found = {entry.name: entry.mtime for entry in entries if entry.name.endswith(ending)}
        self._looked[folder] = (self._clock(), len(found))
        if self._store.server_time() - changed_at > _FRESH_SECONDS:
            self._seen[folder] = changed_at
        return found

    def _is_due(self, folder: PurePosixPath) -> bool:
        looked, count = self._looked.get(folder, (0.0, 0))
        return count <= _FEW or self._clock() - looked >= min(count / _NAMES_PER_SECOND, _LONGEST_WAIT)

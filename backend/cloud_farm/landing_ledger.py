"""What a job's frames became on this computer: which file is ours, and still as we left it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .platform import user_folders

FrameId = tuple[str | None, int]
"""(camera, frame)"""


@dataclass(frozen=True)
class LandedFile:
    """A file that we wrote.

    Attributes:
        size: Bytes, and `mtime_ns` its time when we left it: a file that has others now was changed by somebody else.
    """

    frame: FrameId
    sha256: str
    size: int
    mtime_ns: int

    def is_untouched(self, path: Path) -> bool:
        """Tell whether the file is as we left it."""
        try:
            found = path.stat(follow_symlinks=False)
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True)
class LandedFrame:
    """A frame whose files all landed in one folder; the first one is what a viewer shows."""

    folder: str
    revision: int
    frame: FrameId
    paths: tuple[str, ...]
    seconds: float
    device: str | None
    host: str


class LandingLedger:
    """The ledger of one job. Threads may share it, and several programs may write it at once."""

    def __init__(self, job_id: str) -> None:
        self._path = user_folders().state / "landed" / f"{job_id}.jsonl"
        self._files: dict[str, LandedFile] = {}
        self._frames: dict[tuple[str, int, FrameId], LandedFrame] = {}
        self._read_bytes = 0
        self._lock = threading.Lock()
        self._read_on()

    def file(self, path: Path) -> LandedFile | None:
        """Return what we know of a file; another program may have written it a moment ago."""
        with self._lock:
            found = self._files.get(str(path))
            if found is None or not found.is_untouched(path):
                self._read_on()
            return self._files.get(str(path))

    def frame(self, folder: Path, revision: int, frame: FrameId) -> LandedFrame | None:
        """Return a frame that landed in this folder, if all its files are as we left them."""
        found = self._frames.get((str(folder), revision, frame))
        if found is None or not all(self._is_untouched(path) for path in found.paths):
            return None
        return found

    def add_file(self, path: Path, frame: FrameId, sha256: str) -> None:
        """Remember a file as it is now.

        Raises:
            OSError: It is not there, or the ledger can't be written.
        """
        found = path.stat(follow_symlinks=False)
        entry = LandedFile(frame, sha256, found.st_size, found.st_mtime_ns)
        self._files[str(path)] = entry
        self._append({"path": str(path), **vars(entry)})

    def add_frame(self, landed: LandedFrame) -> None:
        """Remember a frame whose files have all landed."""
        self._frames[landed.folder, landed.revision, landed.frame] = landed
        self._append(vars(landed))

    def _is_untouched(self, path: str) -> bool:
        entry = self._files.get(path)
        return entry is not None and entry.is_untouched(Path(path))

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry) + "\n"
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as stream:
                stream.write(line.encode())

    def _read_on(self) -> None:
        """Take in the lines that were written since the last look."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._read_bytes)
                content = stream.read()
        except OSError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            frame = (entry["frame"][0], int(entry["frame"][1]))
            if "path" in entry:
                landed = LandedFile(frame, str(entry["sha256"]), int(entry["size"]), int(entry["mtime_ns"]))
                self._files[str(entry["path"])] = landed
            else:
                whole = LandedFrame(**{**entry, "frame": frame, "paths": tuple(entry["paths"])})
                self._frames[whole.folder, whole.revision, frame] = whole
        except (ValueError, KeyError, TypeError, IndexError):
            return  # the line of a killed program; the file it meant is simply looked at again

"""Frames of a job that are on this computer, and where: one whose name something newer has lies beside the job's folder.

Two jobs may land in one folder at the same time: sent, tweaked, sent again. What is at a path is the picture of the job that landed there
last, so a folder and a way to number names do not say which picture is whose.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from .frame_names import FrameNames

_LARGE_BYTES = 8 * 1024 * 1024
"""Blender's window stands still while it reads a file: up to a tenth of a second for this, seconds for one of many passes."""
_BEGINNINGS = {
    ".png": b"\x89PNG", ".exr": b"\x76\x2f\x31\x01", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8",
}  # fmt: skip


class ShownFrames:
    """A job's frames of one camera that are here.

    Attributes:
        first, last: Frames.
        newest: The frame that came last.
        pinned: The one that the artist asked to see.
        is_large: They are too large to be shown as they come.
        unreadable: Why the last frame that could not be shown was not; empty once it came again.
    """

    def __init__(self, path: Path, frame: int) -> None:
        self.first = self.last = self.newest = frame
        self.pinned: int | None = None
        self.is_large = False
        self.unreadable = ""
        self._unreadable_frame = frame
        self._names = FrameNames(path, frame)
        self._folders: dict[Path, set[int]] = {}
        self._lost: set[int] = set()
        self.take(path, frame)

    @property
    def is_scattered(self) -> bool:
        """Whether they lie in several folders, or some have no place any more: another job's frames took it."""
        return bool(self._lost) or len(self._places) > 1

    @property
    def can_be_scrubbed(self) -> bool:
        """Whether Blender can show them as a sequence: it has none with frames below zero, nor of several folders."""
        return self.first >= 0 and self._names.can_be_scrubbed and not self.is_scattered

    @property
    def _places(self) -> list[tuple[Path, Set[int]]]:
        return [(folder, frames) for folder, frames in self._folders.items() if frames]

    def take(self, path: Path, frame: int) -> None:
        """Take in the newest frame."""
        self._names.learn(path, frame)
        self.put({path.parent: [frame]})
        self.first, self.last, self.newest = min(self.first, frame), max(self.last, frame), frame
        self.is_large = _is_large(path)
        if frame == self._unreadable_frame:
            self.unreadable = ""

    def put(self, folders: Mapping[Path, Sequence[int]]) -> None:
        """Take in where frames are."""
        for folder, frames in folders.items():
            for others in self._folders.values():
                others.difference_update(frames)
            self._folders.setdefault(folder, set()).update(frames)
            self._lost.difference_update(frames)

    def lose(self, path: Path) -> bool:
        """Another job's frame landed there; returns whether one of these was."""
        frame = self.frame(path)
        if frame is not None:
            self._folders[path.parent].discard(frame)
            self._lost.add(frame)
        return frame is not None

    def frame(self, path: Path) -> int | None:
        """Return which of these frames a file is."""
        frames = self._folders.get(path.parent)
        frame = self._names.frame(path.name) if frames else None
        return frame if frames and frame in frames else None

    def path(self, frame: int) -> Path | None:
        """Return where a frame is; None if it never came here, or has no place any more."""
        return next((folder / self._names.name(frame) for folder, frames in self._places if frame in frames), None)

    def there(self, frame: int | None) -> int | None:
        """Return this frame, or some that is on the disk, and can be read if possible; it looks for few."""
        unreadable = None
        for one in self._some() if frame is None else (frame,):
            path = self.path(one)
            if path is not None and path.is_file():
                if not why_unreadable(path):
                    return one
                unreadable = one if unreadable is None else unreadable
        return unreadable

    def _some(self) -> Iterator[int]:
        yield from (self.newest, self.first, self.last)
        for _, frames in self._places:
            yield max(frames)

    def may_be_there(self, frame: int | None) -> bool:
        """Whether it is worth a look on the disk: of a frame, or of any, that was landed and kept its place."""
        return bool(self._places) if frame is None else frame not in self._lost

    def here(self) -> dict[int, Path]:
        """Return all that are on the disk, in order."""
        found: dict[int, Path] = {}
        for folder, frames in self._places:
            if folder.is_dir():
                files = {self._names.frame(entry.name): folder / entry.name for entry in os.scandir(folder)}
                found |= {frame: path for frame, path in files.items() if frame is not None and frame in frames}
        return dict(sorted(found.items()))

    def note_unreadable(self, frame: int, why: str) -> None:
        """Take note why a frame can't be shown."""
        self.unreadable, self._unreadable_frame = why, frame


def why_unreadable(path: Path) -> str:
    """Return why a file is no picture, as far as its first bytes say; empty if it may be one.

    Blender itself only says so on its terminal, and shows nothing.
    """
    beginning = _BEGINNINGS.get(path.suffix.lower(), b"")
    try:
        with path.open("rb") as stream:
            is_one = stream.read(len(beginning)) == beginning
    except OSError as error:
        return f"{path} can't be read: {error.strerror or error}."
    return "" if is_one else f"{path} is no {path.suffix[1:].upper()} file. Render Frames Again makes another."


def _is_large(path: Path) -> bool:
    try:
        return path.stat().st_size > _LARGE_BYTES
    except OSError:
        return False  # it was moved away meanwhile

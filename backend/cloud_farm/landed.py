"""How finished frames land on the artist's computer: verified, whole, inside their folder, never over something newer."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import stat
import threading
import time
from enum import Enum, auto
from pathlib import Path

from .errors import FrameNotLandedError, LandingError
from .job import FileRecord, FrameRecord
from .landing import check_inside, safe_relative
from .landing_ledger import FrameId, LandedFrame, LandingLedger
from .layout import JobLayout
from .platform import rename_if_absent, replace
from .stores import Progress, Store, silent

_MOST_SIBLINGS = 9
_TRIES = 5
_MARK = "cloud-farm"
_LEFTOVER = re.compile(rf"\.+{_MARK}-[0-9a-f]{{16}}\.part(\.[0-9a-f]+\.part)?")
_LEFTOVER_SECONDS = 3600.0


class _Place(Enum):
    FREE = auto()
    OURS_AND_RIGHT = auto()
    REPLACEABLE = auto()
    TAKEN = auto()


class Landing:
    """Lands the frames of one job in one folder. Threads may share it.

    Args:
        created: When the job was made, by this computer's clock: older files that are not ours are replaced, as Blender
            would do.

    Attributes:
        folder: Where files go. A folder beside it takes what would hide something newer that is not ours.
        set_aside: Files that went there.
    """

    def __init__(self, store: Store, job_id: str, folder: Path, *, created: float) -> None:
        self._store = store
        self._job_id = job_id
        self._layout = JobLayout(job_id)
        self.folder = folder
        self._created = created
        self._ledger = LandingLedger(job_id)
        self._lock = threading.Lock()
        self._swept: set[Path] = set()
        self.set_aside: list[Path] = []

    def known(self, revision: int, frame: FrameId) -> LandedFrame | None:
        """Return a frame that is here already, whole and as we left it; its record need not be read again."""
        return self._ledger.frame(self.folder, revision, frame)

    def land(self, revision: int, record: FrameRecord, *, progress: Progress = silent) -> LandedFrame:
        """Bring a frame's files here unless they are.

        Raises:
            FrameNotLandedError: A name that could leave the folder, or no place for it; nothing was written under it.
            LandingError: The folder can't be written at all.
            HashMismatchError: The farm's file is not what its record says.
        """
        frame = (record.camera, record.frame)
        files = sorted(record.files, key=lambda item: item is not record.main)
        paths = tuple(str(self._land_file(revision, frame, item, progress)) for item in files)
        landed = LandedFrame(str(self.folder), revision, frame, paths, record.seconds, record.device, record.host)
        self._ledger.add_frame(landed)
        return landed

    def _land_file(self, revision: int, frame: FrameId, item: FileRecord, progress: Progress) -> Path:
        relative = safe_relative(item.path)
        try:
            for number in range(_MOST_SIBLINGS + 1):
                base = self._base(number)
                target = base / relative
                check_inside(target, base)
                for _ in range(_TRIES):
                    place = self._judge(target, frame, item, aside=number > 0)
                    if place is _Place.OURS_AND_RIGHT:
                        return target
                    if place is _Place.TAKEN:
                        break
                    if self._fetch(revision, frame, item, target, progress, new=place is _Place.FREE):
                        self._note_aside(target, number)
                        return target
        except OSError as error:
            raise LandingError(
                f"{item.path} can't be written to {self.folder}: {error.strerror or error}."
                " Free some space or choose another folder with -o."
            ) from error
        raise FrameNotLandedError(
            f"{item.path} has no place in {self.folder}: newer files of that name are there and in"
            f" {_MOST_SIBLINGS} folders beside it. Choose another folder with -o."
        )

    def _base(self, number: int) -> Path:
        """The landing folder, or the n-th folder beside it."""
        if number == 0:
            return self.folder
        again = "" if number == 1 else f" {number}"
        name = f"{self.folder.name} ({self._job_id}){again}".strip()
        return self.folder.parent / name

    def _judge(self, target: Path, frame: FrameId, item: FileRecord, *, aside: bool) -> _Place:
        """Say what may be done with a place."""
        try:
            found = target.lstat()
        except FileNotFoundError:
            return _Place.FREE
        ours = self._ledger.file(target)
        if ours is not None and ours.is_untouched(target):
            if ours.frame != frame:
                raise FrameNotLandedError(
                    f"Frame {frame[1]} calls its file {item.path}, as frame {ours.frame[1]} does; it was not written."
                )
            return _Place.OURS_AND_RIGHT if ours.sha256 == item.sha256 else _Place.REPLACEABLE
        if not stat.S_ISREG(found.st_mode):
            return _Place.TAKEN
        if found.st_size == item.bytes and _sha256(target) == item.sha256:
            self._ledger.add_file(target, frame, item.sha256)
            return _Place.OURS_AND_RIGHT
        old = ours is None and not aside and found.st_mtime < self._created
        return _Place.REPLACEABLE if old else _Place.TAKEN

    def _fetch(
        self, revision: int, frame: FrameId, item: FileRecord, target: Path, progress: Progress, *, new: bool
    ) -> bool:
        """Bring a file here; False if somebody else put one there meanwhile."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self._sweep(target.parent)
        part = target.with_name(f".{_MARK}-{secrets.token_hex(8)}.part")
        try:
            source = self._layout.frames(revision, frame[1]) / safe_relative(item.path)
            self._store.get(source, part, sha256=item.sha256, progress=progress)
            if not new:
                replace(part, target)
            elif not rename_if_absent(part, target):
                return False
        finally:
            part.unlink(missing_ok=True)
        self._ledger.add_file(target, frame, item.sha256)
        return True

    def _sweep(self, folder: Path) -> None:
        """Remove, once, what a killed program left unfinished in a folder; what is written now is younger."""
        with self._lock:
            if folder in self._swept:
                return
            self._swept.add(folder)
        for path in folder.iterdir():
            if _LEFTOVER.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    if time.time() - path.lstat().st_mtime > _LEFTOVER_SECONDS:
                        path.unlink()

    def _note_aside(self, target: Path, number: int) -> None:
        if number:
            with self._lock:
                self.set_aside.append(target)


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

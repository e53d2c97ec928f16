"""The folder store: a folder of this computer or a mounted share is the volume."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..errors import ExistsError, HashMismatchError, NotFoundError, StoreError
from ..layout import ASSETS, PART
from ..platform import NO_LINKS, can_be_named, remove_tree, rename_new, replace, share_folder
from ..profile import FarmProfile
from . import Progress, StoreDescription, StoreEntry, Tail, silent
from .file_copy import CopySource, copy_hashed, create_exclusive, hash_stream, part_beside, source_of
from .trash import trash_entry, trash_place

_CLOCK_SECONDS = 60.0
_FULL = "Free some space: cloud-farm delete --older-than 30d"
_RIGHTS = "This user may not write there. Ask for the rights, or choose another folder in the farm's profile."
_ADVICE = {
    errno.ENOSPC: f"The volume is full. {_FULL}",
    errno.EDQUOT: f"Your quota on the volume is used up. {_FULL}",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "The volume is mounted read-only. Mount it writable, or choose another folder in the farm's profile.",
    errno.ENOTDIR: "A part of that path is a file. Choose another folder in the farm's profile.",
    errno.EISDIR: "There is a folder of that name.",
    errno.ENAMETOOLONG: "The name is too long for this file system.",
    errno.ESTALE: "The share was changed or mounted anew. Mount it again, then try again.",
    errno.EIO: "The disk or the share does not answer. Check it, then try again.",
}


def open_store(profile: FarmProfile) -> FolderStore:
    """Open the folder that the profile's volume is mounted at."""
    prefix = profile.volume.store_prefix.strip("/")
    root = Path(profile.volume.mount_path).expanduser()
    return FolderStore(root / prefix if prefix else root, umask=profile.volume.umask, gid=profile.volume.gid)


class FolderStore:
    """A volume that is a folder here. Every file appears under its name at once, whole and verified."""

    def __init__(self, root: Path, *, umask: int = 0o002, gid: int | None = None) -> None:
        self._root = root
        self._umask = umask
        self._gid = gid
        self._clock = (-_CLOCK_SECONDS, 0.0)
        self.connections = 4  # small files wait for the disk, each for itself
        self.poll_seconds = 0.5
        self.volume = str(root.absolute())

    # -- look -------------------------------------------------------------------------------------------------------

    def describe(self) -> StoreDescription:
        """Say which folder it is."""
        return StoreDescription("folder", str(self._root))

    def list(self, folder: PurePosixPath, *, unfinished: bool = False) -> tuple[StoreEntry, ...]:
        """List a folder in order of names; an absent one is empty, unfinished files are only shown if asked for."""
        try:
            with self._errors(folder), os.scandir(self._path(folder)) as entries:
                shown = [Path(item.path) for item in entries if unfinished or not item.name.endswith(PART)]
                found = [self._entry(place) for place in shown]
        except NotFoundError:
            return ()
        return tuple(sorted((entry for entry in found if entry is not None), key=lambda entry: entry.name))

    def names(self, folder: PurePosixPath, *, ending: str) -> tuple[str, ...]:
        """Return the names of files in a flat folder that end so."""
        try:
            with self._errors(folder):
                names = [child.name for child in self._path(folder).iterdir()]
        except NotFoundError:
            return ()
        return tuple(name for name in names if name.endswith(ending) and not name.endswith(PART))

    def walk(self, folder: PurePosixPath) -> Iterator[tuple[PurePosixPath, StoreEntry]]:
        """Yield all that lies below a folder; links are not followed."""
        for name, folders, files in os.walk(self._path(folder)):
            place = Path(name)
            for child in (*folders, *files):
                entry = self._entry(place / child)
                if entry is not None:
                    yield folder / place.relative_to(self._path(folder)).as_posix() / child, entry

    def stat(self, path: PurePosixPath) -> StoreEntry | None:
        """Describe a path, None if it is absent."""
        place = self._path(path)
        with self._errors(path):
            return self._entry(place)

    def read(self, path: PurePosixPath, *, start: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file."""
        with self._errors(path), open(self._path(path), "rb") as stream:
            stream.seek(start)
            return stream.read() if length is None else stream.read(length)

    def tail(self, path: PurePosixPath, *, known: int, most: int) -> Tail:
        """Read what a growing file has beyond its first `known` bytes."""
        with self._errors(path), open(self._path(path), "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(min(known, size), size - most))
            content = stream.read(most)
            return Tail(content, stream.tell())

    def sha256(self, path: PurePosixPath) -> str:
        """Hash a file."""
        with self._errors(path), open(self._path(path), "rb") as stream:
            return hash_stream(stream)

    def free_space(self) -> int | None:
        """Bytes free on the volume, for this user."""
        folder = next((parent for parent in (self._root, *self._root.parents) if parent.is_dir()), Path("/"))
        with self._errors(PurePosixPath(".")):
            return shutil.disk_usage(folder).free

    def server_time(self) -> float:
        """Seconds since 1970 by the clock that gives files their times: a share has the file server's."""
        asked, offset = self._clock
        if time.monotonic() - asked > _CLOCK_SECONDS:
            offset = self._clock_offset()
            self._clock = (time.monotonic(), offset)
        return time.time() + offset

    # -- change -----------------------------------------------------------------------------------------------------

    def get(self, path: PurePosixPath, target: Path, *, sha256: str | None = None, progress: Progress = silent) -> None:
        """Copy a file to this computer: a part beside `target`, verified, renamed over it.

        Raises:
            HashMismatchError: The bytes are not those of `sha256`; `target` is untouched.
            OSError: This computer's disk can't take it.
        """
        with self._errors(path):
            source = open(self._path(path), "rb")  # noqa: SIM115 - closed below; only its errors are the volume's
        part = part_beside(target)
        try:
            with source, open(part, "x+b") as sink:
                found = copy_hashed(CopySource(source, str(path)), sink, progress)
            if sha256 is not None and found != sha256:
                raise HashMismatchError(
                    f"{path} on the volume is not what its record says. Render the frame again: cloud-farm retry --force"
                )
            replace(part, target)
        finally:
            part.unlink(missing_ok=True)

    def put(
        self, source: Path | bytes, path: PurePosixPath, *, sha256: str | None = None, if_absent: bool = False,
        progress: Progress = silent,
    ) -> bool:  # fmt: skip
        """Publish a file under its final name at once, whole and verified."""
        target = self._path(path)
        with self._errors(path):
            if if_absent and os.path.lexists(target):
                return False
        with source_of(source) as reader, self._errors(path):
            self._make_folder(target.parent)
            part = part_beside(target)
            try:
                self._write_part(reader, part, sha256, progress)
                return self._publish(part, target, if_absent=if_absent, read_only=ASSETS in path.parents)
            finally:
                part.unlink(missing_ok=True)

    def move(self, source: PurePosixPath, target: PurePosixPath) -> None:
        """Rename within the volume; an existing target is an error.

        By way of a name of our own: of many who move the same thing only one finds it.
        """
        place, goal = self._path(source), self._path(target)
        taken = ExistsError(f"{target} is there already; {source} was not moved.")
        with self._errors(source):
            if not os.path.lexists(place):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._make_folder(goal.parent)
            if os.path.lexists(goal):
                raise taken
            between = part_beside(place)
            os.rename(place, between)
            try:
                self._rename(between, goal)
            except OSError as error:
                os.rename(between, place)
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    raise taken from error
                raise

    def trash(self, path: PurePosixPath, *, job_id: str) -> PurePosixPath | None:
        """Move a file or folder to today's trash; absent is fine."""
        kept = trash_place(path, job_id, self.server_time())
        place, goal = self._path(path), self._path(kept)
        with self._errors(path):
            if not os.path.lexists(place):
                return None
            self._make_folder(goal.parent)
            try:
                os.rename(place, goal)
            except FileNotFoundError:
                return None  # somebody else was faster
        return kept

    def empty_trash(self, name: str) -> None:
        """Delete one entry of the trash for good; absent is fine."""
        entry = trash_entry(name)
        place = self._path(entry)
        if place.resolve() != self._root.resolve().joinpath(*entry.parts):
            raise StoreError(f"{entry} on the farm's volume is a link, so what lies there may not be ours. Remove it.")
        while place.exists():
            with self._errors(entry), contextlib.suppress(FileNotFoundError):  # another empties it at the same time
                remove_tree(place)

    # -- inner ------------------------------------------------------------------------------------------------------

    def _path(self, path: PurePosixPath) -> Path:
        """Return the file behind a store path.

        Raises:
            StoreError: The path is not plainly inside the volume, or a symbolic link leads out of it.
        """
        foreign = not all(map(can_be_named, path.parts))
        if path.is_absolute() or ".." in path.parts or "\x00" in str(path) or foreign:
            raise StoreError(f"{str(path)!r} is not a path inside the farm's volume.")
        place = self._root.joinpath(*path.parts)
        if not self._is_inside(place):
            raise StoreError(
                f"{path} leads out of the farm's volume ({self._root}) by a symbolic link; it was left alone."
            )
        return place

    def _is_inside(self, place: Path) -> bool:
        root = os.path.realpath(self._root)
        return os.path.commonpath((root, os.path.realpath(place))) == root

    def _entry(self, place: Path) -> StoreEntry | None:
        """Describe a file; None for what is gone, and for links that lead nowhere or out of the volume."""
        try:
            found = place.lstat()
            if stat.S_ISLNK(found.st_mode):
                if not self._is_inside(place):
                    return None
                found = place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        is_dir = stat.S_ISDIR(found.st_mode)
        return StoreEntry(place.name, 0 if is_dir else found.st_size, found.st_mtime, is_dir)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder whose group is inherited, so that submitter and renderers can both write."""
        for missing in [f for f in reversed((folder, *folder.parents)) if not f.is_dir()]:
            try:
                missing.mkdir()
            except FileExistsError:
                if not missing.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
                continue  # somebody else was faster
            if self._root in (missing, *missing.parents):
                share_folder(missing, 0o2777 & ~self._umask, gid=self._gid)

    def _write_part(self, reader: CopySource, part: Path, sha256: str | None, progress: Progress) -> None:
        with open(part, "x+b") as sink:
            found = copy_hashed(reader, sink, progress)
        if sha256 is not None and found != sha256:
            raise HashMismatchError(
                f"{reader.name or part.name} changed while it was sent. Submit again when nothing writes to it any more."
            )

    def _publish(self, part: Path, target: Path, *, if_absent: bool, read_only: bool) -> bool:
        mode = (0o444 if read_only else 0o666) & ~self._umask
        os.chmod(part, mode)
        if not if_absent:
            replace(part, target)
            return True
        try:
            rename_new(part, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return create_exclusive(part, target, mode)
        return True

    def _rename(self, place: Path, goal: Path) -> None:
        """Rename so that an existing file is never replaced, where the file system can promise that."""
        if place.is_dir() or place.is_symlink():
            os.rename(place, goal)
            return
        try:
            rename_new(place, goal)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.rename(place, goal)

    def _clock_offset(self) -> float:
        """Compare the volume's clock with ours by a file that is made now; 0 where none can be made."""
        probe = self._root / f".clock-{secrets.token_hex(4)}{PART}"
        try:
            handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            return 0.0
        try:
            os.write(handle, b"x")  # now, not at the creation that a client may have delayed
            os.fsync(handle)
            offset = os.fstat(handle).st_mtime - time.time()
        except OSError:
            offset = 0.0
        finally:
            os.close(handle)
            probe.unlink(missing_ok=True)
        return offset if abs(offset) > 0.5 else 0.0

    @contextmanager
    def _errors(self, path: PurePosixPath) -> Iterator[None]:
        """Turn the system's errors into ours, with what to do."""
        try:
            yield
        except FileNotFoundError as error:
            raise NotFoundError(f"{path} is not on the farm's volume ({self._root}).", path=str(path)) from error
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "")
            reason = error.strerror or str(error)
            raise StoreError(f"{path} on the farm's volume ({self._root}): {reason}. {advice}".rstrip()) from error

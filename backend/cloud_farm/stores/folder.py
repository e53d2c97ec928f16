"""The folder store: a folder of this computer or a mounted share is the volume."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import HashMismatchError, NotFoundError, StoreError
from ..layout import ASSETS, TRASH, asset
from ..profile import FarmProfile
from . import StoreEntry

_BLOCK = 1 << 20
_PART = ".part"
_ADVICE = {
    errno.ENOSPC: "The volume is full. Free some space: cloud-farm delete --older-than 30d",
    errno.EDQUOT: "Your quota on the volume is used up. Free some space: cloud-farm delete --older-than 30d",
    errno.EACCES: "This user may not write there. Ask for the rights, or choose another folder in the farm's profile.",
    errno.EPERM: "This user may not write there. Ask for the rights, or choose another folder in the farm's profile.",
    errno.EROFS: "The volume is mounted read-only.",
    errno.ENOTDIR: "A part of that path is a file. Choose another folder in the farm's profile.",
    errno.ENAMETOOLONG: "The name is too long for this file system.",
}


def open_store(profile: FarmProfile) -> FolderStore:
    """Open the folder that the profile's volume is mounted at."""
    prefix = profile.volume.store_prefix.strip("/")
    root = Path(profile.volume.mount_path).expanduser()
    return FolderStore(root / prefix if prefix else root, umask=profile.volume.umask)


class FolderStore:
    """A volume that is a folder here. Every file appears under its name at once, whole and verified."""

    def __init__(self, root: Path, *, umask: int = 0o002) -> None:
        self._root = root
        self._umask = umask

    def list(self, folder: PurePosixPath) -> tuple[StoreEntry, ...]:
        """List a folder in order of names; an absent one is empty, unfinished files are not shown."""
        try:
            with self._errors(folder), os.scandir(self._path(folder)) as entries:
                found = [_entry(item) for item in entries if not item.name.endswith(_PART)]
        except NotFoundError:
            return ()
        return tuple(sorted((entry for entry in found if entry is not None), key=lambda entry: entry.name))

    def stat(self, path: PurePosixPath) -> StoreEntry | None:
        """Describe a path, None if it is absent."""
        try:
            with self._errors(path):
                found = self._path(path).stat()
        except NotFoundError:
            return None
        is_dir = stat.S_ISDIR(found.st_mode)
        return StoreEntry(path.name, 0 if is_dir else found.st_size, found.st_mtime, is_dir)

    def read(self, path: PurePosixPath, *, start: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file."""
        with self._errors(path), open(self._path(path), "rb") as stream:
            stream.seek(start)
            return stream.read() if length is None else stream.read(length)

    def get(self, path: PurePosixPath, target: Path, *, sha256: str | None = None) -> None:
        """Copy a file to this computer: a part beside `target`, verified, renamed over it."""
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_PART}")
        try:
            with self._reading(path) as source, open(part, "wb") as sink:
                found = _copy(source, sink)
            if sha256 is not None and found != sha256:
                raise HashMismatchError(
                    f"{path} on the volume is not what its record says. Render the frame again: cloud-farm retry --force"
                )
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)

    def put(
        self, source: Path | bytes, path: PurePosixPath, *, sha256: str | None = None, if_absent: bool = False
    ) -> bool:
        """Publish a file under its final name at once, whole and verified."""
        target = self._path(path)
        if if_absent and target.exists():
            return False
        part = target.with_name(f"{target.name[:200]}.{secrets.token_hex(4)}{_PART}")
        with self._errors(path):
            self._make_folder(target.parent)
            try:
                self._write_part(source, part, path, sha256)
                return self._publish(part, target, if_absent=if_absent, read_only=ASSETS in path.parents)
            finally:
                part.unlink(missing_ok=True)

    def present(self, sha256s: Iterable[str]) -> frozenset[str]:
        """Tell which assets the volume has: one listing for each of their folders."""
        wanted = set(sha256s)
        folders = {asset(sha256).parent for sha256 in wanted}
        return frozenset(wanted & {entry.name for folder in folders for entry in self.list(folder)})

    def move(self, source: PurePosixPath, target: PurePosixPath) -> None:
        """Rename within the volume; an existing target is an error."""
        with self._errors(source):
            goal = self._path(target)
            self._make_folder(goal.parent)
            if goal.exists():
                raise StoreError(f"{target} is there already; {source} was not moved.")
            os.rename(self._path(source), goal)

    def trash(self, path: PurePosixPath, *, job_id: str) -> None:
        """Move a file or folder to today's trash; absent is fine."""
        day = time.strftime("%Y-%m-%d", time.gmtime(self.server_time()))
        try:
            self.move(path, TRASH / day / job_id / f"{path.name}.{secrets.token_hex(4)}")
        except NotFoundError:
            return

    def free_space(self) -> int | None:
        """Bytes free on the volume, for this user."""
        folder = next((parent for parent in (self._root, *self._root.parents) if parent.is_dir()), Path("/"))
        return shutil.disk_usage(folder).free

    def server_time(self) -> float:
        """Seconds since 1970: a folder has this computer's clock."""
        return time.time()

    def _path(self, path: PurePosixPath) -> Path:
        """Return the file behind a store path.

        Raises:
            StoreError: The path is not plainly inside the volume.
        """
        if path.is_absolute() or ".." in path.parts or "\x00" in str(path):
            raise StoreError(f"{str(path)!r} is not a path inside the farm's volume.")
        return self._root.joinpath(*path.parts)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder whose group is inherited, so that submitter and renderers can both write."""
        for missing in [f for f in reversed((folder, *folder.parents)) if not f.exists()]:
            missing.mkdir(exist_ok=True)
            if os.name == "posix" and self._root in (missing, *missing.parents):
                missing.chmod(0o2777 & ~self._umask)

    def _write_part(self, source: Path | bytes, part: Path, path: PurePosixPath, sha256: str | None) -> None:
        with open(part, "wb") as sink:
            if isinstance(source, bytes):
                sink.write(source)
                found = hashlib.sha256(source).hexdigest()
            else:
                with open(source, "rb") as stream:
                    found = _copy(stream, sink)
            sink.flush()
            os.fsync(sink.fileno())
        if sha256 is not None and found != sha256:
            name = path if isinstance(source, bytes) else source
            raise HashMismatchError(
                f"{name} changed while it was sent. Submit again when nothing writes to it any more."
            )

    def _publish(self, part: Path, target: Path, *, if_absent: bool, read_only: bool) -> bool:
        mode = (0o444 if read_only else 0o666) & ~self._umask
        os.chmod(part, mode)
        if not if_absent:
            os.replace(part, target)
            return True
        try:
            os.link(part, target)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
        return _create_exclusive(part, target, mode)

    def _reading(self, path: PurePosixPath) -> IO[bytes]:
        with self._errors(path):
            return open(self._path(path), "rb")  # noqa: SIM115 - the caller closes it

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


def _entry(item: os.DirEntry[str]) -> StoreEntry | None:
    try:
        found = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None  # gone between listing and looking
    is_dir = item.is_dir(follow_symlinks=False)
    return StoreEntry(item.name, 0 if is_dir else found.st_size, found.st_mtime, is_dir)


def _copy(source: IO[bytes], sink: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
        sink.write(block)
    return digest.hexdigest()


def _create_exclusive(part: Path, target: Path, mode: int) -> bool:
    """The way of file systems without hard links: the name is taken first, then filled."""
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as sink, open(part, "rb") as source:
        shutil.copyfileobj(source, sink, _BLOCK)
        sink.flush()
        os.fsync(sink.fileno())
    return True

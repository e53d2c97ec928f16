"""The FileBrowser store: the farm's volume behind its web door. No kubectl, no share that is mounted here."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import HashMismatchError, NotFoundError, StoreError
from ..layout import JOBS, TRASH, asset
from ..platform import FileLock, replace, user_folders
from ..profile import FarmProfile
from . import Progress, StoreEntry, silent
from .file_copy import source_of
from .filebrowser_connection import Connection, Refused, quoted
from .filebrowser_download import Download, missing, read_range
from .filebrowser_publish import PART, exists, part_of, publish, publish_new, rename
from .filebrowser_settings import read_settings
from .filebrowser_upload import SMALL, Source, Upload, free_space, remove, same_file, verify
from .rate_limit import RateLimit

_CLOCK_SECONDS = 60.0


def open_store(profile: FarmProfile) -> FileBrowserStore:
    """Open the FileBrowser that the profile names; nothing is sent before the first call."""
    connection = Connection(read_settings(profile))
    return FileBrowserStore(connection, PurePosixPath(profile.volume.store_prefix.strip("/")))


class FileBrowserStore:
    """A volume behind a FileBrowser. Threads may share it."""

    def __init__(self, connection: Connection, prefix: PurePosixPath) -> None:
        self._connection = connection
        self._prefix = prefix
        self._limit = RateLimit(connection.settings.bytes_per_second)
        self._clock = (-_CLOCK_SECONDS, 0.0)
        self.connections = connection.settings.connections

    # -- look -------------------------------------------------------------------------------------------------------

    def list(self, folder: PurePosixPath) -> tuple[StoreEntry, ...]:
        """List a folder in order of names; an absent one is empty, unfinished files are not shown."""
        try:
            found = self._connection.json("GET", f"resources/{self._url(folder)}", refused=(404,))
        except Refused:
            return ()
        if not found.get("isDir"):
            raise StoreError(f"{folder} on the farm's volume is a file, not a folder.")
        entries = (_entry(item) for item in found.get("items") or () if not str(item["name"]).endswith(PART))
        return tuple(sorted(entries, key=lambda entry: entry.name))

    def stat(self, path: PurePosixPath) -> StoreEntry | None:
        """Describe a path, None if it is absent."""
        try:
            return _entry(self._connection.json("GET", f"resources/{self._url(path)}", refused=(404,)))
        except Refused:
            return None
        except StoreError:
            if self._is_below_a_file(path):
                return None
            raise

    def read(self, path: PurePosixPath, *, start: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file."""
        if length == 0:
            if self.stat(path) is None:
                raise missing(self._connection, path)
            return b""
        return read_range(self._connection, self._place(path), start, length)

    def present(self, assets: Mapping[str, int]) -> frozenset[str]:
        """Tell which assets the volume has in their right size: one listing for each of their folders."""
        folders = sorted({asset(sha256).parent for sha256 in assets})
        with ThreadPoolExecutor(max_workers=self.connections) as pool:
            sizes = {entry.name: entry.size for entries in pool.map(self.list, folders) for entry in entries}
        return frozenset(sha256 for sha256, size in assets.items() if sizes.get(sha256) == size)

    def free_space(self) -> int | None:
        """Bytes free on the volume."""
        found = free_space(self._connection, self._prefix)
        return found if found is not None else free_space(self._connection)

    def server_time(self) -> float:
        """Seconds since 1970 by the clock that gives the volume's files their times."""
        asked, offset = self._clock
        if time.monotonic() - asked > _CLOCK_SECONDS:
            offset = self._clock_offset()
            self._clock = (time.monotonic(), offset)
        return time.time() + offset

    # -- change -----------------------------------------------------------------------------------------------------

    def get(self, path: PurePosixPath, target: Path, *, sha256: str | None = None, progress: Progress = silent) -> None:
        """Copy a file to this computer: a part beside `target`, verified, renamed over it."""
        place = self._place(path)
        part = target.with_name(f".{secrets.token_hex(8)}{PART}")
        try:
            with open(part, "x+b") as sink:
                found = Download(self._connection, place, sink, limit=self._limit, progress=progress).run()
                sink.flush()
                os.fsync(sink.fileno())
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
        place = self._place(path)
        there = self.stat(path)
        if there is not None and (if_absent or there.is_dir):
            if if_absent:
                return False
            raise StoreError(f"{path} on the farm's volume is a folder; no file can take its place.")
        with _opened(source) as opened, self._part(place, opened.size) as part:
            self._send(opened, part, sha256, progress)
            if if_absent:
                return publish_new(self._connection, part, place)
            publish(self._connection, part, place)
            return True

    def move(self, source: PurePosixPath, target: PurePosixPath) -> None:
        """Rename within the volume; an existing target is an error."""
        place, goal = self._place(source), self._place(target)
        if not exists(self._connection, place):
            raise missing(self._connection, source)
        self._make_folder(goal.parent)  # without it the server would copy file by file
        if not rename(self._connection, place, goal, override=False):
            raise StoreError(f"{target} is there already; {source} was not moved.")

    def trash(self, path: PurePosixPath, *, job_id: str) -> None:
        """Move a file or folder to today's trash; absent is fine."""
        day = time.strftime("%Y-%m-%d", time.gmtime(self.server_time()))
        job = JOBS / job_id
        inside = path.relative_to(job) if job in path.parents else PurePosixPath(path.name)
        with contextlib.suppress(NotFoundError):
            self.move(path, TRASH / day / job_id / inside.parent / f"{inside.name}.{secrets.token_hex(4)}")

    def _is_below_a_file(self, path: PurePosixPath) -> bool:
        """The server says 500 to that, as to a broken disk."""
        if path == path.parent:
            return False
        parent = self.stat(path.parent)
        return parent is not None and not parent.is_dir

    # -- inner ------------------------------------------------------------------------------------------------------

    def _place(self, path: PurePosixPath) -> PurePosixPath:
        quoted(path)  # refuses what leads out, before anything is put in front
        return self._prefix / path

    def _url(self, path: PurePosixPath) -> str:
        return quoted(self._place(path))

    def _make_folder(self, folder: PurePosixPath) -> None:
        self._connection.call("POST", f"resources/{quoted(folder)}/")

    def _send(self, source: Source, part: PurePosixPath, sha256: str | None, progress: Progress) -> None:
        """Bring the bytes there and prove that they are the promised ones.

        Raises:
            HashMismatchError: The source is not, or not any more, what was promised.
        """
        changed = HashMismatchError(
            f"{source.name or part.name} changed while it was sent. Submit again when nothing writes to it any more."
        )
        before = os.fstat(source.stream.fileno()) if source.name else None
        found = source.sha256()
        if sha256 is not None and found != sha256:
            raise changed
        Upload(self._connection, source, part, limit=self._limit, progress=progress).run()
        if before is not None and not same_file(before, os.fstat(source.stream.fileno())):
            raise changed
        verify(self._connection, source, part, found)

    @contextmanager
    def _part(self, place: PurePosixPath, size: int) -> Iterator[PurePosixPath]:
        """Yield a part's path that nobody else uses now; it is removed unless it got its final name.

        A large file's part has the same name each time on this computer, so that an interrupted upload goes on; only when
        another process is just sending that very file a new name is drawn.
        """
        if size <= SMALL:
            part = part_of(place, secrets.token_hex(8))
            try:
                yield part
            except Exception:
                self._remove_quietly(part)
                raise
            return
        mark = hashlib.sha256(f"{_own_id()} {self._connection.settings.url} {place}".encode()).hexdigest()[:16]
        lock = FileLock(user_folders().state / "uploads" / f"{mark}.lock")
        mine = lock.acquire()
        part = part_of(place, mark if mine else secrets.token_hex(8))
        try:
            yield part
        except HashMismatchError:
            self._remove_quietly(part)
            raise
        finally:
            if mine:
                lock.release()

    def _remove_quietly(self, part: PurePosixPath) -> None:
        with contextlib.suppress(StoreError, Refused):
            remove(self._connection, part)

    def _clock_offset(self) -> float:
        """Compare the volume's clock with ours by a file that is made now; by the server's own where none can be made."""
        probe = self._prefix / f"clock-{secrets.token_hex(8)}{PART}"
        began = time.time()
        try:
            answer = self._connection.call("POST", f"resources/{quoted(probe)}", body=b"x")
        except StoreError:
            return 0.0
        middle = (began + time.time()) / 2
        self._remove_quietly(probe)
        dated = _time_of_etag(answer.headers.get("ETag", ""), size=1)
        if dated is None:
            dated = _time_of_header(answer.headers.get("Date", ""))
        offset = (dated or middle) - middle
        return offset if abs(offset) > 0.5 else 0.0


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Source]:
    with source_of(source) as reader:
        size = reader.stream.seek(0, io.SEEK_END)
        reader.stream.seek(0)
        yield Source(reader.stream, size, reader.name)


def _entry(item: Mapping[str, Any]) -> StoreEntry:
    is_dir = bool(item["isDir"])
    return StoreEntry(str(item["name"]), 0 if is_dir else int(item["size"]), _seconds(str(item["modified"])), is_dir)


def _seconds(text: str) -> float:
    """Read RFC 3339 with nanoseconds."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise StoreError(f"The server dates a file '{text}', which is no date.") from error


def _time_of_etag(etag: str, *, size: int) -> float | None:
    """FileBrowser's ETag is the time in nanoseconds and the size, both in hexadecimal."""
    text, tail = etag.strip('"'), f"{size:x}"
    try:
        return int(text.removesuffix(tail), 16) / 1e9 if text.endswith(tail) else None
    except ValueError:
        return None


def _time_of_header(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None


def _own_id() -> str:
    """A name for this user on this computer that stays the same."""
    note = user_folders().state / "client-id"
    try:
        return note.read_text(encoding="ascii")
    except (OSError, ValueError):
        made = uuid.uuid4().hex
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(made, encoding="ascii")
    except OSError:
        return made  # then an interrupted upload begins anew
    return made

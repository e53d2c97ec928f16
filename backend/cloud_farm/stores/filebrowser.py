"""The FileBrowser store: the farm's volume behind its web door. No kubectl, no share that is mounted here."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath

from ..errors import ExistsError, HashMismatchError, NotFoundError, StoreError
from ..layout import ASSETS, PART, TRASH
from ..platform import replace
from ..profile import FarmProfile
from . import Progress, StoreDescription, StoreEntry, Tail, silent
from .file_copy import part_beside
from .filebrowser_connection import Connection, Refused, quoted
from .filebrowser_delivery import deliver
from .filebrowser_download import Download, missing, read_range, read_tail
from .filebrowser_limit import request_limit
from .filebrowser_listing import checksum, entry_of, names, walk
from .filebrowser_publish import exists, part_of, publish, publish_new, rename
from .filebrowser_put import opened, part_for, remove_quietly
from .filebrowser_settings import read_settings
from .filebrowser_upload import free_space, remove
from .rate_limit import RateLimit
from .trash import trash_entry, trash_place

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
        self.poll_seconds = 2.0
        self.volume = f"{connection.settings.url} {connection.settings.user} {prefix}"

    # -- look -------------------------------------------------------------------------------------------------------

    def describe(self) -> StoreDescription:
        """Say which FileBrowser this is and what is in front of it."""
        settings, login = self._connection.settings, self._connection.login
        login.token()
        encrypted = settings.url.startswith("https:")
        return StoreDescription(login.program, settings.url, login.advice, encrypted, request_limit(settings))

    def list(self, folder: PurePosixPath, *, unfinished: bool = False) -> tuple[StoreEntry, ...]:
        """List a folder in order of names; an absent one is empty, unfinished files are only shown if asked for."""
        try:
            found = self._connection.json("GET", f"resources/{self._url(folder)}", refused=(404,))
        except Refused:
            return ()
        if not found.get("isDir"):
            raise StoreError(f"{folder} on the farm's volume is a file, not a folder.")
        entries = (entry_of(item) for item in found.get("items") or ())
        shown = (entry for entry in entries if unfinished or not entry.name.endswith(PART))
        return tuple(sorted(shown, key=lambda entry: entry.name))

    def names(self, folder: PurePosixPath, *, ending: str) -> tuple[str, ...]:
        """Return the names of files in a flat folder that end so."""
        return names(self._connection, self._place(folder), ending)

    def walk(self, folder: PurePosixPath) -> Iterator[tuple[PurePosixPath, StoreEntry]]:
        """Yield all that lies below a folder; one request where the server can list a tree."""

        def list_folder(below: PurePosixPath) -> tuple[StoreEntry, ...]:
            return self.list(folder / below, unfinished=True)

        return ((folder / path, entry) for path, entry in walk(self._connection, self._place(folder), list_folder))

    def stat(self, path: PurePosixPath) -> StoreEntry | None:
        """Describe a path, None if it is absent."""
        try:
            return entry_of(self._connection.json("GET", f"resources/{self._url(path)}", refused=(404,)))
        except Refused:
            return None
        except StoreError as error:
            # Only the plain kind, a 500, may mean that: who can't be reached need not be asked about every folder above.
            if type(error) is StoreError and self._is_below_a_file(path):
                return None
            raise

    def read(self, path: PurePosixPath, *, start: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file."""
        if length == 0:
            if self.stat(path) is None:
                raise missing(self._connection, path)
            return b""
        return read_range(self._connection, self._place(path), start, length)

    def tail(self, path: PurePosixPath, *, known: int, most: int) -> Tail:
        """Read what a growing file has beyond its first `known` bytes."""
        return read_tail(self._connection, self._place(path), known, most)

    def sha256(self, path: PurePosixPath) -> str:
        """Hash a file on the server."""
        return checksum(self._connection, self._place(path))

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
        part = part_beside(target)
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
        by_hash = ASSETS in path.parents and not if_absent
        if not by_hash and not self._may_put(path, if_absent=if_absent):
            return False
        with opened(source) as found, part_for(self._connection, place, found.size) as part:
            promised = sha256 or found.sha256()
            deliver(self._connection, found, part, sha256=promised, limit=self._limit, progress=progress)
            if not if_absent:
                publish(self._connection, part, place)
            elif not publish_new(self._connection, part, place):
                remove_quietly(self._connection, part)
                return False
            return True

    def move(self, source: PurePosixPath, target: PurePosixPath) -> None:
        """Rename within the volume; an existing target is an error.

        By way of a name of our own: of two renames to one target the server lets both through, and what comes second
        removes what came first if it fails.
        """
        place, goal = self._place(source), self._place(target)
        taken = ExistsError(f"{target} is there already; {source} was not moved.")
        if not exists(self._connection, place):
            raise missing(self._connection, source)
        if exists(self._connection, goal):
            raise taken
        self._make_folder(goal.parent)  # without it the server would copy file by file
        between = part_of(place, secrets.token_hex(8))
        rename(self._connection, place, between, override=False)
        if not publish_new(self._connection, between, goal):
            rename(self._connection, between, place, override=False)
            raise taken

    def trash(self, path: PurePosixPath, *, job_id: str) -> PurePosixPath | None:
        """Move a file or folder to today's trash; absent is fine."""
        place, kept = self._place(path), trash_place(path, job_id, self.server_time())
        if not exists(self._connection, place):
            return None
        self._make_folder(self._place(kept.parent))
        try:
            rename(self._connection, place, self._place(kept), override=False)
        except NotFoundError:
            return None  # somebody else was faster
        return kept

    def empty_trash(self, name: str) -> None:
        """Delete one entry of the trash for good; absent is fine."""
        entry = trash_entry(name)
        with contextlib.suppress(NotFoundError):
            if self._connection.json("GET", f"resources/{self._url(TRASH)}").get("isSymlink"):
                raise StoreError(
                    f"{TRASH} on the farm's volume is a link, so what lies there may not be ours. Remove it."
                )
            remove(self._connection, self._place(entry))

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

    def _may_put(self, path: PurePosixPath, *, if_absent: bool) -> bool:
        """Tell whether a file may come to a path.

        Raises:
            StoreError: A folder is there.
        """
        there = self.stat(path)
        if there is not None and there.is_dir and not if_absent:
            raise StoreError(f"{path} on the farm's volume is a folder; no file can take its place.")
        return there is None or not if_absent

    def _clock_offset(self) -> float:
        """Compare the volume's clock with ours by a file that is made now; by the server's own where none can be made."""
        probe = self._prefix / f"clock-{secrets.token_hex(8)}{PART}"
        try:
            answer = self._connection.call("POST", f"resources/{quoted(probe)}?override=true", body=b"x")
        except StoreError:
            answer = self._connection.call("GET", "usage/")
        middle = time.time() - answer.elapsed.total_seconds() / 2
        remove_quietly(self._connection, probe)
        dated = _time_of_etag(answer.headers.get("ETag", ""), size=1)
        if dated is None:
            dated = _time_of_header(answer.headers.get("Date", ""))
        offset = (dated or middle) - middle
        return offset if abs(offset) > 0.5 else 0.0


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

"""Bringing one file's bytes to a FileBrowser: its own dialect of TUS, resumed wherever it broke.

An upload is registered in the server's memory, and the registration ends three minutes after the last sign of life: then
the server deletes the file. After a restart the registration is gone and the file stays, of no use. A finished one answers
404, as a lost one does. Two writers at one offset both succeed, and the file is too long. So: a name that nobody else uses,
the offset read twice before going on, a sign of life while we wait, and every byte verified at the end.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from ..errors import HashMismatchError, NotFoundError, StoreError, StoreFullError, StoreUnreachableError
from . import Progress
from .filebrowser_connection import Connection, Refused, quoted
from .rate_limit import RateLimit

_MIB = 1 << 20
SMALL = 4 * _MIB
"""A file of this size is sent by one request; a larger one in pieces that can be resumed."""
_FIRST_PIECE, _LEAST_PIECE, _MOST_PIECE = 16 * _MIB, 64 << 10, 1024 * _MIB
_PIECE_SECONDS = 8.0
"""How long a piece should take: a proxy that collects it first must be done within the three minutes."""
_SIGN_OF_LIFE_SECONDS = 60.0
_SETTLED_SECONDS = 1.0
_MOST_BREAKS, _MOST_RESTARTS = 30, 3
_BLOCK = 256 << 10
_ROOT = PurePosixPath()


@dataclass
class Source:
    """What is sent.

    Attributes:
        stream: Open for reading, seekable.
        size: Bytes.
        name: What people call it; empty for our own data.
    """

    stream: IO[bytes]
    size: int
    name: str

    def read(self, length: int) -> bytes:
        """Read, or say that this computer's file can't be read."""
        try:
            return self.stream.read(length)
        except OSError as error:
            raise StoreError(
                f"{self.name} can't be read: {error.strerror or error}. Check the disk or the share."
            ) from error

    def sha256(self) -> str:
        """Hash all of it, and go back to its beginning."""
        self.stream.seek(0)
        digest = hashlib.sha256()
        while block := self.read(_MIB):
            digest.update(block)
        self.stream.seek(0)
        return digest.hexdigest()


class Upload:
    """Sends one source to one part on the server.

    Args:
        part: The part's path; no other upload may use it at the same time.
    """

    def __init__(
        self, connection: Connection, source: Source, part: PurePosixPath, *, limit: RateLimit, progress: Progress
    ) -> None:
        self._connection = connection
        self._source = source
        self._part = part
        self._url = f"tus/{quoted(part)}"
        self._limit = limit
        self._progress = progress
        self._told = 0
        self._piece = _FIRST_PIECE

    def run(self) -> None:
        """Bring every byte there; what an interrupted run left is taken over.

        Raises:
            StoreError: It can't be done; says why.
        """
        if self._source.size <= SMALL:
            self._send_whole()
            return
        with self._sign_of_life():
            for _ in range(_MOST_RESTARTS):
                offset = self._begin()
                if self._send_from(offset):
                    return
        raise StoreUnreachableError(
            f"{self._connection.settings.url} lost the upload of {self._source.name or self._part.name} {_MOST_RESTARTS} times."
            " Does a proxy in front hold requests back for minutes? Try again later."
        )

    # -- small files ------------------------------------------------------------------------------------------------

    def _send_whole(self) -> None:
        """One request; an interrupted one leaves nothing. The name is ours alone, so replacing it harms nobody."""
        self._source.stream.seek(0)
        content = self._source.read(self._source.size)
        self._limit.take(len(content))
        self._progress(0)
        try:
            self._connection.call("POST", f"resources/{quoted(self._part)}?override=true", body=content)
        except StoreError as error:
            self._check_room(len(content), error)
            raise
        self._progress(len(content))

    # -- large files ------------------------------------------------------------------------------------------------

    def _begin(self) -> int:
        """Register the upload; returns the offset to go on from: more than 0 if an earlier run left bytes."""
        try:
            self._connection.call(
                "POST", self._url, expect=(201,), refused=(409,), headers={"Upload-Length": str(self._source.size)}
            )
        except Refused:
            offset = self._settled_offset()
            if offset is not None and offset <= self._source.size:
                return offset
            # Its registration is gone, or it is of another size: only removing it helps.
            remove(self._connection, self._part)
            self._connection.call("POST", self._url, expect=(201,), headers={"Upload-Length": str(self._source.size)})
        return 0

    def _send_from(self, offset: int) -> bool:
        """Send the rest; False if the server lost the upload and it must begin anew."""
        breaks = 0
        while True:
            if offset >= self._source.size:
                return True
            self._tell(offset)
            reached = self._send_piece(offset)
            if reached is None:
                breaks += 1
                if breaks > _MOST_BREAKS:
                    raise StoreUnreachableError(
                        f"The upload of {self._source.name or self._part.name} broke {breaks} times. Try again: what is there is kept."
                    )
                self._connection.back_off(min(breaks, 6))
                reached = self._settled_offset()
                if reached is None:
                    return self._is_complete()
            else:
                breaks = 0
            offset = reached

    def _send_piece(self, offset: int) -> int | None:
        """Send a piece; returns the next offset, None if nobody knows how far it came."""
        length = min(self._piece, self._source.size - offset)
        began = time.monotonic()
        try:
            response = self._connection.call(
                "PATCH",
                self._url,
                expect=(204,),
                refused=(404, 408, 409, 413, 429, 500, 502, 503, 504),
                body=lambda: PieceReader(self._source, offset, length, self._limit, self._tell),
                headers={"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)},
                again=False,
            )
        except Refused as refused:
            if refused.status == 413:
                self._shrink()
            if refused.status == 500:
                self._check_room(self._source.size - offset, refused)
            return None
        except StoreUnreachableError:
            return None
        self._fit(length, time.monotonic() - began)
        told = response.headers.get("Upload-Offset", "")
        return offset + length if told == str(offset + length) else None

    def _tell(self, reached: int) -> None:
        """Tell how far we are; after a break that may be less than before."""
        self._told, moved = reached, reached - self._told
        self._progress(moved)

    def _check_room(self, needed: int, problem: Exception) -> None:
        """FileBrowser says 500 for a full volume, as for everything else: look which it is."""
        free = free_space(self._connection)
        if free is not None and free < needed:
            raise StoreFullError(
                f"The farm's volume is full: {free >> 20} MiB are free, {self._source.name or self._part.name} needs {needed >> 20} MiB more."
                " Free some space: cloud-farm delete --older-than 30d"
            ) from problem

    def _shrink(self) -> None:
        """A proxy takes no request of this size."""
        if self._piece <= _LEAST_PIECE:
            raise StoreError(
                f"A proxy in front of {self._connection.settings.url} takes no request of {self._piece >> 10} KiB."
                " Raise its limit (nginx: client_max_body_size 0)."
            )
        self._piece = max(self._piece // 2, _LEAST_PIECE)

    def _fit(self, length: int, seconds: float) -> None:
        """Choose the next piece's size by how long this one took; never more than twice as large."""
        ideal = int(length * _PIECE_SECONDS / max(seconds, 0.01))
        if length == self._piece or ideal < self._piece:
            self._piece = max(_LEAST_PIECE, min(ideal, 2 * self._piece, _MOST_PIECE))

    def _settled_offset(self) -> int | None:
        """Return the offset once nobody writes any more; None if the server doesn't know the upload."""
        last = self._offset()
        while last is not None:
            self._connection.sleep(_SETTLED_SECONDS)
            now = self._offset()
            if now == last:
                return now
            last = now
        return None

    def _offset(self) -> int | None:
        try:
            # GET says what HEAD says, and some proxies let no HEAD through.
            answer = self._connection.call("GET", self._url, refused=(404,))
        except Refused:
            return None
        text = answer.headers.get("Upload-Offset", "")
        registered = answer.headers.get("Upload-Length", "")
        return int(text) if text.isdigit() and registered == str(self._source.size) else None

    def _is_complete(self) -> bool:
        """A finished upload is as unknown to the server as a lost one: the size tells."""
        try:
            found = self._connection.json("GET", f"resources/{quoted(self._part)}")
        except NotFoundError:
            return False
        return int(found.get("size", -1)) == self._source.size

    @contextmanager
    def _sign_of_life(self) -> Iterator[None]:
        """Ask for the offset once a minute, for as long as a pause or a slow line lasts."""
        over = threading.Event()

        def live() -> None:
            while not over.wait(_SIGN_OF_LIFE_SECONDS):
                try:
                    self._connection.call("GET", self._url, refused=(404,), again=False)
                except (StoreError, Refused):
                    continue  # the upload itself will meet the reason

        thread = threading.Thread(target=live, name="sign of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()


class PieceReader:
    """A part of a source as the body of a request: knows its length, and hands out large blocks."""

    def __init__(self, source: Source, offset: int, length: int, limit: RateLimit, tell: Progress) -> None:
        self._source = source
        self._offset = offset
        self._length = self._left = length
        self._limit = limit
        self._tell = tell
        source.stream.seek(offset)

    def __len__(self) -> int:
        return self._length

    def read(self, _size: int = -1) -> bytes:
        """Return the next block; http.client would ask for 16 KiB, which costs twice the time."""
        block = self._source.read(min(_BLOCK, self._left))
        if not block and self._left:
            raise StoreError(
                f"{self._source.name} became shorter while it was sent. Submit again when nothing writes to it."
            )
        self._limit.take(len(block))
        self._left -= len(block)
        self._offset += len(block)
        if block:
            self._tell(self._offset)
        return block


def free_space(connection: Connection, folder: PurePosixPath = _ROOT) -> int | None:
    """Bytes free where a folder lies; None if the server doesn't tell."""
    try:
        usage = connection.json("GET", f"usage/{quoted(folder)}", refused=(404, 500))
    except (Refused, StoreError):
        return None
    total = int(usage.get("total", 0))
    return total - int(usage.get("used", 0)) if total else None


def remove(connection: Connection, path: PurePosixPath) -> None:
    """Delete a part of ours; gone already is fine."""
    try:
        connection.call("DELETE", f"resources/{quoted(path)}", expect=(204, 200), refused=(404,))
    except Refused:
        return


def verify(connection: Connection, source: Source, part: PurePosixPath, sha256: str) -> None:
    """Prove that the server's bytes are ours.

    Raises:
        HashMismatchError: They are not.
    """
    found = connection.json("GET", f"resources/{quoted(part)}?checksum=sha256")
    stored = str((found.get("checksums") or {}).get("sha256", ""))
    if stored != sha256:
        raise HashMismatchError(
            f"{connection.settings.url} stored other bytes than were sent for {source.name or part.name}. Try again; if it happens again, check the volume."
        )


def same_file(before: os.stat_result, after: os.stat_result) -> bool:
    """Tell whether a file of this computer was left alone between two looks."""
    return (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, after.st_ino)

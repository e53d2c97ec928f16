"""Bringing one file's bytes to a FileBrowser: its own dialect of TUS, resumed wherever it broke.

An upload is registered in the server's memory, and the registration ends three minutes after the last sign of life: then
the server deletes the file. After a restart the registration is gone and the file stays, of no use. A finished one answers
404, as a lost one does. Two writers at one offset both succeed, and the file is too long. So: a name that nobody else uses,
the offset read twice before going on, a sign of life while we wait, and every byte verified at the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from ..errors import NotFoundError, StoreError, StoreFullError, StoreUnreachableError
from . import Progress
from .filebrowser_connection import Connection, Refused, quoted
from .filebrowser_pieces import LEAST
from .filebrowser_source import PieceReader, Source
from .rate_limit import RateLimit

_MIB = 1 << 20
SMALL = 4 * _MIB
"""A file of this size is sent by one request; a larger one in pieces that can be resumed."""
_SIGN_OF_LIFE_SECONDS = 60.0
_SETTLED_SECONDS = 1.0
_MOST_BREAKS, _MOST_RESTARTS = 30, 3
_ROOT = PurePosixPath()


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
        self._pieces = connection.pieces

    def run(self) -> None:
        """Bring every byte there; what an interrupted run left is taken over.

        Raises:
            StoreError: It can't be done; says why.
        """
        if self._source.size <= min(SMALL, self._pieces.most) and self._send_whole():
            return
        with self._sign_of_life():
            for _ in range(_MOST_RESTARTS):
                offset = self._begin()
                if self._send_from(offset):
                    return
        raise StoreUnreachableError(
            f"{self._connection.settings.url} lost the upload of {self._what} {_MOST_RESTARTS} times."
            " Does a proxy in front hold requests back for minutes? Try again later."
        )

    @property
    def _what(self) -> str:
        return self._source.name or self._part.name

    # -- small files ------------------------------------------------------------------------------------------------

    def _send_whole(self) -> bool:
        """One request; an interrupted one leaves nothing. The name is ours alone, so replacing it harms nobody.

        Returns:
            False if it had better go in pieces: a proxy takes no request of this size, or the line broke.
        """
        size = self._source.size
        divisible = size > LEAST
        url = f"resources/{quoted(self._part)}?override=true"
        self._tell(0)
        try:
            self._connection.call("POST", url, refused=(413,), body=lambda: self._reader(0, size), again=not divisible)
        except Refused:
            self._refused(size)
            return False
        except StoreUnreachableError:
            if divisible:
                return False
            raise
        except StoreError as error:
            self._check_room(size, error)
            raise
        return True

    # -- large files ------------------------------------------------------------------------------------------------

    def _begin(self) -> int:
        """Register the upload; returns the offset to go on from: more than 0 if an earlier run left bytes."""
        for _ in range(_MOST_RESTARTS):
            if self._create():
                return 0
            offset = self._settled_offset()
            if offset is not None and offset <= self._source.size:
                return offset
            if self._is_complete():
                return self._source.size
            remove(self._connection, self._part)  # without its registration nothing can be added to it
        raise StoreUnreachableError(f"{self._part} on the farm's volume comes back whenever it is removed. Try again.")

    def _create(self) -> bool:
        """Ask for an upload; False if the part is there: of an earlier run, or because the answer was lost."""
        headers = {"Upload-Length": str(self._source.size)}
        try:
            self._connection.call("POST", self._url, expect=(201,), refused=(409,), headers=headers)
        except Refused:
            return False
        return True

    def _send_from(self, offset: int) -> bool:
        """Send the rest; False if the server knows nothing of the upload any more: it is lost, or it is complete."""
        breaks = 0
        while offset < self._source.size:
            self._tell(offset)
            reached = self._send_piece(offset)
            if reached is None:
                breaks += 1
                reached = self._after_break(offset, breaks)
            if reached is None:
                return False
            if reached > offset:
                breaks = 0
            offset = reached
        self._tell(offset)
        return True

    def _after_break(self, offset: int, breaks: int) -> int | None:
        """Find out where to go on; None if the server does not know the upload."""
        if breaks > _MOST_BREAKS:
            raise StoreUnreachableError(
                f"The upload of {self._what} broke {breaks} times at the same place. Try again: what is there is kept for 3 minutes."
            )
        self._connection.back_off(min(breaks, 6))
        try:
            reached = self._settled_offset()
        except StoreUnreachableError:
            return offset  # the next try tells; a server that is started again has some minutes
        if reached is not None:
            self._pieces.broke(reached - offset)
        return reached

    def _send_piece(self, offset: int) -> int | None:
        """Send a piece; returns the next offset, None if nobody knows how far it came."""
        length = min(self._pieces.bytes, self._source.size - offset)
        began = time.monotonic()
        try:
            response = self._connection.call(
                "PATCH",
                self._url,
                expect=(204,),
                refused=(404, 408, 409, 413, 429, 500, 502, 503, 504),
                body=lambda: self._reader(offset, length),
                headers={"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)},
                again=False,
            )
        except Refused as refused:
            if refused.status == 413:
                self._refused(length)
                return offset
            if refused.status == 500:
                self._check_room(self._source.size - offset, refused)
            return None
        except StoreUnreachableError:
            return None
        self._pieces.took(length, time.monotonic() - began)
        told = response.headers.get("Upload-Offset", "")
        return offset + length if told == str(offset + length) else None

    def _reader(self, offset: int, length: int) -> PieceReader:
        return PieceReader(self._source, offset, length, block=self._pieces.block, limit=self._limit, tell=self._tell)

    def _tell(self, reached: int) -> None:
        """Tell how far we are; after a break that may be less than before."""
        self._told, moved = reached, reached - self._told
        self._progress(moved)

    def _check_room(self, needed: int, problem: Exception) -> None:
        """FileBrowser says 500 for a full volume, as for everything else: look which it is."""
        free = free_space(self._connection)
        if free is not None and free < needed:
            raise StoreFullError(
                f"The farm's volume is full: {free >> 20} MiB are free, {self._what} needs {needed >> 20} MiB more."
                " Free some space: cloud-farm delete --older-than 30d"
            ) from problem

    def _refused(self, length: int) -> None:
        """A proxy takes no request of this size."""
        if not self._pieces.refused(length):
            raise StoreError(
                f"A proxy in front of {self._connection.settings.url} takes no request of {length >> 10} KiB."
                " Raise its limit (nginx: client_max_body_size 0)."
            )

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


def free_space(connection: Connection, folder: PurePosixPath = _ROOT) -> int | None:
    """Bytes free where a folder lies; None if the server doesn't tell."""
    try:
        usage = connection.json("GET", f"usage/{quoted(folder)}", refused=(404, 500))
    except (Refused, StoreError):
        return None
    total = int(usage.get("total", 0))
    return total - int(usage.get("used", 0)) if total else None


def remove(connection: Connection, path: PurePosixPath, *, again: bool = True) -> None:
    """Delete a part of ours; gone already is fine."""
    try:
        connection.call("DELETE", f"resources/{quoted(path)}", expect=(204, 200), refused=(404,), again=again)
    except Refused:
        return

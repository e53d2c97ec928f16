"""Bringing one file from a FileBrowser: in ranges, resumed where it broke, hashed on the way."""

from __future__ import annotations

import hashlib
import re
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from typing import IO

import requests
import urllib3

from ..errors import NotFoundError, StoreError, StoreUnreachableError
from . import Progress, Tail
from .filebrowser_connection import Connection, Refused, quoted
from .rate_limit import RateLimit

_BLOCK = 1 << 20
_MOST_BREAKS = 10
_TELLING_SECONDS = 2
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)
"""What a broken answer raises; old versions of requests let some of urllib3's through."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def read_range(connection: Connection, path: PurePosixPath, start: int, length: int | None) -> bytes:
    """Read bytes from `start`; fewer than `length` at the end.

    Raises:
        NotFoundError: No such file.
    """
    breaks = 0
    while True:
        try:
            return _read_range(connection, path, start, length)
        except _BROKEN as error:
            breaks += 1
            if breaks > _MOST_BREAKS:
                raise StoreUnreachableError(f"{connection.settings.url} sent half of {path}. Try again.") from error
            connection.back_off(breaks)


def _read_range(connection: Connection, path: PurePosixPath, start: int, length: int | None) -> bytes:
    end = "" if length is None else str(start + length - 1)
    headers = {"Range": f"bytes={start}-{end}"}
    url = f"raw/{quoted(path)}"
    try:
        answer = connection.call("GET", url, expect=(200, 206), refused=(404, 416), headers=headers, stream=True)
    except Refused as refused:
        if refused.status == 416:
            return b""
        raise missing(connection, path) from refused
    with answer:
        refuse_archive(answer, path)
        skip = start if answer.status_code == 200 else 0  # a proxy that knows no ranges sends everything
        left = int(answer.headers["Content-Length"]) - skip
        wanted = max(left if length is None else min(left, length), 0)
        content = _taken(answer, skip, wanted)
    if len(content) < wanted:
        raise requests.ConnectionError("The connection ended early")
    return content


def _taken(answer: requests.Response, skip: int, wanted: int) -> bytes:
    """Take so many bytes after so many others, and no more into memory than that."""
    blocks, have = [], 0
    for block in answer.iter_content(_BLOCK):
        skipped = min(skip, len(block))
        skip -= skipped
        useful = block[skipped : skipped + wanted - have]
        blocks.append(useful)
        have += len(useful)
        if have == wanted:
            break
    return b"".join(blocks)


def read_tail(connection: Connection, path: PurePosixPath, known: int, most: int) -> Tail:
    """Read what a growing file has beyond its first `known` bytes, at most its last `most` bytes.

    Raises:
        NotFoundError: No such file.
    """
    wanted = f"{known}-" if known else f"-{most}"
    try:
        answer = connection.call(
            "GET",
            f"raw/{quoted(path)}",
            expect=(200, 206),
            refused=(404, 416),
            headers={"Range": f"bytes={wanted}"},
        )
    except Refused as refused:
        if refused.status == 416:
            return Tail(b"", known)
        raise missing(connection, path) from refused
    refuse_archive(answer, path)
    span = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    size = int(span[2]) if span is not None else len(answer.content)
    return Tail(answer.content[-most:] if span is not None else answer.content[known:][-most:], size)


class Download:
    """One file on its way to this computer."""

    def __init__(
        self, connection: Connection, path: PurePosixPath, sink: IO[bytes], *, limit: RateLimit, progress: Progress
    ) -> None:
        self._connection = connection
        self._path = path
        self._sink = sink
        self._limit = limit
        self._progress = progress
        self._digest = hashlib.sha256()
        self._done = 0
        self._total: int | None = None
        self._modified = ""

    def run(self) -> str:
        """Fetch everything; returns the sha256 of what is in the sink.

        Raises:
            NotFoundError: No such file.
            StoreError: It can't be read, or it changed on the way more often than is reasonable.
            OSError: The sink can't be written.
        """
        breaks = 0
        while self._total is None or self._done < self._total:
            before = self._done
            try:
                self._take_some()
            except (*_BROKEN, StoreUnreachableError) as error:
                breaks = 0 if self._done > before else breaks + 1
                if breaks > _MOST_BREAKS:
                    raise StoreUnreachableError(
                        f"The download of {self._path} from {self._connection.settings.url} broke {breaks} times. Try again."
                    ) from error
                self._connection.back_off(breaks)
        return self._digest.hexdigest()

    def _take_some(self) -> None:
        if self._done and not self._modified:
            self._restart()
        headers = {"Range": f"bytes={self._done}-"}
        if self._modified:
            headers["If-Range"] = self._modified  # another file by now: all of it comes
        try:
            answer = self._connection.call(
                "GET", f"raw/{quoted(self._path)}", expect=(200, 206), refused=(404, 416), headers=headers, stream=True
            )
        except Refused as refused:
            if refused.status == 416:
                self._restart()
                raise StoreUnreachableError(f"{self._path} became shorter while it was fetched.") from refused
            raise missing(self._connection, self._path) from refused
        with answer:
            refuse_archive(answer, self._path)
            self._begin(answer)
            for block in answer.iter_content(_BLOCK):
                self._limit.take(len(block))
                self._sink.write(block)
                self._digest.update(block)
                self._done += len(block)
                self._progress(len(block))
        if self._total is not None and self._done < self._total:
            raise StoreUnreachableError("The connection ended early.")

    def _begin(self, answer: requests.Response) -> None:
        """Fit what comes to what is there."""
        span = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status_code == 200:
            self._restart()
            self._total = int(answer.headers["Content-Length"])
        elif span is not None and int(span[1]) == self._done and self._total in (None, int(span[2])):
            self._total = int(span[2])
        else:
            self._restart()
            raise StoreUnreachableError(f"{self._path} changed while it was fetched.")
        self._modified = _telling_date(answer)

    def _restart(self) -> None:
        self._sink.seek(0)
        self._sink.truncate()
        self._digest = hashlib.sha256()
        self._progress(-self._done)
        self._done, self._total, self._modified = 0, None, ""


def _telling_date(answer: requests.Response) -> str:
    """The date of the file, empty if it is so new that the next version could have the same: dates have no fractions."""
    modified = answer.headers.get("Last-Modified", "")
    try:
        age = parsedate_to_datetime(answer.headers.get("Date", "")) - parsedate_to_datetime(modified)
    except (TypeError, ValueError):
        return ""
    return modified if age.total_seconds() >= _TELLING_SECONDS else ""


def missing(connection: Connection, path: PurePosixPath) -> NotFoundError:
    """The error for a path that is not there."""
    return NotFoundError(f"{path} is not on the farm's volume ({connection.settings.url}).", path=str(path))


def refuse_archive(answer: requests.Response, path: PurePosixPath) -> None:
    """A folder comes as a zip, which ends early without a word: never what we want. It has no date, as files have."""
    is_file = "Accept-Ranges" in answer.headers or "Last-Modified" in answer.headers
    if answer.status_code != 206 and not (is_file and "Content-Length" in answer.headers):
        answer.close()
        raise StoreError(f"{path} on the farm's volume is a folder, not a file.")

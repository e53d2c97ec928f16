"""Bringing one file from a FileBrowser: in ranges, resumed where it broke, hashed on the way."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import IO

import requests

from ..errors import NotFoundError, StoreError, StoreUnreachableError
from . import Progress
from .filebrowser_connection import Connection, Refused, quoted
from .rate_limit import RateLimit

_BLOCK = 1 << 20
_MOST_BREAKS = 10
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def read_range(connection: Connection, path: PurePosixPath, start: int, length: int | None) -> bytes:
    """Read bytes from `start`; fewer than `length` at the end.

    Raises:
        NotFoundError: No such file.
    """
    end = "" if length is None else str(start + length - 1)
    try:
        answer = connection.call(
            "GET",
            f"raw/{quoted(path)}",
            expect=(200, 206),
            refused=(404, 416),
            headers={"Range": f"bytes={start}-{end}"},
        )
    except Refused as refused:
        if refused.status == 416:
            return b""
        raise missing(connection, path) from refused
    refuse_archive(answer, path)
    content = answer.content
    if len(content) != int(answer.headers["Content-Length"]):  # old versions of urllib3 don't look
        raise StoreUnreachableError(f"{connection.settings.url} sent half of {path}. Try again.")
    if answer.status_code == 200:  # a proxy that knows no ranges
        content = content[start:]
    return content if length is None else content[:length]


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
            except (requests.RequestException, StoreUnreachableError) as error:
                breaks = 0 if self._done > before else breaks + 1
                if breaks > _MOST_BREAKS:
                    raise StoreUnreachableError(
                        f"The download of {self._path} from {self._connection.settings.url} broke {breaks} times. Try again."
                    ) from error
                self._connection.back_off(breaks)
        return self._digest.hexdigest()

    def _take_some(self) -> None:
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
                return
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
        self._modified = answer.headers.get("Last-Modified", "")

    def _restart(self) -> None:
        self._sink.seek(0)
        self._sink.truncate()
        self._digest = hashlib.sha256()
        self._progress(-self._done)
        self._done, self._total, self._modified = 0, None, ""


def missing(connection: Connection, path: PurePosixPath) -> NotFoundError:
    """The error for a path that is not there."""
    return NotFoundError(f"{path} is not on the farm's volume ({connection.settings.url}).", path=str(path))


def refuse_archive(answer: requests.Response, path: PurePosixPath) -> None:
    """A folder comes as a zip without a length, which ends early without a word: never what we want."""
    if "Content-Length" not in answer.headers:
        answer.close()
        raise StoreError(f"{path} on the farm's volume is a folder, not a file.")

"""Bringing a file to a FileBrowser for sure: sent, then proven to be there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import PurePosixPath

from ..errors import HashMismatchError, NotFoundError, StoreUnreachableError
from . import Progress
from .filebrowser_connection import Connection, quoted
from .filebrowser_download import read_range
from .filebrowser_listing import checksum
from .filebrowser_source import Source
from .filebrowser_upload import Upload, remove
from .rate_limit import RateLimit

_QUICK_TO_HASH = 256 << 20
"""Up to here a server hashes within a proxy's patience: a lost answer is worth another try."""
_WINDOW, _WINDOWS = 1 << 20, 8


def deliver(
    connection: Connection,
    source: Source,
    part: PurePosixPath,
    *,
    sha256: str,
    limit: RateLimit,
    progress: Progress,
) -> None:
    """Bring a source to a part and prove that its bytes are there; what does not agree is sent anew, once.

    Args:
        sha256: What the source was promised to hash to. The server's bytes are compared with it, so the source is read once.

    Raises:
        HashMismatchError: The source changed meanwhile, or the server keeps other bytes than it was given.
        StoreError: It can't be done; says why.
    """
    for last in (False, True):
        Upload(connection, source, part, limit=limit, progress=progress).run()
        if not source.is_unchanged():
            raise source.changed()
        try:
            verify(connection, source, part, sha256)
            return
        except (HashMismatchError, NotFoundError):
            if source.sha256() != sha256:
                raise source.changed() from None
            # What an earlier run left was another file's; or a request that we gave up arrived after all.
            if last:
                raise
        remove(connection, part)
        progress(-source.size)


def verify(connection: Connection, source: Source, part: PurePosixPath, sha256: str) -> None:
    """Prove that the server's bytes are ours: by a hash of all, or by samples where a proxy has no patience for that.

    Samples find what can go wrong on the way: pieces that are missing or doubled move all that follows.

    Raises:
        HashMismatchError: They are not.
    """
    again = source.size <= _QUICK_TO_HASH
    try:
        same = checksum(connection, part, again=again) == sha256
    except StoreUnreachableError:
        same = source.sha256() == sha256 and _samples_agree(connection, source, part)
    if not same:
        raise HashMismatchError(
            f"{connection.settings.url} stored other bytes than were sent for {source.name or part.name}."
            " Try again; if it happens again, check the volume."
        )


def _samples_agree(connection: Connection, source: Source, part: PurePosixPath) -> bool:
    found = connection.json("GET", f"resources/{quoted(part)}")
    if int(found.get("size", -1)) != source.size:
        return False
    for start in _sample_starts(source.size):
        source.stream.seek(start)
        if read_range(connection, part, start, _WINDOW) != source.read(_WINDOW):
            return False
    return True


def _sample_starts(size: int) -> Iterator[int]:
    """Begin, end, and some places between; all of a file that is small."""
    last = max(size - _WINDOW, 0)
    if size <= _WINDOW * (_WINDOWS + 2):
        yield from range(0, size, _WINDOW)
        return
    yield from (0, last)
    yield from (random.randrange(last) for _ in range(_WINDOWS))  # noqa: S311 - samples, no secret

"""What is sent to a FileBrowser, and the unfinished name that it has until it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import io
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..errors import HashMismatchError, StoreError
from ..platform import FileLock, user_folders
from .file_copy import source_of
from .filebrowser_connection import Connection, Refused
from .filebrowser_publish import part_of
from .filebrowser_source import Source
from .filebrowser_upload import SMALL, remove


@contextmanager
def opened(source: Path | bytes) -> Iterator[Source]:
    """Open what is to be sent.

    Raises:
        StoreError: It can't be read.
    """
    with source_of(source) as reader:
        try:
            size = reader.stream.seek(0, io.SEEK_END)
            reader.stream.seek(0)
        except OSError as error:
            raise StoreError(f"{reader.name} on this computer can't be read: {error.strerror or error}.") from error
        yield Source(reader.stream, size, reader.name)


@contextmanager
def part_for(connection: Connection, place: PurePosixPath, size: int) -> Iterator[PurePosixPath]:
    """Yield a part's path that nobody else uses now; it is removed unless it got its final name.

    A large file's part has the same name each time on this computer, so that an interrupted upload goes on; only when
    another process is just sending that very file a new name is drawn. A part that an upload could go on from stays: the
    server removes it after three minutes, unless it is whole.
    """
    mark = _mark(connection, place) if size > SMALL else ""
    lock = FileLock(user_folders().state / "uploads" / f"{mark}.lock")
    resumable = bool(mark) and _is_ours(lock)
    part = part_of(place, mark if resumable else secrets.token_hex(8))
    try:
        yield part
    except Exception as error:
        if not resumable or isinstance(error, HashMismatchError):
            remove_quietly(connection, part)
        raise
    finally:
        lock.release(remove=True)


def _mark(connection: Connection, place: PurePosixPath) -> str:
    return hashlib.sha256(f"{_own_id()} {connection.settings.url} {place}".encode()).hexdigest()[:16]


def _is_ours(lock: FileLock) -> bool:
    try:
        return lock.acquire()
    except OSError:  # no place to keep locks: then an interrupted upload begins anew
        return False


def remove_quietly(connection: Connection, part: PurePosixPath) -> None:
    """Delete a part of ours, if the server hears us: who failed does not want to wait for that."""
    with contextlib.suppress(StoreError, Refused):
        remove(connection, part, again=False)


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

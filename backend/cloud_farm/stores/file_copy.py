"""Copying one file for sure: hashed on the way, on the disk when it returns, in constant memory."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from ..errors import StoreError
from ..layout import PART
from ..platform import share_blocks

LONGEST_NAME = 255
"""Bytes of a name that any file system takes."""
_BLOCK = 1 << 20


class CopySource(NamedTuple):
    """What is copied, and what people call it (empty for bytes of our own)."""

    stream: IO[bytes]
    name: str


@contextmanager
def source_of(source: Path | bytes) -> Iterator[CopySource]:
    """Open what is to be copied.

    Raises:
        StoreError: It can't be opened; it is a file of this computer, not of the volume.
    """
    if isinstance(source, bytes):
        yield CopySource(io.BytesIO(source), "")
        return
    try:
        stream = open(source, "rb")  # noqa: SIM115 - closed below; only opening it is our error
    except OSError as error:
        raise StoreError(f"{source} on this computer can't be read: {error.strerror or error}.") from error
    with stream:
        yield CopySource(stream, str(source))


def copy_hashed(source: CopySource, sink: IO[bytes], progress: Callable[[int], None]) -> str:
    """Copy all bytes to an empty file (open for reading too) and see them to the disk.

    Returns:
        The sha256 of what is in `sink`.

    Raises:
        StoreError: The source can't be read.
        OSError: The sink can't be written.
    """
    if _clone(source.stream, sink):
        sink.seek(0)
        found = hash_stream(sink)
        progress(sink.tell())
    else:
        found = _copy(source, sink, progress)
    sink.flush()
    os.fsync(sink.fileno())
    return found


def part_beside(target: Path) -> Path:
    """Return a new, hidden name for the unfinished file."""
    return target.with_name(f".{part_name(target.name, secrets.token_hex(4), longest=LONGEST_NAME - 1)}")


def part_name(name: str, mark: str, *, longest: int = LONGEST_NAME) -> str:
    """Name an unfinished file: as telling as the longest name of a file system allows.

    Args:
        mark: What tells it from others of the same file.
        longest: Bytes.
    """
    tail = f".{mark}{PART}"
    head = os.fsencode(name)[: longest - len(tail)].decode("utf-8", "ignore")
    return f"{head}{tail}"


def create_exclusive(part: Path, target: Path, mode: int) -> bool:
    """Take a name that nobody has, then fill it: the way of file systems without hard links.

    A reader may meet it half-filled, which is why it is the last resort.
    """
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "wb") as sink, open(part, "rb") as source:
            shutil.copyfileobj(source, sink, _BLOCK)
            sink.flush()
            os.fsync(sink.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return True


def _copy(source: CopySource, sink: IO[bytes], progress: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    while True:
        try:
            block = source.stream.read(_BLOCK)
        except OSError as error:
            raise StoreError(
                f"{source.name} can't be read: {error.strerror or error}. Check the disk or the share."
            ) from error
        if not block:
            return digest.hexdigest()
        digest.update(block)
        sink.write(block)
        progress(len(block))


def hash_stream(stream: IO[bytes]) -> str:
    """Hash the rest of an open file."""
    digest = hashlib.sha256()
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _clone(source: IO[bytes], sink: IO[bytes]) -> bool:
    return not isinstance(source, io.BytesIO) and share_blocks(source.fileno(), sink.fileno())

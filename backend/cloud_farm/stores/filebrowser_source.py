"""What is sent to a FileBrowser: a file of this computer or bytes of our own, watched for changes, as the body of requests."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import IO

from ..errors import HashMismatchError, StoreError
from . import Progress
from .rate_limit import RateLimit

_BLOCK = 1 << 20


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

    def __post_init__(self) -> None:
        self._before = self._look()

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
        while block := self.read(_BLOCK):
            digest.update(block)
        self.stream.seek(0)
        return digest.hexdigest()

    def is_unchanged(self) -> bool:
        """Tell whether the file of this computer was left alone since it was opened."""
        return self._look() == self._before

    def changed(self) -> HashMismatchError:
        """The error for a file that is not, or not any more, what was promised."""
        return HashMismatchError(
            f"{self.name or 'What was to be sent'} changed while it was sent. Submit again when nothing writes to it any more."
        )

    def _look(self) -> tuple[int, int, int] | None:
        if not self.name:
            return None
        found = os.fstat(self.stream.fileno())
        return found.st_size, found.st_mtime_ns, found.st_ino


class PieceReader:
    """A part of a source as the body of a request: knows its length, and hands out large blocks."""

    def __init__(
        self, source: Source, offset: int, length: int, *, block: int, limit: RateLimit, tell: Progress
    ) -> None:
        self._source = source
        self._offset = offset
        self._length = self._left = length
        self._block = block
        self._limit = limit
        self._tell = tell
        source.stream.seek(offset)

    def __len__(self) -> int:
        return self._length

    def read(self, _size: int = -1) -> bytes:
        """Return the next block; http.client would ask for 16 KiB, which costs twice the time."""
        block = self._source.read(min(self._limit.block(self._block), self._left))
        if not block and self._left:
            raise self._source.changed()  # it became shorter
        self._limit.take(len(block))
        self._left -= len(block)
        self._offset += len(block)
        if block:
            self._tell(self._offset)
        return block

"""What lies on the volume by content: whole files, and pieces of large ones (contract §1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Content(Protocol):
    """Bytes that are read when they are wanted."""

    def read(self) -> bytes:
        """Return all of them; HashMismatchError if they are no longer what was hashed."""


@dataclass(frozen=True)
class Asset:
    """Bytes that the volume keeps under their hash.

    Attributes:
        size: Bytes as stored.
        label: What people call it: the path in the scene tree.
        source: Where its bytes are on this computer.
    """

    sha256: str
    size: int
    label: str
    source: Path | bytes | Content

    def content(self) -> Path | bytes:
        """Return what a store's `put` takes: a path for whole files, the bytes of a piece.

        Raises:
            HashMismatchError: The file changed since it was packed.
            StoreError: The file can't be read any more.
        """
        return self.source if isinstance(self.source, Path | bytes) else self.source.read()

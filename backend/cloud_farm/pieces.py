"""A large .blend as pieces on the volume: cut, hashed, and packed again when they are sent. The artist's file is only read."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .assets import Asset
from .blend_blocks import Block, read_blocks
from .blend_file import open_plain, read_header
from .delta import Cut, Piece, cut, recipe
from .errors import HashMismatchError, PackingError, StoreError
from .hash_cache import StoredPiece

_BLOCK = 1 << 20
_SAMPLE = 16 << 10
_SAMPLES = 4
_WORTH_PACKING = 0.9
_MARKED_BYTES = 4096


class PlainFile:
    """A .blend's uncompressed bytes: the file itself, or a copy that is made when first needed. Threads may share it."""

    def __init__(self, source: Path, workdir: Path) -> None:
        self.source = source
        self._workdir = workdir
        self._lock = threading.Lock()
        self._plain: Path | None = None

    def path(self) -> Path:
        """Return the file to read.

        Raises:
            PackingError: It is no .blend, or can't be read.
            OSError: The copy can't be written: the disk is full.
            EOFError: It is cut short or damaged.
        """
        with self._lock:
            if self._plain is None:
                compression = read_header(self.source).compression
                self._plain = self._unpacked(compression) if compression else self.source
            return self._plain

    def discard(self) -> None:
        """Remove the copy, if there is one."""
        with self._lock:
            if self._plain is not None and self._plain != self.source:
                self._plain.unlink()
            self._plain = None

    def _unpacked(self, compression: str) -> Path:
        copy = Path(tempfile.mkdtemp(dir=self._workdir)) / self.source.name
        try:
            with open_plain(self.source, compression) as plain, open(copy, "wb") as target:
                shutil.copyfileobj(plain, target, _BLOCK)
        except (OSError, EOFError, zlib.error) as error:
            copy.unlink(missing_ok=True)  # perhaps it filled the disk
            raise EOFError(str(error)) from error if isinstance(error, zlib.error) else error
        return copy


@dataclass(frozen=True)
class PieceContent:
    """The bytes of one piece: read, checked and packed when they are sent, so that memory holds only few of them."""

    file: PlainFile
    piece: Piece
    stored: StoredPiece

    def read(self) -> bytes:
        """Return what the volume stores.

        Raises:
            HashMismatchError: The file changed since it was packed.
            StoreError: It can't be read any more.
        """
        try:
            content = read_piece(self.file.path(), self.piece)
        except (PackingError, OSError, EOFError) as error:
            raise StoreError(
                f"{self.file.source} can't be read any more ({error}). Is it still there, and is there room for temporary files?"
                " Then submit again."
            ) from error
        if hashlib.sha256(content).hexdigest() != self.stored.plain:
            raise HashMismatchError(
                f"{self.file.source} changed while it was sent. Submit again when nothing writes to it any more."
            )
        return zlib.compress(content, self.stored.level)


@dataclass(frozen=True)
class CutFile:
    """A .blend in pieces.

    Attributes:
        size: Bytes of the uncompressed file.
        sha256: Of the uncompressed file.
        pieces: In the order of `plan.pieces`.
    """

    size: int
    sha256: str
    plan: Cut
    pieces: tuple[StoredPiece, ...]

    def assets(self, file: PlainFile, label: str) -> tuple[Asset, ...]:
        """Return the manifest's `parts`: the recipe, then every piece."""
        first = zlib.compress(recipe(self.plan))
        pieces = zip(self.plan.pieces, self.pieces, strict=True)
        return (
            Asset(hashlib.sha256(first).hexdigest(), len(first), label, first),
            *(Asset(to.sha256, to.size, label, PieceContent(file, piece, to)) for piece, to in pieces),
        )

    def to_text(self) -> str:
        """Write it for the cache."""
        return json.dumps(
            [packer(), self.size, self.sha256, (self.plan.small, self.plan.large, self.plan.runs), self.pieces]
        )

    @classmethod
    def from_text(cls, text: str) -> CutFile | None:
        """Read what `to_text` wrote; None if pieces are packed otherwise now, or the text is damaged."""
        try:
            by, size, sha256, plan, pieces = json.loads(text)
        except ValueError:
            return None
        if by != packer():
            return None
        small, large = (tuple(tuple(map(tuple, piece)) for piece in strand) for strand in plan[:2])
        return cls(size, sha256, Cut(small, large, tuple(plan[2])), tuple(StoredPiece(*piece) for piece in pieces))


def cut_file(path: Path) -> Cut:
    """Cut an uncompressed .blend.

    Raises:
        NotBlocks: It is none, or none that we know.
        OSError: It can't be read.
    """
    with open(path, "rb") as stream:

        def mark(block: Block) -> int:
            stream.seek(block.offset)
            return zlib.crc32(stream.read(min(block.size, _MARKED_BYTES)))

        size = path.stat().st_size
        return cut(read_blocks(stream, size), size, mark=mark)


def store_piece(path: Path, piece: Piece, *, is_small: bool, known: Callable[[str], StoredPiece | None]) -> StoredPiece:
    """Find out how a piece will be stored; it is packed for that, unless that is known.

    Raises:
        OSError: The file can't be read.
    """
    content = read_piece(path, piece)
    plain = hashlib.sha256(content).hexdigest()
    found = known(plain)
    if found is not None:
        return found
    level = _level(content, is_small=is_small)
    stored = zlib.compress(content, level)
    return StoredPiece(plain, level, hashlib.sha256(stored).hexdigest(), len(stored))


def read_piece(path: Path, piece: Piece) -> bytes:
    """Read a piece's bytes; fewer than it has where the file became shorter."""
    parts = []
    with open(path, "rb") as stream:
        for offset, length in piece:
            stream.seek(offset)
            parts.append(stream.read(length))
    return b"".join(parts)


def _level(content: bytes, *, is_small: bool) -> int:
    """Choose zlib's level for a piece.

    The small strand is sent after each save and packs to a tenth: thoroughly. Vertices and pixels pack little: fast, and
    where samples say that they don't, not at all (a zlib stream can do that).
    """
    if is_small:
        return 6
    step = max(_SAMPLE, len(content) // _SAMPLES)
    sample = b"".join(content[start : start + _SAMPLE] for start in range(0, len(content), step))
    return 1 if len(zlib.compress(sample, 1)) < _WORTH_PACKING * len(sample) else 0


@functools.cache
def packer() -> str:
    """Name what packs: zlib's own version and others (zlib-ng) write different bytes, so their hashes are not the same."""
    sample = b"".join(hashlib.sha256(bytes([number % 200])).digest() for number in range(4000))
    return hashlib.sha256(b"".join(zlib.compress(sample, level) for level in (0, 1, 6))).hexdigest()[:16]

"""The contents of a pack: every file hashed, large .blend files cut in pieces, in threads; what did not change is not read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .blend_blocks import NotBlocks
from .capacity import usable_cores
from .delta import pieces_pay
from .errors import PackingError
from .events import CancelToken
from .hash_cache import FileState, HashCache, StoredPiece
from .job import PackedFile
from .parallel import for_each
from .pieces import CutFile, PlainFile, cut_file, packer, store_piece
from .platform import user_folders
from .tracing import TracedFile

_BLOCK = 1 << 20
_FEWEST_THREADS = 4
"""A share answers several at a time, whatever this computer has of cores."""
_WHOLE = -1


class _Found(NamedTuple):
    """A file as it was when its reading began."""

    state: FileState
    mode: int
    looked_ns: int


def packed_files(
    traced: Sequence[TracedFile],
    *,
    workdir: Path,
    pieces_from: int | None = None,
    cache: Path | None = None,
    cancel: CancelToken | None = None,
) -> tuple[PackedFile, ...]:
    """Hash every file.

    Args:
        workdir: Where compressed files are unpacked to be cut; must live until all is sent.
        pieces_from: .blend files of so many bytes on are sent in pieces, where that pays; None: none is.
        cache: Where hashes are remembered; None takes the user's state folder.

    Raises:
        PackingError: A file can't be read, or changed meanwhile.
        Cancelled: `cancel` was set.
    """
    with HashCache(cache or user_folders().state / "hashes.sqlite") as known:
        hashing = _Hashing(known, workdir, cancel)
        cut = {item.path: hashing.in_pieces(item) for item in traced if _may_cut(item, pieces_from)}
        packed = {path: entry for path, entry in cut.items() if entry is not None}

        def whole(item: TracedFile, stop: CancelToken) -> None:
            packed[item.path] = hashing.whole(item, stop)

        rest = [item for item in traced if item.path not in packed]
        for_each(rest, whole, workers=_threads(), cancel=cancel)
        return tuple(packed[item.path] for item in traced)


class _Hashing:
    """One pack's hashing."""

    def __init__(self, known: HashCache, workdir: Path, cancel: CancelToken | None) -> None:
        self._known = known
        self._workdir = workdir
        self._cancel = cancel

    def whole(self, item: TracedFile, stop: CancelToken) -> PackedFile:
        """Pack a file that is sent as it is."""
        found = _look(item.source)
        sha256 = self._known.file(item.source, found.state)
        if sha256 is None:
            sha256 = file_sha256(item.source, stop)
            _check_unchanged(item.source, found)
        if self._workdir not in item.source.parents:
            self._known.learn_file(item.source, found.state, sha256, looked_ns=found.looked_ns)
        return PackedFile(item.path, item.source, found.state.size, sha256, found.mode)

    def in_pieces(self, item: TracedFile) -> PackedFile | None:
        """Pack a .blend in pieces; None where it can't be cut, or that does not pay."""
        found = _look(item.source)
        file = PlainFile(item.source, self._workdir)
        # If it is the file's own fault, `whole` will say it.
        with contextlib.suppress(NotBlocks, PackingError, OSError, EOFError):
            made = self._cut(item.source, file, found)
            parts = made.assets(file, item.path)
            stored = sum({part.sha256: part.size for part in parts}.values())
            if pieces_pay(stored, found.state.size):
                return PackedFile(item.path, item.source, made.size, made.sha256, found.mode, parts)
        file.discard()
        return None

    def _cut(self, source: Path, file: PlainFile, found: _Found) -> CutFile:
        text = self._known.cut(source, found.state)
        made = CutFile.from_text(text) if text else None
        if text is None or made is None:
            made = self._cut_now(file)
            text = made.to_text()
            _check_unchanged(source, found)
            self._known.learn_pieces(made.pieces, packer())
        if self._workdir not in source.parents:
            self._known.learn_cut(source, found.state, text, looked_ns=found.looked_ns)
        return made

    def _cut_now(self, file: PlainFile) -> CutFile:
        path = file.path()
        plan = cut_file(path)
        stored: dict[int, StoredPiece] = {}
        sha256: list[str] = []

        def work(number: int, stop: CancelToken) -> None:
            if number == _WHOLE:
                sha256.append(file_sha256(path, stop))
            else:
                piece, is_small = plan.pieces[number], plan.is_small(number)
                stored[number] = store_piece(path, piece, is_small=is_small, known=self._piece)

        count = len(plan.pieces)
        for_each((_WHOLE, *range(count)), work, workers=_threads(), cancel=self._cancel)
        return CutFile(path.stat().st_size, sha256[0], plan, tuple(stored[number] for number in range(count)))

    def _piece(self, plain: str) -> StoredPiece | None:
        return self._known.piece(plain, packer())


def _threads() -> int:
    return max(_FEWEST_THREADS, usable_cores())


def file_sha256(path: Path, stop: CancelToken) -> str:
    """Hash a file of this computer.

    Raises:
        PackingError: It can't be read.
        Cancelled: `stop` was set meanwhile.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                stop.raise_if_cancelled()
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest.hexdigest()


def _may_cut(item: TracedFile, pieces_from: int | None) -> bool:
    """Tell whether it is worth a look inside."""
    if pieces_from is None or PurePosixPath(item.path).suffix.lower() != ".blend":
        return False
    return _look(item.source).state.size >= pieces_from


def _look(path: Path) -> _Found:
    """Ask for a file's state by opening it: a share's client may answer for a name from what it knew a minute ago."""
    looked_ns = time.time_ns()
    try:
        with open(path, "rb") as stream:
            found = os.fstat(stream.fileno())
    except OSError as error:
        raise _unreadable(path, error) from error
    return _Found(FileState.of(found), 0o755 if found.st_mode & 0o111 else 0o644, looked_ns)


def _check_unchanged(path: Path, found: _Found) -> None:
    if _look(path).state != found.state:
        raise PackingError(f"{path} changed while it was packed. Submit again when nothing writes to it any more.")


def _unreadable(path: Path, error: OSError) -> PackingError:
    return PackingError(f"{path} can't be read: {error.strerror or error}.")

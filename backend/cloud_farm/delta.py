"""How a large .blend is cut, so that an edit sends little: at the borders of its own file blocks. Pure: plans, reads nothing.

Blender writes memory addresses into every block header and struct. After a save in another session nearly every stretch of the
file differs, and chunks found by content find a third of it new though nobody edited anything. What does not differ are the
payloads of large `DATA` blocks: vertices, pixels, keyframes. So the file becomes two strands: `large` has those payloads, cut
into pieces at their borders; `small` has all the rest, which is new after each save, but little, and packs well.
A recipe says how to weave the file of the two again (`inside_blender/assemble.py` does it).

Only .blend files are cut. EXR, VDB and caches are compressed as a whole and written anew by each bake: pieces of them would
find nothing twice, and where nothing changed the whole file's hash already says so. Whole files also cost the farm no copy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .blend_blocks import Block

PIECE = 1 << 20
"""The most bytes of a piece, before packing."""
LARGE = 2 << 10
"""Payloads from this size on are of the large strand. At 32 KiB half of a scene of many small meshes would be new each time."""
SMALLEST = 4 << 20
"""Smaller files are sent whole: their pieces would save less than a second on most lines."""
_SCHEMA = 1
_LARGE_CODES = (b"DATA", b"DNA1")
_FEW = PIECE // 4
_ONE_IN = 4

Segment = tuple[int, int]
"""(offset, length) in the file."""
Piece = tuple[Segment, ...]
"""What one piece is made of, in this order."""


@dataclass(frozen=True)
class Cut:
    """A file as two strands of pieces.

    Attributes:
        runs: Lengths that make the file: of the small strand, of the large one, of the small one, …
    """

    small: tuple[Piece, ...]
    large: tuple[Piece, ...]
    runs: tuple[int, ...]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Every piece, in the order of the manifest."""
        return (*self.small, *self.large)

    def is_small(self, number: int) -> bool:
        """Tell whether the piece with this number, from 0, is of the small strand."""
        return number < len(self.small)


def cut(blocks: Iterable[Block], size: int, *, mark: Callable[[Block], int]) -> Cut:
    """Cut a .blend.

    Args:
        blocks: All its blocks, in order.
        size: Bytes of the whole file.
        mark: A number that depends on a block's content alone. It decides which neighbours share a piece, so that a new
            block in the middle changes pieces only until the next mark.
    """
    runs: list[int] = []
    between: list[Segment] = []
    payloads: list[Block] = []
    place = 0
    for block in blocks:
        if block.code in _LARGE_CODES and block.size >= LARGE:
            between.append((place, block.offset - place))
            runs += [block.offset - place, block.size]
            payloads.append(block)
            place = block.offset + block.size
    between.append((place, size - place))
    return Cut(tuple(_even(between)), tuple(_grouped(payloads, mark)), (*runs, size - place))


def piece_size(piece: Piece) -> int:
    """Bytes of a piece before packing."""
    return sum(length for _, length in piece)


def recipe(plan: Cut) -> bytes:
    """Write what the farm needs to make the file of its pieces: JSON, the first part of the manifest's `parts`."""
    small, large = ([piece_size(piece) for piece in strand] for strand in (plan.small, plan.large))
    data = {"schema": _SCHEMA, "small": small, "large": large, "runs": plan.runs}
    return json.dumps(data, separators=(",", ":")).encode()


def pieces_pay(pieces: int, whole: int) -> bool:
    """Tell whether to send a file in pieces, or whole as it lies on the disk, perhaps better compressed.

    After an edit a whole file must be sent again, of the pieces only a few. So pieces that take less than two whole files
    have paid by the second upload. What the volume has is not asked: the same scene always makes the same pack.

    Args:
        pieces: Bytes that all pieces take as stored.
        whole: Bytes of the file.
    """
    return pieces < 2 * whole


def _even(segments: Iterable[Segment]) -> Iterator[Piece]:
    """Cut a strand into pieces of the same size."""
    piece: list[Segment] = []
    room = PIECE
    for offset, length in segments:
        while length:
            part = min(length, room)
            piece.append((offset, part))
            offset, length, room = offset + part, length - part, room - part
            if not room:
                yield tuple(piece)
                piece, room = [], PIECE
    if piece:
        yield tuple(piece)


def _grouped(payloads: Iterable[Block], mark: Callable[[Block], int]) -> Iterator[Piece]:
    """Cut payloads: a large one by itself, small neighbours together up to where the content says, or the piece is full."""
    piece: list[Segment] = []
    length = 0
    for block in payloads:
        rest = block.size % PIECE
        end = block.offset + block.size
        if piece and (block.size >= PIECE or length + rest > PIECE):
            yield tuple(piece)
            piece, length = [], 0
        yield from (((offset, PIECE),) for offset in range(block.offset, end - rest, PIECE))
        if rest:
            piece.append((end - rest, rest))
            length += rest
        if length >= _FEW and mark(block) % _ONE_IN == 0:
            yield tuple(piece)
            piece, length = [], 0
    if piece:
        yield tuple(piece)

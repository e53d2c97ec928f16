"""Makes a file of the pieces in which it was sent. Standard library only; constant memory, whatever the pieces claim.

The first part is the recipe, JSON: `{"schema": 1, "small": [bytes…], "large": [bytes…], "runs": [bytes…]}`. The other parts are the
pieces of the strand `small`, then those of `large`, with these sizes. The file is woven of the strands: the first run is of
`small`, the second of `large`, and so on. Every part is stored as a zlib stream. `cloud_farm/delta.py` cuts.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import IO, Any

SCHEMA = 1
_MOST_RECIPE_BYTES = 32 << 20
_WINDOW = 1 << 20


class BadPieces(Exception):
    """The parts don't make the file; holds for every host."""


def assemble(parts: list[Path], size: int, target: Path) -> None:
    """Weave a file of its parts; whether its hash is right is for the caller to look.

    Args:
        parts: The recipe, then every piece.
        size: Bytes that the file must have.

    Raises:
        BadPieces: A part is damaged, has another size than the recipe says, or the recipe makes no sense.
        OSError: A part can't be read, or the target can't be written.
    """
    recipe = read_recipe(parts[0], len(parts) - 1, size)
    count = len(recipe["small"])
    small = _Strand(parts[1 : count + 1], recipe["small"])
    large = _Strand(parts[count + 1 :], recipe["large"])
    with open(target, "wb") as writer:
        for strand, length in zip(cycle((small, large)), recipe["runs"]):
            strand.copy_to(writer, length)
        small.end()
        large.end()
        writer.flush()
        os.fsync(writer.fileno())


def read_recipe(part: Path, count: int, size: int) -> dict[str, list[int]]:
    """Read a recipe for `count` pieces and a file of `size` bytes.

    Raises:
        BadPieces: It is none, or does not fit them.
    """
    try:
        raw = b"".join(unpacked(part, _MOST_RECIPE_BYTES, exact=False))
        data = json.loads(raw)
        schema, lists = data["schema"], {name: data[name] for name in ("small", "large", "runs")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadPieces(f"the recipe {part.name} can't be read: {error!r}") from error
    if schema != SCHEMA:
        raise BadPieces(f"the recipe {part.name} has schema {schema!r}, this version knows {SCHEMA}")
    if not all(isinstance(numbers, list) and all(map(_is_size, numbers)) for numbers in lists.values()):
        raise BadPieces(f"the recipe {part.name} has sizes that are none")
    runs = lists["runs"]
    sums = (len(lists["small"]) + len(lists["large"]), sum(runs[::2]), sum(runs[1::2]), sum(runs))
    if sums != (count, sum(lists["small"]), sum(lists["large"]), size):
        raise BadPieces(f"the recipe {part.name} does not fit the file or its pieces")
    return lists


def unpacked(part: Path, size: int, *, exact: bool = True) -> Iterator[bytes]:
    """Yield a part's bytes a little at a time: never more than `size`, and not fewer if `exact`.

    Raises:
        BadPieces: It is no zlib stream, is damaged, or has another size.
    """
    unpacker = zlib.decompressobj()
    left = size
    with open(part, "rb") as stream:
        while not unpacker.eof:
            raw = unpacker.unconsumed_tail or stream.read(_WINDOW)
            try:
                plain = unpacker.decompress(raw, min(left + 1, _WINDOW))
            except zlib.error as error:
                raise BadPieces(f"the piece {part.name} is damaged ({error})") from error
            left -= len(plain)
            if left < 0:
                raise BadPieces(f"the piece {part.name} is larger than the {size} bytes that were promised")
            if not (raw or plain or unpacker.eof):
                raise BadPieces(f"the piece {part.name} ends too early")
            yield plain
        if unpacker.unused_data or stream.read(1):
            raise BadPieces(f"the piece {part.name} has more than its contents")
    if exact and left:
        raise BadPieces(f"the piece {part.name} is {left} bytes shorter than the {size} that were promised")


class _Strand:
    """The bytes of a row of pieces, one after the other."""

    def __init__(self, parts: list[Path], sizes: list[int]) -> None:
        self._blocks = (block for part, size in zip(parts, sizes, strict=True) for block in unpacked(part, size))
        self._rest = memoryview(b"")

    def copy_to(self, writer: IO[bytes], length: int) -> None:
        """Copy the next bytes; there are as many, since every piece has its size and the sums fit."""
        while length:
            if not self._rest:
                self._rest = memoryview(next(self._blocks))
            writer.write(self._rest[:length])
            done = min(length, len(self._rest))
            self._rest = self._rest[done:]
            length -= done

    def end(self) -> None:
        """Read what is behind the last byte: the check sum of the last piece."""
        for _ in self._blocks:
            pass


def _is_size(number: Any) -> bool:
    return type(number) is int and number >= 0

"""The file blocks of an uncompressed .blend: what each is, where it begins, how long it is. Knows the headers of all versions.

A .blend is a file header and then blocks, each a header and a payload; the last one has the code `ENDB`.
Source: Blender's `BLO_core_bhead.hh` and `BLO_core_blend_header.hh`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

_LEGACY = re.compile(rb"BLENDER([_-])([vV])\d{3}")
_PRESENT = re.compile(rb"BLENDER17-01v\d{4}")
_LONGEST_FILE_HEADER = 17


class Block(NamedTuple):
    """One file block.

    Attributes:
        code: Four bytes, padded with zeros: `DATA`, `OB`, `DNA1`, …
        offset: Where its payload begins in the file.
        size: Bytes of the payload.
    """

    code: bytes
    offset: int
    size: int


class NotBlocks(Exception):
    """The bytes are not the blocks of a .blend as we know them."""


class _Header(NamedTuple):
    """How a block's header is laid out: its struct, and which of the fields is the payload's size."""

    layout: struct.Struct
    size_field: int


def read_blocks(stream: IO[bytes], size: int) -> Iterator[Block]:
    """Read the headers of all blocks, in order; payloads are passed over.

    Args:
        stream: The whole file; it is sought in.
        size: Bytes of the whole file.

    Raises:
        NotBlocks: Not a .blend, an unknown header, a block that leaves the file, or no end.
    """
    offset, header = _file_header(stream)
    while True:
        stream.seek(offset)
        raw = stream.read(header.layout.size)
        if len(raw) < header.layout.size:
            raise NotBlocks("it has no end block")
        fields = header.layout.unpack(raw)
        block = Block(fields[0], offset + len(raw), fields[header.size_field])
        if not 0 <= block.size <= size - block.offset:
            raise NotBlocks(f"the block at {offset} leaves the file")
        yield block
        if block.code == b"ENDB":
            return
        offset = block.offset + block.size


def _file_header(stream: IO[bytes]) -> tuple[int, _Header]:
    """Return where the first block begins, and how the headers of blocks look."""
    stream.seek(0)
    head = stream.read(_LONGEST_FILE_HEADER)
    if _PRESENT.match(head):
        return 17, _Header(struct.Struct("<4siQqq"), 3)
    legacy = _LEGACY.match(head)
    if legacy is None:
        raise NotBlocks("its header is not one that this version knows")
    endian, pointer = "<" if legacy[2] == b"v" else ">", "I" if legacy[1] == b"_" else "Q"
    return 12, _Header(struct.Struct(f"{endian}4si{pointer}ii"), 1)

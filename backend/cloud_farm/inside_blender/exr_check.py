"""Is an OpenEXR file whole? Blender's image loader can't say: multilayer files have no size there until they are composited.

An EXR lists where each block of scanlines begins; the list is written last. In a file that was cut short it has zeros, or
points behind the end. Layout: OpenEXR's "File Layout" document.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MAGIC = 20000630
_LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
"""Compression number to scanlines in a block: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB."""
_TILED, _LONG_NAMES, _DEEP, _MULTIPART = 0x200, 0x400, 0x800, 0x1000


class NotWhole(Exception):
    """The file is cut short or no OpenEXR file."""


@dataclass(frozen=True)
class _Part:
    size: tuple[int, int]
    chunks: int


def check_exr(path: Path) -> tuple[int, int]:
    """Prove that every block of an EXR is there; returns the display size (width, height) of its first part.

    Raises:
        NotWhole: It is not; says where it ends.
    """
    length = path.stat().st_size
    with open(path, "rb") as stream:
        try:
            parts, multipart = _headers(stream)
            for part in parts:
                _check_offsets(stream, part, length, multipart=multipart)
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise NotWhole(f"{path.name} is not a whole OpenEXR file ({error}).") from error
    return parts[0].size


def _headers(stream: BinaryIO) -> tuple[list[_Part], bool]:
    magic, version = struct.unpack("<II", stream.read(8))
    if magic != _MAGIC:
        raise ValueError("wrong first bytes")
    if version & (_TILED | _DEEP):
        raise ValueError("tiles or deep data, which Blender does not write")
    multipart = bool(version & _MULTIPART)
    parts: list[_Part] = []
    while True:
        attributes = _attributes(stream)
        if not attributes:
            return parts, multipart
        parts.append(_part(attributes))
        if not multipart:
            return parts, multipart


def _attributes(stream: BinaryIO) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while name := _text(stream):
        _text(stream)  # the type
        (size,) = struct.unpack("<i", stream.read(4))
        found[name] = stream.read(size)
    return found


def _text(stream: BinaryIO) -> str:
    raw = bytearray()
    while (byte := stream.read(1)) != b"\0":
        if not byte:
            raise ValueError("the header ends early")
        raw += byte
    return raw.decode("utf-8", "replace")


def _part(attributes: dict[str, bytes]) -> _Part:
    left, top, right, bottom = struct.unpack("<4i", attributes["displayWindow"])
    _, first, _, last = struct.unpack("<4i", attributes["dataWindow"])
    lines = _LINES[attributes["compression"][0]]
    chunks = (
        struct.unpack("<i", attributes["chunkCount"])[0]
        if "chunkCount" in attributes
        else -(-(last - first + 1) // lines)
    )
    return _Part((right - left + 1, bottom - top + 1), int(chunks))


def _check_offsets(stream: BinaryIO, part: _Part, length: int, *, multipart: bool) -> None:
    """Each block must begin inside the file, and the last one must end inside it."""
    offsets = struct.unpack(f"<{part.chunks}Q", stream.read(8 * part.chunks))
    after = stream.tell()
    if not all(after <= offset < length for offset in offsets):
        raise ValueError("blocks of scanlines are missing")
    head = 4 if multipart else 0
    stream.seek(max(offsets) + head)
    _line, size = struct.unpack("<ii", stream.read(8))
    if max(offsets) + head + 8 + size > length:
        raise ValueError("the last block is cut short")
    stream.seek(after)

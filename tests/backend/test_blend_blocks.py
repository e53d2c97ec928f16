"""Reading the blocks of a .blend: every header, and what is none."""

from __future__ import annotations

import io
import struct

import pytest
from cloud_farm.blend_blocks import Block, NotBlocks, read_blocks

from .blend_bytes import HEADERS, make_blend

BLOCKS = [(b"DATA", b"x" * 5000), (b"OB\0\0", b""), (b"DNA1", b"SDNA")]


def read(raw: bytes, *, size: int | None = None) -> list[Block]:
    return list(read_blocks(io.BytesIO(raw), len(raw) if size is None else size))


@pytest.mark.parametrize("header", HEADERS)
def test_every_block_is_found(header: str) -> None:
    raw = make_blend(BLOCKS, header, tail=b"\0" * 100)
    found = read(raw)
    assert [block.code for block in found] == [b"DATA", b"OB\0\0", b"DNA1", b"ENDB"]
    assert [raw[block.offset : block.offset + block.size] for block in found[:3]] == [b"x" * 5000, b"", b"SDNA"]


@pytest.mark.parametrize("header", HEADERS)
def test_a_file_that_was_cut_short_is_refused_wherever(header: str) -> None:
    raw = make_blend([(b"DATA", b"x" * 40), (b"OB\0\0", b"y" * 3)], header)
    for length in range(len(raw)):
        with pytest.raises(NotBlocks):
            read(raw[:length])


@pytest.mark.parametrize("size", [-1, -(2**31), 2**31 - 1])
def test_a_block_that_leaves_the_file_is_refused(size: int) -> None:
    raw = b"BLENDER-v405" + struct.pack("<4siQii", b"DATA", size, 0, 0, 1) + bytes(100)
    with pytest.raises(NotBlocks, match="leaves the file"):
        read(raw)


@pytest.mark.parametrize(
    "head", [b"", b"BLENDER", b"BLENDER17-02v0500", b"BLENDER18-01v0600", b"BLENDER-x405", b"\x28\xb5\x2f\xfd", b"#VRML 2.0 utf8 something"]
)  # fmt: skip
def test_other_headers_are_refused(head: bytes) -> None:
    with pytest.raises(NotBlocks, match="header"):
        read(head + bytes(200))

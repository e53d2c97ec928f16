"""Files with the blocks of a .blend, made of bytes: every header that there was and is."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable

HEADERS = {
    "old-64": (b"BLENDER-v405", "<4siQii"),
    "old-32": (b"BLENDER_v279", "<4siIii"),
    "old-64-big-endian": (b"BLENDER-V270", ">4siQii"),
    "old-32-big-endian": (b"BLENDER_V249", ">4siIii"),
    "5.x": (b"BLENDER17-01v0500", "<4siQqq"),
}
Blocks = list[tuple[bytes, bytes]]


def make_blend(
    blocks: Iterable[tuple[bytes, bytes]], header: str = "5.x", *, session: int = 0, tail: bytes = b""
) -> bytes:
    """Write blocks of (code, payload) and the end block; `session` gives each block other memory addresses."""
    first, layout = HEADERS[header]
    draw = random.Random(session)
    out = [first]
    for code, payload in [*blocks, (b"ENDB", b"")]:
        address, number = draw.getrandbits(30), draw.randrange(800)
        sizes = (number, address, len(payload), 1) if layout.endswith("qq") else (len(payload), address, number, 1)
        out += [struct.pack(layout, code, *sizes), payload]
    return b"".join(out) + tail


def random_blocks(seed: int, count: int = 300) -> Blocks:
    """Blocks as a scene has them: most small, some large, a few with more than a piece; payloads without addresses."""
    draw = random.Random(seed)
    blocks = []
    for _ in range(count):
        kind = draw.random()
        size = draw.randrange(0, 900) if kind < 0.6 else draw.randrange(2000, 90_000) if kind < 0.97 else 1_300_000
        blocks.append((draw.choice((b"DATA", b"DATA", b"DATA", b"OB\0\0", b"DNA1")), draw.randbytes(size)))
    return blocks

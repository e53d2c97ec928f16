"""A .blend file from outside: is it one, is it whole, which Blender wrote it. Reads plain, gzip and zstd files."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import PackingError

_BLOCK = 1 << 20
_OLD = re.compile(rb"BLENDER[_-][vV](\d)(\d\d)")
_NEW = re.compile(rb"BLENDER\d\d[_-]\d\d[vV](\d\d)(\d\d)")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_TAIL = 256
"""The end block is the last one; it is 24 or 32 bytes long, and old versions pad a little."""


@dataclass(frozen=True)
class BlendHeader:
    """What a .blend's first bytes say.

    Attributes:
        version: (major, minor) of the Blender that wrote it, as (4, 5).
        compression: "", "gzip" or "zstd".
    """

    version: tuple[int, int]
    compression: str

    @property
    def text(self) -> str:
        """`4.5`."""
        return f"{self.version[0]}.{self.version[1]}"


def read_header(path: Path) -> BlendHeader:
    """Read a .blend's header.

    Raises:
        PackingError: No such file, not readable, or not a .blend.
    """
    try:
        with open(path, "rb") as stream:
            compression = _compression(stream.read(4))
        with open_plain(path, compression) as plain:
            head = plain.read(32)
    except OSError as error:
        raise PackingError(f"{path} can't be read: {error.strerror or error}.") from error
    except (EOFError, zlib.error) as error:
        raise _truncated(path) from error
    match = _NEW.match(head) or _OLD.match(head)
    if match is None:
        raise PackingError(f"{path} is not a .blend file.")
    return BlendHeader((int(match[1]), int(match[2])), compression)


def written_by(path: Path) -> tuple[int, int] | None:
    """Return the version that wrote a .blend; None for what is none, which packing will say in full."""
    try:
        return read_header(path).version
    except PackingError:
        return None


def check_whole(path: Path, header: BlendHeader) -> None:
    """Prove that a .blend ends as it should; a compressed one is unpacked for it.

    Raises:
        PackingError: It is cut short.
    """
    tail = b""
    try:
        if not header.compression:
            with open(path, "rb") as stream:
                stream.seek(max(0, path.stat().st_size - _TAIL))
                tail = stream.read()
        else:
            with open_plain(path, header.compression) as plain:
                while block := plain.read(_BLOCK):
                    tail = (tail + block)[-_TAIL:]
    except (OSError, EOFError, zlib.error) as error:
        raise _truncated(path) from error
    if b"ENDB" not in tail:
        raise _truncated(path)


def _truncated(path: Path) -> PackingError:
    return PackingError(
        f"{path} is not whole: its end is missing. It was cut short while it was saved or copied; save it again in Blender."
    )


def _compression(first: bytes) -> str:
    if first.startswith(_GZIP):
        return "gzip"
    return "zstd" if first.startswith(_ZSTD) else ""


@contextmanager
def open_plain(path: Path, compression: str) -> Iterator[IO[bytes]]:
    """Open a file for reading its uncompressed bytes."""
    if compression == "gzip":
        with gzip.open(path, "rb") as stream:
            yield stream  # type: ignore[misc]
    elif compression == "zstd":
        import zstandard

        try:
            with (
                open(path, "rb") as raw,
                zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as stream,
            ):
                yield stream
        except zstandard.ZstdError as error:
            raise EOFError(str(error)) from error
    else:
        with open(path, "rb") as raw:
            yield raw

"""A .blend from outside: header, compression, wholeness. Made of bytes, no Blender needed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard
from cloud_farm.blend_file import check_whole, read_header
from cloud_farm.errors import PackingError

OLD = b"BLENDER-v405" + b"\0" * 5000 + b"ENDB" + b"\0" * 20
NEW = b"BLENDER17-01v0502" + b"\0" * 5000 + b"ENDB" + b"\0" * 28


def packed(raw: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(raw)
    return zstandard.compress(raw) if compression == "zstd" else raw


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
@pytest.mark.parametrize(("raw", "version"), [(OLD, (4, 5)), (NEW, (5, 2)), (OLD.replace(b"-v405", b"_V300"), (3, 0))])
def test_whole_files_are_known(tmp_path: Path, raw: bytes, version: tuple[int, int], compression: str) -> None:
    path = tmp_path / "x.blend"
    path.write_bytes(packed(raw, compression))
    header = read_header(path)
    assert (header.version, header.compression) == (version, compression)
    check_whole(path, header)


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_truncated_files_are_named(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "x.blend"
    import random

    noise = random.Random(1).randbytes(40_000)
    path.write_bytes(packed(OLD[:12] + noise + OLD[-24:], compression)[:30_000])
    with pytest.raises(PackingError, match="not whole") as caught:
        check_whole(path, read_header(path))
    assert str(path) in str(caught.value)


def test_several_zstd_frames_and_skippable_ones_are_one_file(tmp_path: Path) -> None:
    """Blender writes many frames and, last, a table of them in a skippable one."""
    path = tmp_path / "x.blend"
    skippable = b"\x5e\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    path.write_bytes(zstandard.compress(OLD[:3000]) + zstandard.compress(OLD[3000:]) + skippable)
    check_whole(path, read_header(path))


@pytest.mark.parametrize(
    "raw", [b"", b"BLEN", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\x1f\x8bnonsense", b"\x28\xb5\x2f\xfdnonsense"]
)
def test_other_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.blend"
    path.write_bytes(raw)
    with pytest.raises(PackingError):
        read_header(path)


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="can't be read"):
        read_header(tmp_path / "nope.blend")

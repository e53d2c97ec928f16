"""Looks before frame 1 whether every file that the scene reads is there (contract: what is absent ends the job, cause 14).

Blender itself renders on without them: a missing texture is pink, a missing library is nothing at all, exit code 0.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy  # type: ignore[import-not-found,unused-ignore]
import scene_dependencies
from scene_dependencies import absolute

_SHOWN_BY_US = ("cloud_farm_job", "cloud_farm_preview")
"""Marks of images by which the add-on shows finished frames."""


@dataclass(frozen=True)
class MissingFile:
    """A file that a datablock names and that is not there."""

    datablock: str
    path: str


def missing_files(allowed: list[str]) -> list[MissingFile]:
    """Return every absent file that is not allowed to be absent.

    Args:
        allowed: Paths as the scene writes them, bare names, or globs of either.
    """
    found = (MissingFile(label(block), stored) for block, stored, path in used_files() if not present(block, path))
    return sorted(
        {item for item in found if not is_allowed(item.path, allowed)}, key=lambda item: (item.path, item.datablock)
    )


def is_allowed(path: str, allowed: list[str]) -> bool:
    """Tell whether a stored path may be absent."""
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return any(fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(name, pattern) for pattern in allowed)


def used_files() -> Iterator[tuple[Any, str, str]]:
    """Yield (datablock, path as stored, absolute path) of each file that something with users reads."""
    for library in bpy.data.libraries:
        yield library, library.filepath, absolute(library.filepath, getattr(library, "parent", None))
    shown = frames_on_show()
    for image in [image for image in bpy.data.images if image.users and image not in shown]:
        if image.source in ("FILE", "TILED", "SEQUENCE", "MOVIE") and not image.packed_files:
            yield from _image_files(image)
    for block in _simple_blocks():
        if block.users and block.filepath and not _is_builtin(block):
            yield block, block.filepath, absolute(block.filepath, block.library)
    yield from scene_dependencies.used_files()


def frames_on_show() -> set[Any]:
    """Return the images that only show frames of earlier jobs: editors have them, and nothing in the scene reads them."""
    marked = {image for image in bpy.data.images if any(mark in image for mark in _SHOWN_BY_US)}
    users = bpy.data.user_map(subset=marked) if marked else {}
    return {image for image in marked if all(isinstance(user, bpy.types.Screen) for user in users[image])}


def _simple_blocks() -> Iterator[Any]:
    """Datablocks whose one file is `filepath`, unless it is packed."""
    for collection in ("fonts", "sounds", "volumes", "cache_files", "movieclips"):
        for block in getattr(bpy.data, collection, ()):
            if getattr(block, "packed_file", None) is None:
                yield block


def _is_builtin(block: Any) -> bool:
    return str(block.filepath).startswith("<")


def _image_files(image: Any) -> Iterator[tuple[Any, str, str]]:
    if not image.filepath:
        return
    path = absolute(image.filepath, image.library)
    if image.source == "TILED":
        for tile in image.tiles:
            name = path.replace("<UDIM>", str(tile.number)).replace("<UVTILE>", _uv_tile(tile.number))
            yield image, image.filepath.replace("<UDIM>", str(tile.number)), name
    else:
        yield image, image.filepath, path


def _uv_tile(number: int) -> str:
    return f"u{(number - 1001) % 10 + 1}_v{(number - 1001) // 10 + 1}"


def present(block: Any, path: str) -> bool:
    """Tell whether the file is there; of a sequence any frame will do."""
    found = Path(path)
    if found.exists():
        return True
    if getattr(block, "source", "") != "SEQUENCE" and not getattr(block, "is_sequence", False):
        return False
    # A sequence names one of its frames, which need not be one that exists.
    stem = found.stem.rstrip("0123456789")
    return found.parent.is_dir() and any(found.parent.glob(f"{_escape(stem)}[0-9]*{found.suffix}"))


def _escape(text: str) -> str:
    return "".join(f"[{c}]" if c in "[]*?" else c for c in text)


def label(block: Any) -> str:
    """Name a datablock for people."""
    return f"{type(block).__name__} '{block.name}'"

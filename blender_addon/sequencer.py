"""The frames of a job in the scene's video sequencer, put there when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from .image_editors import JOB_MARK

_MOST_FRAMES = 2000
"""Of one strip: Blender looks through all of them for each that is added, so ten thousand would take ten seconds."""


def put_strips(scene: bpy.types.Scene, job: str, title: str, files: Mapping[int, Path]) -> None:
    """Add a strip of a job's frames, or bring the one that is there up to date; it keeps its channel and its place.

    Args:
        files: By frame, at least one. A frame that is not here yet shows the one before it, so that the timing is right.
    """
    strips = _strips_of(scene)
    old = [strip for strip in strips if strip.get(JOB_MARK) == job]
    channel = old[0].channel if old else 1 + max((strip.channel for strip in strips), default=0)
    start = min((start_of(strip) for strip in old), default=min(files))
    for strip in old:
        strips.remove(strip)
    for at, paths in _pieces(_paths(files)):
        strip = strips.new_image(name=title, filepath=str(paths[0]), channel=channel, frame_start=start + at)
        for path in paths[1:]:
            strip.elements.append(path.name)
        strip[JOB_MARK] = job


def start_of(strip: Any) -> int:
    """Return where a strip begins, by the name that this Blender has for it."""
    return int(strip.content_start if hasattr(strip, "content_start") else strip.frame_start)


def _paths(files: Mapping[int, Path]) -> list[Path]:
    """Return the file of each frame from the first to the last."""
    paths: list[Path] = []
    for frame in range(min(files), max(files) + 1):
        paths.append(files[frame] if frame in files else paths[-1])
    return paths


def _pieces(paths: Sequence[Path]) -> Iterator[tuple[int, Sequence[Path]]]:
    """Cut into what one strip can hold, each with its place: files of one folder, and not too many."""
    begin = 0
    for at in range(1, len(paths) + 1):
        if at == len(paths) or at - begin == _MOST_FRAMES or paths[at].parent != paths[begin].parent:
            yield begin, paths[begin:at]
            begin = at


def _strips_of(scene: bpy.types.Scene) -> Any:
    """Return the strips of a scene, by the name that this Blender has for them."""
    editor: Any = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences

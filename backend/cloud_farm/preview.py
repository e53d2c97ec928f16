"""Small pictures of large frames: a multilayer file of 4K holds Blender's window up for seconds, and a preview for none."""

from __future__ import annotations

import time
from pathlib import Path

from .blender import find_blender, run_script
from .platform import user_folders

_LONGEST = 1024
"""Pixels: Blender reads so much between two pictures of a screen."""
_PATIENCE_SECONDS = 300.0
_KEPT_SECONDS = 30 * 86_400.0


def make_preview(frame: Path, job_id: str) -> Path:
    """Write the preview of a frame in a background Blender; a job has one, which this replaces.

    Raises:
        BlenderError: There is no Blender, or it can't read the frame.
    """
    folder = user_folders().cache / "previews"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
            old.unlink(missing_ok=True)
    target = folder / f"{job_id}.exr"
    words = ["--source", str(frame), "--target", str(target), "--longest", str(_LONGEST)]
    run_script(find_blender(None), "preview_frame.py", words, timeout=_PATIENCE_SECONDS)
    return target

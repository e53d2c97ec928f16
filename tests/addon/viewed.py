"""Runs in a Blender of its own: what an artist sees of a job's frames when something is in the way.

python -I viewed.py ZIP FOLDER ; prints one JSON object
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
part: Any = importlib.import_module("desk").part


def picture(path: Path) -> Path:
    """Write a small picture."""
    image = bpy.data.images.new("made", 8, 8)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return path


def preview_is_gone(viewer: Any, folder: Path) -> dict[str, Any]:
    """Have a preview made that is gone, or can't be read, when it is to be shown; then one that can."""
    (folder / "l_0001.exr").write_bytes(bytes(9 * 1024 * 1024))
    viewer.frame_landed("large", "large", folder / "l_0001.exr", 1, None)
    viewer.refresh(lambda *_: True)
    viewer.preview_made("nobody's", "large", folder / "gone.png")
    viewer.preview_made("large", "large", folder / "gone.png")
    found: dict[str, Any] = {"gone": [text.replace(str(folder), "") for text in viewer.problems_of("large")]}
    viewer.preview_made("large", "large", picture(folder / "preview.png"))
    found["images"] = [image.name for image in bpy.data.images if "preview" in image.name]
    (folder / "preview.png").unlink()
    viewer.frame_landed("large", "large", folder / "l_0001.exr", 1, None)
    viewer.refresh(lambda *_: True)
    viewer.preview_made("large", "large", folder / "preview.png")
    return {**found, "gone again": len(viewer.problems_of("large"))}


ACTS = (preview_is_gone,)


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Do all of it."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    viewer = part("image_viewer")
    return {act.__name__: act(viewer, folder) for act in ACTS}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))

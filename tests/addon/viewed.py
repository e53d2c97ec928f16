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
JOB = {"id": "seen-20261130-abc123", "title": "seen", "farm": "local", "state": "done", "owner": "", "created": ""}
JOB |= {"frames_done": 3, "frames_failed": 0, "frames_total": 3}


def picture(path: Path) -> Path:
    """Write a small picture."""
    image = bpy.data.images.new("made", 8, 8)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return path


def list_job() -> None:
    """Have the job in the list, and chosen."""
    session = part("session").SESSION
    session.jobs, session.problem = [dict(JOB)], ""
    session._mirror()


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


def folder_is_away(_viewer: Any, folder: Path) -> dict[str, Any]:
    """Draw the button that opens the folder of frames, on a disk that must not be looked at meanwhile; then press it."""
    list_job()
    session, button = part("session").SESSION, bpy.ops.cloud_farm.open_folder
    found: dict[str, Any] = {"unknown": button.poll()}
    session.pictures[JOB["id"]] = {"landing": str(folder / "away")}
    looks: list[str] = []
    is_dir = Path.is_dir
    Path.is_dir = lambda path: bool(looks.append(str(path)))  # type: ignore[method-assign]
    found["drawn"] = [button.poll(), looks[:]]
    Path.is_dir = is_dir  # type: ignore[method-assign]
    found["pressed"] = [*button()]
    return found


ACTS = (preview_is_gone, folder_is_away)


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Do all of it."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    viewer = part("image_viewer")
    return {act.__name__: act(viewer, folder) for act in ACTS}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))

"""Runs in a Blender of its own: an artist whose disks are full, one after the other.

python -I full_disks.py ZIP FOLDER ; prints one JSON object. Three small disks are there: the add-on's own folder, the one below
CLOUD_FARM_HOME, and `landing` in FOLDER.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import bpy

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
desk: Any = importlib.import_module("desk")
fill: Any = importlib.import_module("tests.rigs.small_disk").fill


def session() -> Any:
    """Return what the add-on knows."""
    return desk.part("session").SESSION


def for_the_copy(folder: Path) -> dict[str, Any]:
    """Have no room for the scene's copy."""
    snapshots = session().folder("snapshots")
    desk.make_scene(folder, "copy")
    filler = fill(snapshots.parent)
    try:
        bpy.ops.cloud_farm.send()
        said = ""
    except RuntimeError as error:
        said = str(error)
    left = len(list(snapshots.iterdir()))
    filler.unlink()
    job = desk.send()
    desk.wait_for(lambda: desk.state_of(job) == "done", "it is rendered")
    return {"said": said, "left": left, "frames": desk.frames(folder, "copy")}


def for_the_volume(folder: Path) -> dict[str, Any]:
    """Have no room on the farm's volume, which is on this computer."""
    desk.make_scene(folder, "volume")
    filler = fill(Path(os.environ["CLOUD_FARM_HOME"]))
    bpy.ops.cloud_farm.send()
    desk.wait_for(lambda: session().outbox.sending.error, "it is refused")
    said = session().outbox.sending.error
    filler.unlink()
    before = {job["id"] for job in session().jobs}
    bpy.ops.cloud_farm.send()
    desk.wait_for(lambda: {job["id"] for job in session().jobs if job["state"] == "done"} - before, "it is rendered")
    return {"said": said, "frames": desk.frames(folder, "volume")}


def for_the_frames(folder: Path) -> dict[str, Any]:
    """Have no room where the frames land."""
    desk.make_scene(folder, "landing")
    filler = fill(folder / "landing")
    job = desk.send()
    desk.wait_for(lambda: session().problem, "it is told")
    said = session().problem
    filler.unlink()
    desk.wait_for(lambda: desk.state_of(job) == "done" and not session().following.jobs, "it is gone on with")
    return {"said": said, "problem": session().problem, "frames": desk.frames(folder, "landing")}


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Let every disk be full once."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    return {case.__name__: case(folder) for case in (for_the_copy, for_the_volume, for_the_frames)}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))

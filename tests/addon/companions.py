"""Runs in two Blenders at once, of one artist: both find the scene that an earlier Blender left, and both show its job.

python -I companions.py ZIP FOLDER first|second ; prints one JSON object
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
_SECONDS_BETWEEN_LOOKS = 2.0


def prepare(zip_file: str, folder: Path, role: str) -> None:
    """Be ready with a scene that waits to be sent; both begin at the same moment."""
    other = folder / ("second" if role == "first" else "first")
    if role == "first":
        bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
        bpy.ops.wm.save_userpref()
        scene = desk.make_scene(folder, "shared", seconds=1)
        below = desk.part("session").SESSION.folder("snapshots")
        desk.part("scene_reader").take_snapshot(scene, farm="local", below=below)
    else:
        wait_for_file(other)
        desk.start()
    (folder / role).touch()
    wait_for_file(other)


def wait_for_file(path: Path) -> None:
    """Wait for the other one."""
    deadline = time.monotonic() + desk.PATIENCE_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def is_rendered() -> bool:
    """Look at the list now and then, as who looks at the panel does."""
    session = desk.part("session").SESSION
    if not session.client.busy or time.monotonic() - session._asked_at > _SECONDS_BETWEEN_LOOKS:
        session.refresh("local")
    return any(job["state"] == "done" for job in session.jobs)


def main(zip_file: str, folder: Path, role: str) -> dict[str, Any]:
    """Let the add-on do what it does by itself; returns what this Blender saw."""
    prepare(zip_file, folder, role)
    session = desk.part("session").SESSION
    desk.wait_for(is_rendered, "it is rendered")
    desk.wait_for(lambda: len(desk.frames(folder, "shared")) == 3 and not session.following.jobs, "its frames are here")
    said = [sending.error for sending in [session.outbox.sending] if sending is not None]
    shown = [image.name for image in bpy.data.images if image.name.startswith("shared")]
    return {
        "jobs": [job["id"] for job in session.jobs],
        "frames": desk.frames(folder, "shared"),
        "said": [*said, *filter(None, [session.problem])],
        "shown": shown,
        "left": len(list(session.folder("snapshots").iterdir())),
    }


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))

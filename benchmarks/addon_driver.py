"""Runs in a Blender of its own, for the benchmarks of the add-on: an artist who sends a scene and looks at what comes.

A Blender without a window runs no timers, so this does what its timer does: a turn of the add-on, then as long a rest as that asks for.

python addon_driver.py PLAN ; PLAN is a JSON object, and so is what it prints last
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
from addon_bench import Renderers, holding_still, renderers_of

MODULE = "bl_ext.user_default.cloud_farm"
_PATIENCE = 1200.0
_SIDE = 4096


class Turns:
    """Lets the add-on take its turns, with a clock beside it.

    Attributes:
        taken: By what went on: (seconds on the clock, seconds of the main thread's own work, how often another process took its core
            meanwhile, how often it waited for something by itself) of each turn.
        seen: When each frame was in `bpy.data.images`, seconds since 1970.
    """

    def __init__(self, session: Any, viewer: Any) -> None:
        self.taken: dict[str, list[tuple[float, float, int, int]]] = {}
        self.seen: dict[int, float] = {}
        self._session, self._viewer = session, viewer
        self._landed: list[int] = []
        self._note = viewer.frame_landed
        viewer.frame_landed = self._frame_landed

    def _frame_landed(self, job: str, title: str, path: Path, frame: int, camera: str | None) -> None:
        self._landed.append(frame)
        self._note(job, title, path, frame, camera)

    def until(self, what: str, condition: Callable[[], object]) -> None:
        """Take turns until something is so."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{what}: {self._session.outbox.sending} {self._session.problem} {self._session.jobs}"
                )
            switches, began, busy = core_switches(), time.perf_counter(), time.thread_time()
            rest = self._session.tick()
            spent, own = time.perf_counter() - began, time.thread_time() - busy
            taken_away, waited = (now - then for now, then in zip(core_switches(), switches, strict=True))
            self.taken.setdefault(what, []).append((spent, own, taken_away, waited))
            if self._landed and any("cloud_farm_job" in image for image in bpy.data.images):
                self.seen |= dict.fromkeys(self._landed, time.time())
                self._landed.clear()
            time.sleep(rest)


def core_switches() -> tuple[int, int]:
    """Return how often another process took the core from this thread, and how often it gave it away to wait for something."""
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_nivcsw, usage.ru_nvcsw


def noise(path: Path, side: int) -> Path:
    """Write a picture that nothing can make smaller: uncompressed, three bytes a pixel."""
    header = bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, side & 255, side >> 8, side & 255, side >> 8, 24, 0])
    path.write_bytes(header + os.urandom(3 * side * side))
    return path


def make_scene(folder: Path, *, mebibytes: int, frames: int) -> None:
    """Save a scene with so many bytes of textures, none of which a render needs: they are to be sent, not looked at."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.object.camera_add(location=(0, 0, 4))
    scene.camera = bpy.context.object
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x, scene.render.resolution_y = 480, 270
    scene.render.filepath = str(folder / "frames" / "f_####")
    scene.frame_start, scene.frame_end = 1, frames
    (folder / "textures").mkdir()
    for number in range(mebibytes * 2**20 // (3 * _SIDE * _SIDE)):
        image = bpy.data.images.load(str(noise(folder / "textures" / f"noise_{number:03d}.tga", _SIDE)))
        image.use_fake_user = True
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot.blend"), compress=False)


def make_picture(path: Path) -> Path:
    """Write a frame of 0.4 MB."""
    source = bpy.data.images.load(str(noise(path.with_suffix(".tga"), 360)))
    bpy.context.scene.render.image_settings.file_format = "PNG"
    source.save_render(str(path))  # `save` keeps the format of the file that it came from
    bpy.data.images.remove(source)
    return path


def open_image_editor() -> None:
    """Make the largest area an Image Editor."""
    areas = bpy.context.window_manager.windows[0].screen.areas
    max(areas, key=lambda area: area.width * area.height).type = "IMAGE_EDITOR"


def main(plan: dict[str, Any]) -> dict[str, Any]:
    """Send a scene, then see frames that others publish; returns what it took."""
    folder = Path(plan["folder"])
    bpy.ops.extensions.package_install_files(filepath=plan["zip"], repo="user_default", enable_on_install=True)
    bpy.context.preferences.system.use_online_access = True
    bpy.context.preferences.addons[MODULE].preferences.farm = "bench"
    session = importlib.import_module(f"{MODULE}.session").SESSION
    turns = Turns(session, importlib.import_module(f"{MODULE}.image_viewer"))
    turns.until("first turns", lambda: session._has_looked_back)
    make_scene(folder, mebibytes=plan["mebibytes"], frames=plan["frames"] + 1)
    open_image_editor()
    began = time.perf_counter()
    bpy.ops.cloud_farm.send()
    saving = time.perf_counter() - began
    turns.until("pack and upload", lambda: session.outbox.sending is None and session.jobs)
    job = session.jobs[0]["id"]
    turns.until("prepare", lambda: renderers_of(job))
    with holding_still(renderers_of(job)):
        picture = make_picture(folder / "picture.png")
        published = Renderers(Path(plan["volume"]), job, picture, range(2, plan["frames"] + 2), plan["pause"])
        turns.until("download", lambda: len(turns.seen) >= plan["frames"])
        at = published.wait()
        session.control("cancel", job, "bench")
    turns.until("cancel", lambda: (session.job(job) or {}).get("state") in ("cancelled", "done", "failed"))
    late = [turns.seen[frame] - when for frame, when in sorted(at.items())]
    session.end()
    return {"saving": saving, "turns": turns.taken, "late": late, "blender": bpy.app.version_string}


if __name__ == "__main__":
    code = 1
    try:
        print("\n" + json.dumps(main(json.loads(sys.argv[1]))), flush=True)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it is printed; Blender's own clean-up has much to say after it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)

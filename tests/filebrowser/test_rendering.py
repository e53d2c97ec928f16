"""A job that goes to its volume through a FileBrowser and comes back through it, rendered by this computer's Blender there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO
import pytest
from cloud_farm import Farm, RenderJob, open_farm
from cloud_farm.blender import find_blender, run_script
from cloud_farm.events import Event, FrameDone, Transfer

from ..rigs.fault_proxy import FaultProxy
from .clients import Door

pytestmark = pytest.mark.blender


_STEADY = """
import bpy, sys
scene = bpy.context.scene
scene.cycles.use_denoising = False
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"""


def steady_demo(folder: Path) -> Path:
    """The example scene without the denoiser: with one thread its renders are equal to the last bit."""
    demo, scene, script = folder / "example.blend", folder / "demo.blend", folder / "steady.py"
    run_script(find_blender(), "demo_scene.py", ["--output", str(demo)], timeout=120)
    script.write_text(_STEADY)
    command = [*find_blender().argv, "-b", "--factory-startup", str(demo), "--python", str(script), "--", str(scene)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return scene


def farm_behind(door: Door, folder: Path) -> Farm:
    """A farm whose renderers see the folder that the FileBrowser serves."""
    profile = {
        "schema": 1,
        "engine": "local",
        "store": "filebrowser",
        "volume": {"mount_path": str(door.root), "store_prefix": door.prefix},
        "limits": {"workers": 2},
        "filebrowser": dict(door.profile.filebrowser),
    }
    path = folder / "studio.yaml"
    path.write_text(json.dumps(profile))  # JSON is YAML
    return open_farm(str(path))


def rendered(farm: Farm, scene: Path, landing: Path) -> list[Event]:
    events: list[Event] = []
    job = RenderJob(str(scene), frames="1-4", percentage=10, samples=2, seed=7, landing=str(landing / "f_####"))
    made = farm.submit(job, on_event=events.append)
    assert farm.follow(made.job_id, on_event=events.append).state == "done"
    return events


def pixels(path: Path) -> Any:
    image = OpenImageIO.ImageBuf(str(path))
    assert not image.has_error, image.geterror()
    return np.asarray(image.get_pixels(OpenImageIO.FLOAT))


def test_frames_are_those_of_a_folder(
    door: Door, line: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_farm.engines.local.usable_cores", lambda: 2)  # one thread for each of two workers
    scene = steady_demo(tmp_path)
    plain = open_farm(flags={"volume.mount_path": str(tmp_path / "volume"), "limits.workers": 2})
    rendered(plain, scene, tmp_path / "plain")
    events = rendered(farm_behind(door.at(line.url), tmp_path), scene, tmp_path / "through")
    names = [f"f_{frame:04d}.png" for frame in range(1, 5)]
    assert sorted(path.name for path in (tmp_path / "through").iterdir()) == names
    for name in names:
        assert np.array_equal(pixels(tmp_path / "through" / name), pixels(tmp_path / "plain" / name)), name
    assert sorted(event.frame for event in events if isinstance(event, FrameDone)) == [1, 2, 3, 4]
    sent = [event for event in events if isinstance(event, Transfer)][-1]
    assert sent.done_bytes == sent.total_bytes > 0
    fetched = [text for text in line.requests if "/api/raw/" in text and ".png" in text]
    assert len(fetched) == 4, "each frame came through the door, once"
    assert door.litter() == []

"""Rendering through the whole farm with a real Blender: records, cameras, layers, scripts, a full volume."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cloud_farm import Farm, RenderJob, open_farm
from cloud_farm.errors import StoreError
from cloud_farm.job import FrameRecord
from cloud_farm.status import JobStatus
from cloud_farm.tracking import JobTracker

from ..rigs.blender_scripts import pixels, run_text_in_blender
from ..rigs.small_disk import fill, small_disk

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]

_SCENE = """
import bpy, sys
bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
scene = bpy.context.scene
bpy.ops.mesh.primitive_cube_add()
cube = bpy.context.object
for frame in (-5, 20):
    cube.rotation_euler.z = frame / 5; cube.keyframe_insert('rotation_euler', frame=frame)
for name in ('Cam A', 'Cam B'):
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    camera.location = (0 if name == 'Cam A' else 0.8, 0, 5); scene.collection.objects.link(camera)
    marker = scene.timeline_markers.new(name, frame=1 if name == 'Cam A' else 3); marker.camera = camera
scene.camera = bpy.data.objects['Cam A']
light = bpy.data.objects.new('Sun', bpy.data.lights.new('Sun', 'SUN')); scene.collection.objects.link(light)
scene.render.engine = 'CYCLES'; scene.cycles.samples = 1; scene.cycles.use_denoising = False
scene.render.resolution_x, scene.render.resolution_y = 32, 18
scene.frame_start, scene.frame_end = 1, 3
scene.view_layers.new('Second')
"""


def make_scene(tmp_path: Path, more: str = "") -> Path:
    path = tmp_path / "scene" / "s.blend"
    path.parent.mkdir(exist_ok=True)
    text = f"{_SCENE}\n{more}\nbpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])\n"
    run_text_in_blender(tmp_path, text, str(path))
    return path


def render(tmp_path: Path, scene: Path, **job: Any) -> tuple[JobStatus, list[FrameRecord], Farm]:
    farm = open_farm(flags={"volume.mount_path": str(tmp_path / "volume"), "limits.workers": 1})
    made = farm.submit(RenderJob(str(scene), **{"landing": str(tmp_path / "land" / "f_####"), "chunk_size": 50, **job}))
    status = farm.follow(made.job_id)
    tracker = JobTracker(farm.store, made.job_id)
    return status, [tracker.record(found) for found in tracker.refresh((1,))], farm


def landed(tmp_path: Path) -> list[str]:
    folder = tmp_path / "land"
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_record_says_how_the_frame_was_made(tmp_path: Path) -> None:
    _, records, _ = render(tmp_path, make_scene(tmp_path), frames="1", samples=3)
    record = records[0]
    assert (record.frame, record.camera, record.device, record.samples) == (1, None, "CPU", 3)
    assert record.device_name
    assert record.extra["device_evidence"] in ("log", "enforced")
    assert record.host
    assert record.seconds > 0
    assert (record.peak_memory or 0) > 10_000_000
    assert record.blender.startswith(".".join(record.blender.split(".")[:2]))


def test_cameras_by_marker_or_by_name(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    render(tmp_path, scene, frames="2-3")
    by_marker = {name: (tmp_path / "land" / name).read_bytes() for name in landed(tmp_path)}
    status, records, _ = render(
        tmp_path, scene, frames="2-3", cameras=("Cam A", "Cam B"), landing=str(tmp_path / "land" / "c_####")
    )
    assert status.state == "done", status.messages
    names = [name for name in landed(tmp_path) if name not in by_marker]
    assert names == ["cam-a_c_0002.png", "cam-a_c_0003.png", "cam-b_c_0002.png", "cam-b_c_0003.png"]
    assert {(r.camera, r.frame) for r in records} == {("Cam A", 2), ("Cam A", 3), ("Cam B", 2), ("Cam B", 3)}
    same = [
        pixels(tmp_path / "land" / a) == pixels(tmp_path / "land" / b)
        for a, b in (("f_0002.png", names[0]), ("f_0003.png", names[3]), ("f_0003.png", names[1]))
    ]
    assert same == [True, True, False]


def test_chosen_view_layers_change_the_picture(tmp_path: Path) -> None:
    scene = make_scene(
        tmp_path,
        "own = bpy.data.collections.new('Own'); scene.collection.children.link(own); own.objects.link(cube)\n"
        "scene.collection.objects.unlink(cube); scene.view_layers['Second'].layer_collection.children['Own'].exclude = True",
    )
    for layer in ("ViewLayer", "Second"):
        status, _, _ = render(
            tmp_path, scene, frames="1", view_layers=(layer,), landing=str(tmp_path / "land" / f"{layer}_####")
        )
        assert status.state == "done", status.messages
    assert pixels(tmp_path / "land" / "ViewLayer_0001.png") != pixels(tmp_path / "land" / "Second_0001.png")


def test_blocked_scripts_are_in_the_record_and_allowed_ones_run(tmp_path: Path) -> None:
    scene = make_scene(
        tmp_path, "cube.driver_add('location', 0).driver.expression = '__import__(\"os\").getpid() * 0 + 0.7'"
    )
    _, records, farm = render(tmp_path, scene, frames="1")
    assert "scripts_blocked" in [finding.code for finding in records[0].findings]
    made = farm.submit(
        RenderJob(str(scene), frames="1", landing=str(tmp_path / "land" / "ok_####")), allow_scripts=True
    )
    assert farm.follow(made.job_id).state == "done"
    assert pixels(tmp_path / "land" / "ok_0001.png") != pixels(tmp_path / "land" / "f_0001.png")


def test_a_full_volume_is_told_and_nothing_half_written_has_a_final_name(tmp_path: Path) -> None:
    """Full while it renders: what can't be published is said, and comes when there is room again."""
    scene = make_scene(tmp_path, "scene.cycles.use_adaptive_sampling = False")
    with small_disk(tmp_path / "volume", "3m") as disk:
        farm = open_farm(flags={"volume.mount_path": str(disk), "limits.workers": 1})
        made = farm.submit(
            RenderJob(str(scene), frames="1-6", chunk_size=6, samples=5000, landing=str(tmp_path / "land" / "f_####"))
        )
        wait_for(lambda: farm.status(made.job_id).running)
        filler = fill(disk)
        wait_for(lambda: "output can't be written" in " ".join(farm.status(made.job_id).messages))
        tracker = JobTracker(farm.store, made.job_id)
        promised = {item.path: item.bytes for found in tracker.refresh((1,)) for item in tracker.record(found).files}
        there = {path.name: path.stat().st_size for path in disk.rglob("frames/r1/*/*") if path.is_file()}
        assert there == promised and len(there) < 6
        with pytest.raises(StoreError, match="full"):
            farm.cancel(made.job_id)
        assert not farm.engine.status(made.job_id).running
        filler.unlink()
        farm.retry(made.job_id, overrides={"samples": 1})
        assert farm.follow(made.job_id).state == "done"


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)

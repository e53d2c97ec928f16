"""Rendering through the whole farm with a real Blender: records, cameras, layers, scripts, a full volume."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cloud_farm import Farm, RenderJob, open_farm
from cloud_farm.blender import find_blender
from cloud_farm.errors import StoreError
from cloud_farm.job import FrameRecord
from cloud_farm.status import JobStatus
from cloud_farm.tracking import JobTracker

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
    script = tmp_path / "build.py"
    script.write_text(f"{_SCENE}\n{more}\nbpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])\n", encoding="utf-8")
    run(script, str(path))
    return path


def run(script: Path, *arguments: str, **env: str) -> str:
    import os

    command = [
        *find_blender().argv,
        "-b",
        "--factory-startup",
        "--python-exit-code",
        "10",
        "--python",
        str(script),
        "--",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **env})
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


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


def pixels(path: Path) -> bytes:
    import OpenImageIO

    source = OpenImageIO.ImageInput.open(str(path))
    return bytes(source.read_image("uint8").tobytes())


def test_chosen_view_layers_change_the_picture(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "scene.view_layers['Second'].layer_collection.exclude = True")
    status, _, _ = render(tmp_path, scene, frames="1", view_layers=("Second",))
    assert status.state == "done", status.messages


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
    import os

    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    scene = make_scene(tmp_path)
    volume = tmp_path / "volume"
    volume.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(volume)], check=True)
    try:
        farm = open_farm(flags={"volume.mount_path": str(volume), "limits.workers": 1})
        made = farm.submit(
            RenderJob(str(scene), frames="1-2", landing=str(tmp_path / "land" / "f_####"), percentage=100)
        )
        wait_until_stuck_or_done(farm, made.job_id, volume)
        with pytest.raises(StoreError, match="full"):
            farm.cancel(made.job_id)
        assert not farm.engine.status(made.job_id).running
    finally:
        subprocess.run(["umount", "-l", str(volume)], check=True)


def wait_until_stuck_or_done(farm: Farm, job_id: str, volume: Path) -> None:
    """Fill the disk as soon as the job runs; it must say why it can't go on, and every final name must be whole."""
    import time

    filler = volume / "filler"
    with open(filler, "wb") as stream:
        try:
            while True:
                stream.write(b"\0" * 65536)
                stream.flush()
        except OSError:
            pass
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = farm.status(job_id)
        if any(
            "written" in message or "No space" in message or "full" in message.lower() for message in status.messages
        ) or status.state in ("done", "failed"):
            break
        time.sleep(0.2)
    else:
        raise AssertionError(f"no word about the full disk: {status}")
    for path in (volume / "cloud-farm").rglob("frames/**/*.png"):
        assert path.read_bytes().endswith(bytes.fromhex("0000000049454e44ae426082"))

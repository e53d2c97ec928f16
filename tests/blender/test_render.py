"""Rendering on the farm side with a real Blender: formats, cameras, layers, devices, what is missing, what is broken."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cloud_farm import Farm, RenderJob, open_farm
from cloud_farm.blender import SCRIPTS, find_blender
from cloud_farm.errors import InvalidJobError, StoreError
from cloud_farm.job import FrameRecord
from cloud_farm.status import JobStatus
from cloud_farm.tracking import JobTracker

pytestmark = pytest.mark.blender

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


@pytest.mark.parametrize(
    ("file_format", "extension"),
    [
        ("PNG", "png"),
        ("JPEG", "jpg"),
        ("OPEN_EXR", "exr"),
        ("OPEN_EXR_MULTILAYER", "exr"),
        ("TIFF", "tif"),
        ("WEBP", "webp"),
    ],
)
def test_formats(tmp_path: Path, file_format: str, extension: str) -> None:
    status, records, _ = render(tmp_path, make_scene(tmp_path), file_format=file_format, frames="2")
    assert status.state == "done", status.messages
    assert landed(tmp_path) == [f"f_0002.{extension}"]
    assert [item.role for item in records[0].files] == ["main"]


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


def test_any_set_of_frames_also_negative_ones(tmp_path: Path) -> None:
    status, _, _ = render(tmp_path, make_scene(tmp_path), frames="-3,3,17")
    assert status.state == "done", status.messages
    assert landed(tmp_path) == ["f_-0003.png", "f_0003.png", "f_0017.png"]


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


def test_stereo_as_two_files_or_one(tmp_path: Path) -> None:
    scene = make_scene(
        tmp_path, "scene.render.use_multiview = True; scene.render.image_settings.views_format = 'INDIVIDUAL'"
    )
    status, records, _ = render(tmp_path, scene, frames="1")
    assert status.state == "done", status.messages
    assert landed(tmp_path) == ["f_0001_L.png", "f_0001_R.png"]
    assert [(item.role, item.view) for item in records[0].files] == [("main", "left"), ("view", "right")]
    one = make_scene(
        tmp_path, "scene.render.use_multiview = True; scene.render.image_settings.views_format = 'STEREO_3D'"
    )
    status, _, _ = render(tmp_path, one, frames="2")
    assert status.state == "done", status.messages
    assert "f_0002.png" in landed(tmp_path)


def test_chosen_view_layers_change_the_picture(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "scene.view_layers['Second'].layer_collection.exclude = True")
    status, _, _ = render(tmp_path, scene, frames="1", view_layers=("Second",))
    assert status.state == "done", status.messages


def test_workbench_needs_no_device(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    status, records, _ = render(tmp_path, scene, frames="1", engine="CYCLES")
    assert status.state == "done"
    assert records[0].device == "CPU"


def test_a_movie_scene_gives_stills_and_says_so(tmp_path: Path) -> None:
    more = (
        "i = scene.render.image_settings\nif hasattr(i, 'media_type'): i.media_type = 'VIDEO'\ni.file_format = 'FFMPEG'"
    )
    status, records, _ = render(tmp_path, make_scene(tmp_path, more), frames="1")
    assert status.state == "done", status.messages
    assert landed(tmp_path) == ["f_0001.png"]
    assert "movie_format" in [finding.code for finding in records[0].findings]


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


def test_no_file_of_the_scene_may_vanish_between_packing_and_rendering(tmp_path: Path) -> None:
    """The farm looks again before frame 1: a picture that Blender would render pink ends the job, cause 14."""
    picture = (
        "image = bpy.data.images.new('tex', 4, 4); image.filepath_raw = bpy.path.abspath('//tex.png'); image.file_format = 'PNG'; image.save()\n"
        "image.source = 'FILE'; image.filepath = '//tex.png'; image.use_fake_user = True"
    )
    scene = make_scene(tmp_path, picture)
    farm = open_farm(flags={"volume.mount_path": str(tmp_path / "volume"), "limits.workers": 1})
    job = RenderJob(str(scene), frames="1", landing=str(tmp_path / "land" / "f_####"))
    (scene.parent / "tex.png").unlink()
    with pytest.raises(InvalidJobError, match=r"tex\.png.*not there"):
        farm.submit(job)
    check = tmp_path / "check.py"
    check.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\nimport bpy, json, scene_check\n"
        f"bpy.ops.wm.open_mainfile(filepath={str(scene)!r})\n"
        "print('MISSING', json.dumps([[m.path for m in scene_check.missing_files(a)] for a in ([], ['tex.png'], ['*.png'], ['other.png'])]))\n"
    )
    answer = next(line for line in run(check).splitlines() if line.startswith("MISSING"))
    assert json.loads(answer[8:]) == [["//tex.png"], [], [], ["//tex.png"]]


_FAKE = """
import sys; sys.path.insert(0, {scripts!r})
import json, types
import cycles_devices
class Device(types.SimpleNamespace): pass
def device(kind, name): return Device(type=kind, name=name, id=f'{{kind}}-{{name}}', use=kind == 'CPU')
class Prefs:
    known = {known!r}
    devices = [device('CPU', 'AMD'), device('CUDA', 'RTX 1'), device('CUDA', 'RTX 2'), device('OPTIX', 'RTX 1'), device('OPTIX', 'RTX 2')]
    compute_device_type = property(lambda self: self.chosen, lambda self, kind: self.choose(kind))
    def choose(self, kind):
        if kind not in (*self.known, 'NONE'): raise TypeError(kind)
        self.chosen = kind
    def refresh_devices(self): pass
    def get_devices_for_type(self, kind): return [d for d in self.devices if d.type in (kind, 'CPU')]
prefs = Prefs(); overrides = []
cycles_devices.preferences = lambda: prefs
cycles_devices._override = overrides.append
try:
    use = cycles_devices.enable({device!r}, with_cpu={with_cpu!r})
    answer = dict(type=use.type, name=use.name, on=sorted(d.id for d in prefs.devices if d.use), override=overrides, chosen=prefs.chosen)
except cycles_devices.DeviceAbsent as error:
    answer = dict(absent=str(error))
print('ANSWER', json.dumps(answer))
"""


def fake_devices(
    tmp_path: Path, device: str, *, with_cpu: bool = False, known: tuple[str, ...] = ("CUDA", "OPTIX", "HIP")
) -> dict[str, Any]:
    script = tmp_path / "fake.py"
    script.write_text(_FAKE.format(scripts=str(SCRIPTS), device=device, with_cpu=with_cpu, known=known))
    return dict(json.loads(next(line for line in run(script).splitlines() if line.startswith("ANSWER"))[7:]))


def test_exactly_the_wanted_devices_are_enabled(tmp_path: Path) -> None:
    answer = fake_devices(tmp_path, "optix")
    assert answer["on"] == ["OPTIX-RTX 1", "OPTIX-RTX 2"]
    assert (answer["type"], answer["chosen"], answer["override"]) == ("OPTIX", "OPTIX", ["OPTIX"])
    both = fake_devices(tmp_path, "cuda", with_cpu=True)
    assert both["on"] == ["CPU-AMD", "CUDA-RTX 1", "CUDA-RTX 2"]
    assert both["override"] == ["CUDA+CPU"]
    assert fake_devices(tmp_path, "cpu")["override"] == ["CPU"]


def test_an_absent_device_is_a_sentence_that_lists_what_is_there(tmp_path: Path) -> None:
    for device in ("hip", "metal", "oneapi"):
        message = fake_devices(tmp_path, device)["absent"]
        assert f"no {device.upper()} device" in message
        assert "RTX 1, RTX 2" in message
        assert "--device" in message


def test_what_cycles_reports_wins_over_what_was_asked(tmp_path: Path) -> None:
    script = tmp_path / "report.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\nimport cycles_devices as c, json\n"
        "asked = c.DeviceUse('OPTIX', 'RTX', 'enforced')\n"
        "logs = ['', 'x\\nPath tracing on: AMD EPYC (CPU) (2 threads) [CPU]\\ny', 'Path tracing on: RTX 4000 [OPTIX]\\n',\n"
        "        'Path tracing on: RTX 4000 [OPTIX]\\nPath tracing on: AMD (CPU) [CPU]\\n']\n"
        "print('ANSWER', json.dumps([[u.type, u.evidence] for u in (c.reported(log, asked) for log in logs)]))\n"
    )
    answer = json.loads(next(line for line in run(script).splitlines() if line.startswith("ANSWER"))[7:])
    assert answer == [["OPTIX", "enforced"], ["CPU", "log"], ["OPTIX", "log"], ["CPU+OPTIX", "log"]]


def test_cut_short_images_are_found(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    script = tmp_path / "cut.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\nimport bpy, json\nfrom pathlib import Path\nimport frame_outputs as f\n"
        f"bpy.ops.wm.open_mainfile(filepath={str(scene)!r}); s = bpy.context.scene; found = {{}}\n"
        "for kind in ('PNG', 'OPEN_EXR', 'OPEN_EXR_MULTILAYER', 'JPEG'):\n"
        "    f.choose_format(s, kind)\n"
        f"    s.render.filepath = {str(tmp_path / 'whole')!r} + kind\n"
        "    bpy.ops.render.render(write_still=True)\n"
        "    whole = Path(s.render.filepath + s.render.file_extension); raw = whole.read_bytes()\n"
        "    f.check_file(whole, (32, 18)); bad = []\n"
        "    for part in (raw[:0], raw[:20], raw[:len(raw) // 2], raw[:-16]):\n"
        "        short = whole.with_name('short' + whole.suffix); short.write_bytes(part)\n"
        "        try: f.check_file(short, None)\n"
        "        except f.BadOutput: bad.append(len(part) < len(raw))\n"
        "    try: f.check_file(whole, (64, 36))\n"
        "    except f.BadOutput: bad.append('size')\n"
        "    found[kind] = bad\n"
        "print('ANSWER', json.dumps(found))\n"
    )
    answer = json.loads(next(line for line in run(script).splitlines() if line.startswith("ANSWER"))[7:])
    assert answer["PNG"] == answer["OPEN_EXR"] == answer["OPEN_EXR_MULTILAYER"] == [True, True, True, True, "size"]
    assert answer["JPEG"][-1] == "size"
    assert answer["JPEG"][:2] == [True, True]


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

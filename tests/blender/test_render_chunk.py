"""render_chunk.py in a real Blender: what it writes, and how it says no."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import OpenImageIO
import pytest
from cloud_farm.landing import safe_relative

from ..rigs.small_disk import fill, small_disk
from .farmyard import make_job, render, run_inside
from .stub_farm import INSIDE, StubJob

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]

MOVIE = """
settings = scene.render.image_settings
if hasattr(settings, 'media_type'):
    settings.media_type = 'VIDEO'
settings.file_format = 'FFMPEG'
"""
TEXTURE = """
image = bpy.data.images.new('Lost', 4, 4)
image.source = 'FILE'
image.filepath = '//tex/lost.png'
image.use_fake_user = True
"""
VIEWS = """
scene.render.use_multiview = True
scene.render.image_settings.views_format = '{}'
"""
CAMERAS = """
for index in (1, 2):
    extra = camera.copy()
    extra.name = f'Cam.{index}'
    scene.collection.objects.link(extra)
    marker = scene.timeline_markers.new(f'm{index}', frame=index)
    marker.camera = extra
"""
FILE_OUTPUTS = """
if bpy.app.version >= (5, 0, 0):
    tree = scene.compositing_node_group = bpy.data.node_groups.new('Compositing', 'CompositorNodeTree')
else:
    scene.use_nodes = True
    tree = scene.node_tree
source, node = tree.nodes.new('CompositorNodeRLayers'), tree.nodes.new('CompositorNodeOutputFile')
if hasattr(node, 'directory'):
    node.directory, node.file_name = '//aux/', 'a?b_'
    node.format.media_type = 'IMAGE'
    node.file_output_items.new('RGBA', '')
else:
    node.base_path, node.file_slots[0].path = '//aux/', 'a?b_'
node.format.file_format = 'PNG'
tree.links.new(source.outputs['Image'], node.inputs[0])
"""
TOO_SMALL = """
import bpy
class TooSmall(bpy.types.RenderEngine):
    bl_idname, bl_label = 'TOO_SMALL', 'Too small'
    def render(self, depsgraph):
        self.report({'ERROR'}, 'System is out of GPU memory')
bpy.utils.register_class(TooSmall)
"""
DRIVER = """
curve = camera.driver_add('location', 0)
curve.driver.expression = '__import__("math").pi'
"""


def files(job: StubJob, frame: int = 1, *, slug: str = "scene") -> list[str]:
    return [item["path"] for item in job.records(slug=slug)[frame]["files"]]


def picture(job: StubJob, name: str, frame: int = 1) -> Any:
    source = OpenImageIO.ImageInput.open(str(job.paths.frames(frame) / name))
    assert source is not None, OpenImageIO.geterror()
    return source.spec()


@pytest.mark.parametrize(
    ("wanted", "depth", "suffix", "stored"),
    [
        ("PNG", "8", ".png", "uint8"),
        ("PNG", "16", ".png", "uint16"),
        ("OPEN_EXR", "32", ".exr", "float"),
        ("OPEN_EXR_MULTILAYER", "16", ".exr", "half"),
        ("JPEG", "8", ".jpg", "uint8"),
        ("TIFF", "16", ".tif", "uint16"),
        ("WEBP", "8", ".webp", "uint8"),
    ],
)
def test_formats(tmp_path: Path, wanted: str, depth: str, suffix: str, stored: str) -> None:
    kind = "MULTI_LAYER_IMAGE" if wanted.endswith("LAYER") else "IMAGE"
    media = f"if hasattr(s, 'media_type'): s.media_type = '{kind}'\n"
    change = f"s = scene.render.image_settings\n{media}s.file_format, s.color_depth = '{wanted}', '{depth}'\n"
    job = make_job(tmp_path, change, format=None)
    ran = render(job)
    assert ran.code == 0, ran.output
    assert files(job) == [f"shot_0001{suffix}"]
    spec = picture(job, files(job)[0])
    assert (spec.full_width, spec.full_height, str(spec.format)) == (64, 36, stored)
    for attribute in spec.extra_attribs:
        assert str(tmp_path) not in str(attribute.value), attribute.name
    assert job.records()[1]["device"] == "CPU"


def test_names_are_what_the_plan_says_whatever_blender_would_make_of_them(tmp_path: Path) -> None:
    job = make_job(tmp_path, VIEWS.format("INDIVIDUAL"), template="{scene_name} #1 {no such}_###")
    ran = render(job, "7")
    assert ran.code == 0, ran.output
    assert files(job, 7) == ["{scene_name} #1 {no such}_007_L.png", "{scene_name} #1 {no such}_007_R.png"]


def test_names_can_be_stored_on_every_system(tmp_path: Path) -> None:
    job = make_job(tmp_path, FILE_OUTPUTS, template='take: "1"?_####')
    ran = render(job)
    assert ran.code == 0, ran.output
    names = files(job)
    assert names[0] == "take_ _1___0001.png"
    assert len(names) == 2 and names[1].startswith("_aux/a_b")
    assert [str(safe_relative(name)) for name in names] == names


def test_any_set_of_frames(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    ran = render(job, "-12,3,17,240")
    assert ran.code == 0, ran.output
    assert {frame: files(job, frame) for frame in job.records()} == {
        -12: ["shot_-0012.png"], 3: ["shot_0003.png"], 17: ["shot_0017.png"], 240: ["shot_0240.png"],
    }  # fmt: skip
    assert not list(job.paths.markers.iterdir())
    again = render(job, "-12,3,17,240")
    assert again.code == 0
    assert [event["skipped"] for event in again.events("frame_done")] == [True] * 4


@pytest.mark.parametrize("kind", ["INDIVIDUAL", "STEREO_3D"])
def test_stereo(tmp_path: Path, kind: str) -> None:
    job = make_job(tmp_path, VIEWS.format(kind))
    ran = render(job)
    assert ran.code == 0, ran.output
    expected = ["shot_0001_L.png", "shot_0001_R.png"] if kind == "INDIVIDUAL" else ["shot_0001.png"]
    assert files(job) == expected


def test_cameras(tmp_path: Path) -> None:
    """A chosen camera is not taken back by a marker, and its name is in the files when there are several."""
    job = make_job(tmp_path, CAMERAS, camera_prefix=True)
    ran = render(job, "1-2", camera="Cam.2")
    assert ran.code == 0, ran.output
    slug = next(job.paths.job_dir.glob("records/r1/0/*.000001.json")).name.partition(".")[0]
    assert slug.startswith("cam-2-")
    assert files(job, 1, slug=slug) == ["cam-2_shot_0001.png"]
    assert render(job, "1-2").code == 0
    assert sorted(job.records()) == [1, 2]


def test_movie_becomes_frames(tmp_path: Path) -> None:
    job = make_job(tmp_path, MOVIE, format=None)
    ran = render(job)
    assert ran.code == 0, ran.output
    assert files(job) == ["shot_0001.png"]
    assert [item["code"] for item in job.records()[1]["findings"]] == ["movie_format"]


def test_blocked_python_is_told(tmp_path: Path) -> None:
    job = make_job(tmp_path, DRIVER)
    ran = render(job)
    assert ran.code == 0, ran.output
    assert [item["code"] for item in job.records()[1]["findings"]] == ["scripts_blocked"]


def test_missing_texture_ends_before_the_first_frame(tmp_path: Path) -> None:
    job = make_job(tmp_path, TEXTURE)
    ran = render(job)
    assert (ran.code, ran.fatal()["cause"]) == (78, 14), ran.output
    assert "lost.png" in ran.fatal()["message"]
    assert not ran.events("frame_started")


def test_missing_texture_may_be_allowed(tmp_path: Path) -> None:
    job = make_job(tmp_path, TEXTURE, allowed_missing=["lost.png"])
    assert render(job).code == 0


@pytest.mark.parametrize(
    ("change", "settings", "camera", "named"),
    [
        ("", {}, "Nobody", "Nobody"),
        ("", {"scene": "Nowhere"}, "", "Nowhere"),
        ("", {"view_layers": ["None such"]}, "", "None such"),
        ("", {"engine": "POVRAY"}, "", "POVRAY"),
        ("bpy.data.objects.remove(camera)", {}, "", "camera"),
    ],
    ids=["camera", "scene", "layer", "engine", "no-camera"],
)
def test_what_the_scene_lacks(tmp_path: Path, change: str, settings: dict[str, Any], camera: str, named: str) -> None:
    job = make_job(tmp_path, change, **settings)
    ran = render(job, camera=camera)
    assert (ran.code, ran.fatal()["cause"]) == (78, 15), ran.output
    assert named in ran.fatal()["message"]


def test_absent_device(tmp_path: Path) -> None:
    job = make_job(tmp_path, device="cuda")
    hide = "import _cycles\n_cycles.available_devices = lambda kind: [('A processor', 'CPU', 'CPU', *[False] * 8)]"
    ran = render(job, before=hide)
    assert ran.code == 11, ran.output
    assert "no CUDA device" in ran.fatal()["message"] and "CPU" in ran.fatal()["message"]
    assert not ran.events("frame_started")


def test_a_device_that_is_gone_when_the_render_starts(tmp_path: Path) -> None:
    """It was there when devices were counted: this process is no good any more, and the frame is not to blame."""
    forget = "import cycles_devices\nuse = cycles_devices.enable\ncycles_devices.enable = lambda *_, **__: [use('cpu'), cycles_devices._override('CUDA')][0]"
    ran = render(make_job(tmp_path), before=forget)
    assert ran.code == 16, ran.output
    assert "device" in ran.fatal()["message"]


def test_truncated_output_fails_the_frame_only(tmp_path: Path) -> None:
    """The first frame's picture is cut after Blender saved it; the second one is whole."""
    job = make_job(tmp_path)
    cut = (
        "import frame_outputs\nwhole = frame_outputs.FrameOutputs.collect\n"
        "def collect(self, frame):\n"
        "    for path in self._main.iterdir():\n"
        "        if frame == 1:\n"
        "            path.write_bytes(path.read_bytes()[:-40])\n"
        "    return whole(self, frame)\n"
        "frame_outputs.FrameOutputs.collect = collect"
    )
    ran = render(job, "1-2", before=cut)
    assert ran.code == 12, ran.output
    assert [event["frame"] for event in ran.events("frame_failed")] == [1]
    assert sorted(job.records()) == [2]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "64k") as disk:
        fill(disk)
        yield disk


def test_full_volume(tmp_path: Path, tiny_disk: Path) -> None:
    job = make_job(tmp_path)
    (job.paths.job_dir / "frames").symlink_to(tiny_disk)
    ran = render(job)
    assert ran.code == 13, ran.output
    assert not job.records()


def test_full_disk_of_the_machine_that_renders(tmp_path: Path, tiny_disk: Path) -> None:
    """Another machine may have room: the chunk goes there, and the frame is not blamed."""
    job = make_job(tmp_path)
    ran = render(job, scratch=tiny_disk)
    assert ran.code == 13, ran.output
    assert "full" in ran.fatal()["message"]
    assert not job.records()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("Error: Malloc returns null: len=4096 in Mesh", 12),
        ("Error: CUDA error: Illegal address in cuCtxSynchronize", 16),
        ("Error: System is out of GPU memory", 16),
        ("Error: System is out of GPU and shared host memory", 16),
        ("Errors: none", 0),
    ],
)
def test_errors_that_blender_only_prints(tmp_path: Path, line: str, code: int) -> None:
    say = f"import bpy, sys\nbpy.app.handlers.render_write.append(bpy.app.handlers.persistent(lambda *_: print({line!r})))"
    job = make_job(tmp_path)
    ran = render(job, before=say)
    assert ran.code == code, ran.output
    failed = [event["message"] for event in ran.events("frame_failed")]
    assert len(failed) == (code != 0) == (not job.records())
    assert all(message.endswith(line.removeprefix("Error: ")) for message in failed)
    assert all(message.startswith("It needs more video memory") for message in failed) == (
        "out of GPU" in line or not failed
    )


@pytest.mark.parametrize("keeps", [True, False], ids=["persistent data", "none"])
def test_a_gpu_whose_memory_is_too_small_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    """There is no such GPU here: an engine of the test's own fails as Cycles does, and the chunk ends for its device."""
    monkeypatch.setenv("CLOUD_FARM_NODE", "node-1")
    job = make_job(tmp_path, engine="TOO_SMALL", persistent_data=keeps)
    ran = render(job, "7-8", before=TOO_SMALL)
    assert (ran.code, ran.fatal()["code"]) == (16, 16), ran.output
    (failed,) = ran.events("frame_failed")
    assert failed["frame"] == 7
    assert ran.fatal()["message"] == f"Frame 7: {failed['message']}"
    assert failed["message"].startswith(
        "It needs more video memory than the GPU has: choose one with more in the farm's"
    )
    assert failed["message"].endswith("Blender: System is out of GPU memory")
    assert ("turn off persistent data" in failed["message"]) == keeps
    assert not job.records()


def test_cut_short_images_are_found(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    script = tmp_path / "cut.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(INSIDE)!r})\nimport bpy, json\nfrom pathlib import Path\nimport frame_outputs as f\n"
        f"bpy.ops.wm.open_mainfile(filepath={str(job.paths.scene / 'shot.blend')!r}); s = bpy.context.scene; found = {{}}\n"
        "for kind in ('PNG', 'OPEN_EXR', 'OPEN_EXR_MULTILAYER', 'JPEG'):\n"
        "    f.choose_format(s, kind)\n"
        f"    s.render.filepath = {str(tmp_path / 'whole')!r} + kind\n"
        "    bpy.ops.render.render(write_still=True)\n"
        "    whole = Path(s.render.filepath + s.render.file_extension); raw = whole.read_bytes()\n"
        "    f.check_file(whole, (64, 36)); bad = []\n"
        "    for part in (raw[:0], raw[:20], raw[:len(raw) // 2], raw[:-16]):\n"
        "        short = whole.with_name('short' + whole.suffix); short.write_bytes(part)\n"
        "        try: f.check_file(short, None)\n"
        "        except f.BadOutput: bad.append(len(part) < len(raw))\n"
        "    try: f.check_file(whole, (32, 18))\n"
        "    except f.BadOutput: bad.append('size')\n"
        "    found[kind] = bad\n"
        "print('ANSWER', json.dumps(found))\n"
    )
    ran = run_inside(script)
    answer = json.loads(next(line for line in ran.output.splitlines() if line.startswith("ANSWER"))[7:])
    assert answer["PNG"] == answer["OPEN_EXR"] == answer["OPEN_EXR_MULTILAYER"] == [True, True, True, True, "size"]
    assert answer["JPEG"][-1] == "size"
    assert answer["JPEG"][:2] == [True, True]

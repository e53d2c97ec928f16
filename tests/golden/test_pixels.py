"""What comes off the farm equals what plain Blender renders from the original file: every channel, and all metadata that is
no time and no path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO
import pytest
from cloud_farm import RenderJob, open_farm
from cloud_farm.blender import find_blender, probe, run_script

from ..rigs.blender_scripts import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]

_HERE = Path(__file__).parent
_TIMES_AND_PATHS = {
    "date",  # when it was rendered
    "datetime",
    "rendertime",
    "time",  # of the scene: kept by Blender as a time code, compared below by the frame
    "file",  # where the .blend lies
    "memory",
    "hostname",
    "capdate",
    "oiio:lastmodifiedtime",
}


def read_parts(path: Path) -> list[tuple[Any, dict[str, Any]]]:
    """(pixels as stored, metadata) of every part of an image file."""
    source = OpenImageIO.ImageInput.open(str(path))
    assert source is not None, OpenImageIO.geterror()
    parts = []
    index = 0
    while source.seek_subimage(index, 0):
        spec = source.spec()
        pixels = source.read_image(index, 0, 0, spec.nchannels, spec.format)
        assert pixels is not None, source.geterror()
        metadata = {a.name: a.value for a in spec.extra_attribs if not _is_time_or_path(a.name)}
        parts.append(
            (pixels, {**metadata, "channels": tuple(spec.channelnames), "type": str(spec.format), "roi": str(spec.roi)})
        )
        index += 1
    source.close()
    return parts


def _is_time_or_path(name: str) -> bool:
    low = name.lower()
    return low in _TIMES_AND_PATHS or low.endswith((".total_time", ".render_time", ".synchronization_time"))


def assert_equal_files(ours: Path, reference: Path, *, steps: int = 0) -> None:
    """Assert the same metadata and pixels; `steps` is how far a few values (one in a hundred) may be apart."""
    mine, plain = read_parts(ours), read_parts(reference)
    assert len(mine) == len(plain), f"{ours.name}: parts"
    for (pixels, metadata), (expected, wanted) in zip(mine, plain, strict=True):
        assert metadata == wanted, f"{ours.name}: metadata"
        assert pixels.dtype == expected.dtype
        if steps:
            apart = np.abs(pixels.astype(np.int64) - expected.astype(np.int64))
            assert apart.max() <= steps, f"{ours.name}: pixels"
            assert np.mean(apart > 0) < 0.01, f"{ours.name}: pixels"
        else:
            assert np.array_equal(pixels, expected, equal_nan=pixels.dtype.kind == "f"), f"{ours.name}: pixels"
        for name, value in metadata.items():
            assert "/" not in str(value) or name == "type", f"{ours.name}: {name} tells a path: {value}"


def render_by_farm(tmp_path: Path, scene: Path, **job: Any) -> Path:
    farm = open_farm(flags={"volume.mount_path": str(tmp_path / "volume"), "limits.workers": 2})
    made = farm.submit(RenderJob(str(scene), landing=str(tmp_path / "ours" / "f_####"), **job))
    status = farm.follow(made.job_id)
    assert status.state == "done", status.messages
    return tmp_path / "ours"


def assert_equal_folders(ours: Path, reference: Path, count: int, *, steps: int = 0) -> None:
    names = sorted(path.relative_to(reference).as_posix() for path in reference.rglob("*") if path.is_file())
    assert sorted(path.relative_to(ours).as_posix() for path in ours.rglob("*") if path.is_file()) == names
    assert len(names) == count
    for name in names:
        assert_equal_files(ours / name, reference / name, steps=steps)


@pytest.mark.parametrize(
    ("variant", "files_per_frame"),
    [
        ((), 1),
        (("--depth", "16", "--crop"), 1),
        (("--format", "OPEN_EXR", "--depth", "32"), 1),
        (("--format", "OPEN_EXR_MULTILAYER", "--depth", "16"), 1),
        (("--multiview",), 2),
    ],
    ids=["png8", "png16-crop", "exr", "exr-multilayer", "multiview"],
)
def test_torture_scene(tmp_path: Path, variant: tuple[str, ...], files_per_frame: int) -> None:
    """Twelve frames by two Blenders in chunks of ten against one Blender that renders the animation."""
    scene = tmp_path / "scene" / "torture.blend"
    scene.parent.mkdir()
    if "--multiview" in variant and probe(find_blender()).numbers[:2] not in ((4, 5), (5, 2)):
        variant = (*variant, "--switches", "0")  # else the reference itself has black views: see the next test
    run_in_blender(_HERE.parent / "scenes" / "torture_scene.py", "--output", str(scene), *variant)
    reference = tmp_path / "reference"
    run_in_blender(_HERE / "reference_render.py", str(scene), str(reference / "f_####"))
    passes = (
        scene.parent / "passes"
    )  # File Output nodes write beside the scene; on the farm they are files of the frame
    passes.rename(reference / "passes")
    ours = render_by_farm(tmp_path, scene, chunk_size=10)
    extra = len(list((reference / "passes").iterdir()))
    assert extra >= 12
    assert_equal_folders(ours, reference, 12 * files_per_frame + extra)


def test_no_stereo_view_is_empty_where_the_camera_changes(tmp_path: Path) -> None:
    """Blender 4.2 renders the second view of such a frame black every third time, 5.0 now and then, and they say nothing."""
    scene = tmp_path / "torture.blend"
    switches = [str(frame) for frame in range(12)]
    script = _HERE.parent / "scenes" / "torture_scene.py"
    run_in_blender(script, "--output", str(scene), "--multiview", "--switches", *switches)
    ours = render_by_farm(tmp_path, scene, chunk_size=12)
    views = sorted(ours.glob("f_*.png"))
    assert len(views) == 24
    for view in views:
        [(pixels, metadata)] = read_parts(view)
        assert np.mean(pixels[..., 3] == 255) > 0.7, f"{view.name} is empty"
        assert metadata["Camera"] == ("Cam A", "Cam.B é")[int(view.stem.split("_")[1]) % 2], view.name


_SHRINK = """
import bpy, sys
source, target, steady = sys.argv[-3:]
bpy.ops.wm.open_mainfile(filepath=source)
scene = bpy.context.scene
scene.render.resolution_percentage = 20
if steady == "steady":
    scene.render.threads_mode, scene.render.threads, scene.cycles.use_denoising = "FIXED", 1, False
bpy.ops.wm.save_as_mainfile(filepath=target)
"""


@pytest.mark.parametrize(("variant", "steps", "in_pieces"), [("steady", 0, True), ("as it is", 2, False)])
def test_demo_scene_frame_by_frame(
    tmp_path: Path, variant: str, steps: int, in_pieces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No override on our side: frames out of order and apart, two workers; the scene sent whole, or in pieces.

    Plain Blender's own two renders of this scene differ in single pixels by one step: its denoiser and its BVH depend on
    how threads happen to run. With one thread and no denoiser it equals itself, and so do we.
    """
    scene, small, shrink = (tmp_path / name for name in ("demo.blend", "small.blend", "shrink.py"))
    run_script(find_blender(), "demo_scene.py", ["--output", str(scene)], timeout=120)
    shrink.write_text(_SHRINK)
    run_in_blender(shrink, str(scene), str(small), variant)
    reference = tmp_path / "reference"
    run_in_blender(_HERE / "reference_render.py", str(small), str(reference / "f_####"), "3", "17", "24")
    monkeypatch.setattr("cloud_farm.engines.local.usable_cores", lambda: 2)  # one thread for each of two workers
    monkeypatch.setattr("cloud_farm.submission._pieces_from", lambda _profile: 0 if in_pieces else None)
    ours = render_by_farm(tmp_path, small, frames="24,3,17", chunk_size=2)
    [job_json] = (tmp_path / "volume" / "cloud-farm" / "jobs").glob("*/job.json")
    assert ('"parts"' in job_json.read_text()) == in_pieces
    assert_equal_folders(ours, reference, 3, steps=steps)


_FORGET = """
import bpy, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[-1])
bpy.context.scene.render.use_persistent_data = False
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"""


@pytest.mark.parametrize("by_job", [False, True], ids=["asked-by-scene", "asked-by-job"])
def test_a_chunk_of_ten_with_persistent_data(tmp_path: Path, by_job: bool) -> None:
    """One Blender renders ten frames and keeps its data, as plain Blender does with the same switch."""
    scene, forget = tmp_path / "scene" / "torture.blend", tmp_path / "forget.py"
    scene.parent.mkdir()
    run_in_blender(_HERE.parent / "scenes" / "torture_scene.py", "--output", str(scene), "--persistent-data")
    reference = tmp_path / "reference"
    run_in_blender(_HERE / "reference_render.py", str(scene), str(reference / "f_####"))
    (scene.parent / "passes").rename(reference / "passes")
    for later in [path for number in ("0010", "0011") for path in reference.rglob(f"*{number}*")]:
        later.unlink()  # what comes after the chunk of ten
    if by_job:
        forget.write_text(_FORGET)
        run_in_blender(forget, str(scene))
    ours = render_by_farm(tmp_path, scene, frames="0-9", chunk_size=10, persistent_data=by_job)
    assert_equal_folders(ours, reference, 10 + len(list((reference / "passes").iterdir())))

"""A preview of a large frame, by a real Blender: small, of what the frame shows first, in its light."""

from __future__ import annotations

from pathlib import Path

import OpenImageIO
import pytest
from cloud_farm.errors import BlenderError
from cloud_farm.preview import make_preview

from .farmyard import run_inside

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]

JOB = "shot-20261130-abc123"
RENDER = """
import bpy, os, sys
scene = bpy.context.scene
scene.render.engine, scene.cycles.samples = 'CYCLES', 1
scene.cycles.use_denoising = False
scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 1920, 960, 100
scene.view_layers[0].name = 'Hero'
scene.view_layers[0].use_pass_normal = True
scene.view_layers.new('Back')
settings = scene.render.image_settings
if hasattr(settings, 'media_type'):
    settings.media_type = 'MULTI_LAYER_IMAGE'
settings.file_format = 'OPEN_EXR_MULTILAYER'
scene.render.filepath = sys.argv[-1]
bpy.ops.render.render(write_still=True)
"""


def test_it_is_what_the_frame_shows_first(tmp_path: Path) -> None:
    (tmp_path / "render.py").write_text(RENDER)
    done = run_inside(tmp_path / "render.py", str(tmp_path / "frame.exr"))
    assert done.code == 0, done.output
    path = make_preview(tmp_path / "frame.exr", JOB)
    assert path == make_preview(tmp_path / "frame.exr", JOB), "a job has one"
    preview, frame = OpenImageIO.ImageBuf(str(path)), OpenImageIO.ImageBuf(str(tmp_path / "frame.exr"))
    assert (preview.spec().width, preview.spec().height) == (1024, 512)
    assert preview.spec().channelnames == ("R", "G", "B", "A")
    combined = [frame.spec().channelnames.index(f"Hero.Combined.{letter}") for letter in "RGB"]
    there = frame.getpixel(960, 480)
    assert preview.getpixel(512, 256)[:3] == pytest.approx([there[at] for at in combined], abs=0.03)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_what_is_no_picture_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "frame.exr").write_bytes(b"no picture")
    with pytest.raises(BlenderError, match=r"preview_frame.py"):
        make_preview(tmp_path / "frame.exr", JOB)

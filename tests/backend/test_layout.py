"""The path rules: stable, safe, and the same on the side that submits and the side that renders."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest
from cloud_farm import layout
from cloud_farm.frames import FrameRange
from cloud_farm.landing import safe_relative

_SCRIPTS = Path(layout.__file__).parent / "inside_blender"


@pytest.fixture(scope="module")
def volume() -> ModuleType:
    spec = importlib.util.spec_from_file_location("volume", _SCRIPTS / "volume.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name",
    ["f_0001.png", "a/b/c.exr", "con.png", "CONIN$", "lpt¹ .exr", "x\u202egnp.exe", "a:b?.png", "a\\b", "\x85", "\udc80.png", "a. /b..", "", "…", "nul"],
)  # fmt: skip
def test_what_a_renderer_names_a_file_can_land(volume: ModuleType, name: str) -> None:
    named = volume.portable(name)
    assert str(safe_relative(named)) == named
    assert volume.portable(named) == named


CAMERAS = [None, "", "Camera", "Camera.001", "Kamera für Totale", "日本", "scene", "a" * 200, "-rf", "x\n{{y}}"]


def test_both_sides_have_the_same_paths(volume: ModuleType) -> None:
    here = layout.JobLayout("shot-20261123-abc123")
    there = volume.JobPaths("/root", "shot-20261123-abc123", 2)
    root = Path("/root")
    assert root / here.job_json == there.job_json
    assert root / here.plan(2) == there.plan
    assert root / here.scripts == there.scripts
    assert root / here.stop == there.stop
    assert root / here.scene == there.scene
    assert root / here.scene_ready == there.scene_ready
    assert layout.RENDER_FOLDERS == volume.RENDER_FOLDERS
    assert root / here.attempts == there.attempts
    assert root / here.logs / "a.log" == there.log("a")
    for camera in CAMERAS:
        for frame in (-1, 0, 7, 499, 500, 1234567):
            assert root / here.record(2, camera, frame) == there.record(volume.camera_slug(camera), frame)
            assert root / here.frames(2, frame) == there.frames(frame)


@pytest.mark.parametrize("camera", CAMERAS)
def test_slugs_are_safe_and_agree(volume: ModuleType, camera: str | None) -> None:
    slug = layout.camera_slug(camera)
    assert slug == volume.camera_slug(camera)
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not slug.startswith("-")


def test_cameras_that_look_alike_have_different_slugs() -> None:
    names = ["Camera", "camera", "Camera ", "Camera.", "Cämera", "scene"]
    assert len({layout.camera_slug(name) for name in names}) == len(names)


@pytest.mark.parametrize(("frame", "text", "block"), [(0, "000000", "0"), (-12, "-000012", "-1"), (499, "000499", "0"), (500, "000500", "1"), (-500, "-000500", "-1"), (1234567, "1234567", "2469")])  # fmt: skip
def test_frames_and_blocks(frame: int, text: str, block: str) -> None:
    assert (layout.frame_text(frame), layout.block_of(frame)) == (text, block)


def test_canonical_frame_text_is_read_inside_blender(volume: ModuleType) -> None:
    draw = random.Random(3)
    for _ in range(200):
        frames = FrameRange.of(draw.sample(range(-50, 50), draw.randint(1, 30)))
        assert volume.parse_frames(str(frames)) == list(frames)
        assert volume.parse_frames(volume.format_frames(list(frames))) == list(frames)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "../x-20261123-abc123",
        "x-20261123-abc123/..",
        "X-20261123-abc123",
        "x-2026-abc123",
        "x-20261123-abc12\n",
    ],
)
def test_only_job_ids_become_paths(text: str) -> None:
    assert not layout.is_job_id(text)


def test_canonical_json_is_one_form(volume: ModuleType) -> None:
    data = {"b": [1, "é"], "a": None}
    assert layout.canonical_json(data) == volume.canonical_json(data) == '{"a":null,"b":[1,"é"]}'.encode()

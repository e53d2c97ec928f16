"""Where frames land, and which names the farm may not make us write."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cloud_farm.errors import LandingError
from cloud_farm.job import RenderJob
from cloud_farm.landing import check_landing, landing_folder, safe_relative

from .test_job import SCENE

JOB = "shot-20261123-abc123"


def folder(landing: str, output: str, blend: Path) -> Path:
    scene = dataclasses.replace(SCENE, output=output)
    return landing_folder(RenderJob("shot.blend", landing=landing), scene, JOB, blend_folder=blend)


def test_the_jobs_own_path_comes_first(tmp_path: Path) -> None:
    assert folder("//out/x_####", "/elsewhere/y", tmp_path) == tmp_path / "out"
    assert folder(f"{tmp_path}/a/x_####", "//b/", tmp_path) == tmp_path / "a"
    assert folder("//out/", "", tmp_path) == tmp_path / "out"
    assert folder("x_####", "", tmp_path) == Path.cwd()


def test_then_the_scenes(tmp_path: Path) -> None:
    assert folder("", "//frames/x_", tmp_path) == tmp_path / "frames"


@pytest.mark.parametrize("output", ["", "/tmp/", "/tmp/x_", "/no/such/folder/x_", "//{blend_name}/x_"])
def test_unset_temporary_or_absent_ones_are_replaced(output: str, tmp_path: Path) -> None:
    assert folder("", output, tmp_path) == tmp_path / "cloud-farm" / JOB


def test_without_a_blend_folder_frames_go_home(tmp_path: Path) -> None:
    assert folder("", "", tmp_path / "gone") == Path.home() / "cloud-farm" / JOB


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/./b", "x\x00", "a\nb", "con", "CON.png", "lpt1.exr", "a\\b", "c:x", "x.", "x ", "é" * 200, "a/nul/b"],
)  # fmt: skip
def test_hostile_names_are_refused(path: str) -> None:
    with pytest.raises(LandingError, match="was not written"):
        safe_relative(path)


@pytest.mark.parametrize(
    "path", ["shot_0001.png", "depth/Image0001.exr", "ämne_0001.png", "-x_0001.png", "a b_0001.png"]
)
def test_honest_names_are_taken(path: str) -> None:
    assert str(safe_relative(path)) == path


def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LandingError, match="Choose another folder with -o"):
        check_landing(tmp_path / "file" / "x")

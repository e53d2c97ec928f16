"""Scenes that are not as scenes should be: what can be rendered all the same is, and of the rest the artist reads why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]

EXPECTED = ("Error: Scene 'Scene' has no camera", "Error: Camera '", "Info: Deleted 1 object")


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each scene."""
    return run_in_blender("odd_scenes.py", extension, tmp_path_factory.mktemp("odd"), expected=EXPECTED)


def test_frames_of_a_file_that_was_never_saved_land_in_the_artists_home(seen: dict[str, Any]) -> None:
    found = seen["file_was_never_saved"]
    assert (found["landed"], found["elsewhere"]) == ([".png", ".png"], ["cloud-farm"])


def test_what_was_painted_in_a_file_that_was_never_saved_arrives(seen: dict[str, Any]) -> None:
    found = seen["file_was_never_saved"]
    assert found["before"] == found["after"] == ["", "GENERATED", True, ""]
    assert found["middle"] == [[0.0, 1.0, 0.0, 1.0]] * 2


def test_a_scene_without_a_camera_is_refused_and_nothing_is_written(seen: dict[str, Any]) -> None:
    found = seen["scene_has_no_camera"]
    assert found["seen"] == [["no_camera", "error"]]
    assert "Scene 'Scene' has no camera. Add one, or choose one in the Cloud Farm panel." in found["refused"]


def test_a_camera_that_is_not_in_the_scene_is_told_before_anything_is_written_and_cleared_by_a_click(
    seen: dict[str, Any],
) -> None:
    found, told = seen["camera_is_elsewhere"], [["camera_elsewhere", "error"]]
    assert (found["offered"], found["chosen"]) == ([True, False, True], [])
    is_kept, seen_then, refused = found["deleted"]
    assert is_kept and seen_then == told and "Camera 'Left' is not in this scene." in refused
    assert found["another's"][0] == told and "Camera 'Right' is not in this scene." in found["another's"][1]
    assert found["mended"] == ["FINISHED", [], True]


def test_a_movie_is_a_warning_and_comes_as_single_frames(seen: dict[str, Any]) -> None:
    found = seen["scene_writes_a_movie"]
    assert found["seen"] == [["movie_format", "warning"]]
    assert ["movie_format", "warning"] in found["checked"] and "error" not in dict(found["checked"]).values()
    assert found["frames"] == ["f_0001.png", "f_0002.png", "f_0003.png"]

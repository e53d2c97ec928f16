"""What may happen to an artist between the click and the last frame: nothing is lost, nothing is printed, and it is said in words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import NEXT_VERSION, run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
EXPECTED = ("matches no enum in 'CloudFarmSceneSettings'", "Error: Scene 'Shot' is linked from another file", "Fra:1 ")
"""What Blender prints by itself: of a choice that it does not know, of an operator that refuses, of its own rendering."""
ACCIDENTS = (
    "blender_renders_in_background", "worker_is_killed", "worker_is_killed_while_it_sends", "another_file_is_opened",
    "scene_is_deleted", "file_is_moved", "add_on_is_disabled", "saved_by_a_newer_add_on",
    "output_path_is_invalid", "farm_asks_for_online_access", "scene_is_linked", "scene_has_a_namesake",
    "edit_is_undone", "frame_is_rendered_here", "factory_settings_are_read", "add_on_is_updated",
    "scene_is_sent_again_meanwhile", "frames_are_rubbish",
)  # fmt: skip
"""Those of `accidents.py` in which Blender itself has a part."""
FRAMES = ["f_0001.png", "f_0002.png", "f_0003.png"]


@pytest.fixture(scope="module")
def seen(extension: Path, next_extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each accident."""
    folder = tmp_path_factory.mktemp("accidents")
    return run_in_blender("accidents.py", extension, folder, str(next_extension), *ACCIDENTS, expected=EXPECTED)


def test_a_killed_worker_is_started_again_and_goes_on(seen: dict[str, Any]) -> None:
    assert seen["worker_is_killed"] == [FRAMES, ""]
    assert seen["worker_is_killed_while_it_sends"] == [True, FRAMES]


def test_another_file_may_be_opened_at_once(seen: dict[str, Any]) -> None:
    landed, is_listed, shown = seen["another_file_is_opened"]
    assert (landed, is_listed, shown) == (FRAMES, True, ["left (Cloud Farm)"])


@pytest.mark.parametrize(
    "accident",
    [
        "scene_is_deleted",
        "file_is_moved",
        "add_on_is_disabled",
        "saved_by_a_newer_add_on",
        "scene_is_linked",
        "frame_is_rendered_here",
    ],
)
def test_the_job_goes_on(seen: dict[str, Any], accident: str) -> None:
    assert seen[accident] == FRAMES


def test_a_folder_that_can_not_be_is_told_before_anything_is_sent(seen: dict[str, Any]) -> None:
    said, may_go_on = seen["output_path_is_invalid"]
    assert "a file" in said
    assert may_go_on, "a folder can be mounted"


def test_a_farm_over_the_network_says_how_to_allow_it(seen: dict[str, Any]) -> None:
    assert "Allow Online Access in Preferences, System, Network" in seen["farm_asks_for_online_access"]


def test_two_jobs_in_one_folder_show_each_its_own_frames(seen: dict[str, Any]) -> None:
    found = seen["scene_is_sent_again_meanwhile"]
    assert found["overlaps"], "the first is still rendered"
    assert (found["widths"], found["problem"]) == ({"first": [32] * 5, "second": [64] * 5}, "")
    aside = re.compile(
        r"(\d frame files were|1 frame file was) put into .*/tweaked \(tweaked-.*\): something newer has .*"
    )
    assert any(aside.fullmatch(text) for texts in found["said"].values() for text in texts), found["said"]


def test_frames_that_are_no_pictures_are_told_and_keep_nobody(seen: dict[str, Any]) -> None:
    found = seen["frames_are_rubbish"]
    (said,) = found["said"]
    assert re.fullmatch(r"Frame \d can't be shown: /spoilt/f_000\d.png is no PNG file\. .*", said)
    assert (found["sound"], found["listed"]) == ([], ["done", "done"])
    assert found["shown"] == ["sound (Cloud Farm)"]


def test_an_update_finds_the_jobs_of_the_old_version(seen: dict[str, Any]) -> None:
    assert seen["add_on_is_updated"] == [NEXT_VERSION, FRAMES]


def test_factory_settings_take_the_add_on_and_not_its_jobs(seen: dict[str, Any]) -> None:
    assert seen["factory_settings_are_read"] == [False, FRAMES]


def test_what_was_undone_is_not_sent_and_undo_does_no_harm(seen: dict[str, Any]) -> None:
    assert seen["edit_is_undone"] == [3, FRAMES]


def test_a_linked_scene_that_can_not_be_told_from_another_is_refused(seen: dict[str, Any]) -> None:
    assert "Scene 'Shot' is linked from another file" in seen["scene_has_a_namesake"]
    assert "Rename" in seen["scene_has_a_namesake"]


def test_without_a_window_the_add_on_keeps_still(seen: dict[str, Any]) -> None:
    """Who renders in the background wants that and nothing else; what was left waits for a Blender with a window."""
    assert seen["blender_renders_in_background"] == [False, True, False]

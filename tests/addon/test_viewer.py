"""Frames that land: which editor shows them, what large ones do, and the strip in the sequencer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
SHOT = "shot (Cloud Farm)"


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_in_blender("viewer.py", extension, tmp_path_factory.mktemp("viewer"))


def test_frames_come_into_empty_editors_and_leave_the_artists_work_alone(seen: dict[str, Any]) -> None:
    first, *others = seen["landing"]["editors"]
    assert first == "wood" and others and set(others) == {SHOT}


def test_the_newest_frame_is_followed_or_all_can_be_scrubbed_or_one_stays(seen: dict[str, Any]) -> None:
    found = seen["landing"]
    assert found["follows"] == [4, 1]
    assert found["all"] == [1, 0, 4]
    assert found["pinned"] == found["still pinned"] == [2, 1]
    assert found["here"] == [1, 2, 4, 5]


def test_what_is_asked_for_takes_one_editor_and_the_one_at_the_mouse_first(seen: dict[str, Any]) -> None:
    taken = seen["landing"]["shown where all is taken"]
    assert taken[0] == SHOT and set(taken[1:]) == {"wood"}
    at_mouse = seen["landing"]["shown where the mouse is"]
    assert at_mouse[2] == SHOT and {*at_mouse[:2], *at_mouse[3:]} == {"wood"}


def test_a_large_frame_is_shown_by_a_preview_and_read_by_nobody(seen: dict[str, Any]) -> None:
    found = seen["large_frames"]
    assert found["asked"] == [["large-20261130-abc123", "l_0001.exr"]] * 2, "asked again after a no, never after a yes"
    assert set(found["before"]) == {""}
    assert set(found["after"]) == {"large (Cloud Farm preview)"}
    assert len(found["previews"]) == 1


def test_the_worker_makes_the_preview(seen: dict[str, Any]) -> None:
    found = seen["by_the_worker"]
    assert found == {"shown": ["real-20261130-abc123 (Cloud Farm preview)"], "size": [1024, 768], "problem": ""}


def test_a_click_shows_the_frame_of_its_own_camera(seen: dict[str, Any]) -> None:
    found = seen["two_cameras"]
    assert set(found["come"]) == {"two Left (Cloud Farm)"}, "the other one waits until it is asked for"
    assert found["clicked"] == ["", "two Right (Cloud Farm)", ["SEQUENCE", "Right_f_0001.png"]]
    assert found["viewed"][0] == "" and "two Left (Cloud Farm)" in found["viewed"][1]
    assert found["absent"] == "Frame 7 is not here yet"


def test_frames_of_an_earlier_job_are_found_by_the_names_of_two(seen: dict[str, Any]) -> None:
    assert seen["earlier_job"] == {"here": [9999, 10000, 10001], "of": [True, False]}


def test_frames_that_blender_knows_no_sequence_of_are_shown_one_by_one(seen: dict[str, Any]) -> None:
    """It takes the last digits of a name for the frame, and none below zero."""
    versions, below_zero = seen["other_digits"]["versions"], seen["other_digits"]["below zero"]
    assert versions == [["FILE", "shot_0011_v2.png"], "", ["FILE", "shot_0002_v2.png"], [2, 3, 11], False]
    assert below_zero == [["FILE", "n0001.png"], "", ["FILE", "n-0001.png"], [-1, 0, 1], False]


def test_frames_that_were_moved_away_are_missed_in_words(seen: dict[str, Any]) -> None:
    found = seen["moved_away"]
    assert (found["one"], found["shown"]) == ("", True)
    assert found["all"] == "The job's frames are not in their folder any more"


def test_the_strip_holds_a_frame_that_lacks_its_next_and_keeps_its_place(seen: dict[str, Any]) -> None:
    found = seen["strips"]
    assert found["strip"] == [1, 1, [f"f_000{n}.png" for n in (1, 2, 2, 4, 5)]]
    assert found["strip again"] == [5, 1, [f"f_000{n}.png" for n in (1, 2, 3, 4, 5)]]
    assert found["long"] == [[2000, 1], [2000, 2001], [501, 4001]]


def test_a_log_is_shown_from_its_end_and_says_where_it_is_whole(seen: dict[str, Any]) -> None:
    found = seen["logs"]
    name, top = found["first"]
    assert name == "a.log" and 50 < top < 100
    assert (found["lines"], found["texts"]) == (2001, 1)
    assert found["head"] == "== The last 2,000 of 12,345 lines. All of them: /logs/a.log"


def test_ten_thousand_frames_are_one_image_and_little_memory(seen: dict[str, Any]) -> None:
    assert seen["many_frames"]["images"] == 0
    assert seen["many_frames"]["megabytes"] < 100

"""Frames that land: which editor shows them, what large ones do, and the strip in the sequencer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
SHOT = "shot (Cloud Farm)"
EXPECTED = ("Error: Cannot read", "Failed to open dir")
"""What Blender prints by itself of a path that is too long for it."""


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_in_blender("viewer.py", extension, tmp_path_factory.mktemp("viewer"), expected=EXPECTED)


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


def test_an_image_never_shows_a_file_that_another_job_has_taken(seen: dict[str, Any]) -> None:
    found = seen["two_jobs_in_a_folder"]
    assert found["before"] == [True, ["SEQUENCE", "t/t_0001.png"]]
    assert found["one is taken"] == [False, True, ["FILE", "t/t_0002.png"]]
    assert found["asked"] == [False, True], "the worker knows where the other went"


def test_frames_are_shown_where_they_are(seen: dict[str, Any]) -> None:
    found = seen["two_jobs_in_a_folder"]
    assert found["beside"] == {
        "old": ["t/t_0002.png", "t (old)/t_0003.png"],
        "new": ["t/t_0001.png", "t (new)/t_0002.png"],
    }
    places = ("t (new)/t_0002.png", "t/t_0002.png", "t/t_0001.png", "t (old)/t_0003.png")
    assert found["clicked"][:4] == [["", ["FILE", where]] for where in places]
    assert found["clicked"][4][0] == "Frame 1 is not here yet"


def test_editors_go_over_to_the_job_that_took_all_places(seen: dict[str, Any]) -> None:
    shown, then, *have = seen["two_jobs_in_a_folder"]["all are taken"]
    assert (shown, then, have) == ("past (Cloud Farm)", ["present (Cloud Farm)"], [False, True])


def test_a_frame_that_is_no_picture_is_told_and_keeps_no_other(seen: dict[str, Any]) -> None:
    found = seen["rubbish"]
    why_not = "/r_0003.png is no PNG file. Render Frames Again makes another."
    assert found["told"] == [f"Frame 3 can't be shown: {why_not}"]
    assert (found["shown"], found["others"]) == (["good (Cloud Farm)"], [[], [3]])
    assert found["viewed"] == ["", [1]], "the one that can be read"
    assert found["clicked"] == why_not.replace("3", "2")
    assert found["mended"] == []


def test_a_frame_that_blender_refuses_is_told(seen: dict[str, Any]) -> None:
    assert seen["too_long_a_path"]["told"] == ["Frame 1 can't be shown: Err"]


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


@pytest.fixture(scope="module")
def long_job(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_in_blender("long_job.py", extension, tmp_path_factory.mktemp("long"))


def test_ten_thousand_frames_are_one_sequence_that_can_be_scrubbed(long_job: dict[str, Any]) -> None:
    assert long_job["newest"] == ["SEQUENCE", 10_000]
    assert long_job["all"] == [1, 0, 10_000, 10_000], "from the first frame to the last, and all are here"
    assert long_job["scrubbed"] > 300
    assert long_job["bright"] == {"7001": 1.0}, "only the frame that differs: each is read at its place of the timeline"


def test_ten_thousand_frames_are_one_image_and_little_memory(long_job: dict[str, Any]) -> None:
    assert long_job["images"] == 1
    assert long_job["megabytes"] < 100


def test_a_frame_costs_what_it_costs_however_many_there_are(long_job: dict[str, Any]) -> None:
    """Counted in calls, and files that are opened, not by a clock."""
    (first, opened_first), (last, opened_last) = long_job["first"], long_job["last"]
    assert 0 < last < 1.5 * first, "calls for the last thousand, and the first"
    assert 0 < opened_last <= opened_first
    assert long_job["listed"] == 0, "no folder is read through"

"""Every button of a job that lives, scouts and presets, each pressed in a Blender with the built extension and a farm behind it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]

EXPECTED = (
    "Info: 'Left' renders now", "Info: 'Right' renders now", "Writing Preset: ", "Info: 6 frames are in the video sequencer",
    "Error: The frame range 'two' has a part that is not a frame",
)  # fmt: skip
"""What Blender prints of what operators report, and by itself of a preset."""
SIX = [f"f_{frame:04d}.png" for frame in range(1, 7)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the artist's profile, home and work are."""
    return tmp_path_factory.mktemp("buttons")


@pytest.fixture(scope="module")
def seen(extension: Path, folder: Path) -> dict[str, Any]:
    """What came of each button."""
    return run_in_blender("buttons.py", extension, folder, expected=EXPECTED)


@pytest.fixture
def job(seen: dict[str, Any]) -> dict[str, Any]:
    """What came of the buttons of one job."""
    return dict(seen["job_lives"])


def test_a_job_is_paused_and_goes_on_is_cancelled_and_retried(job: dict[str, Any]) -> None:
    assert job["rendering"] == ["pause", "cancel"]
    assert job["paused"] == [["resume", "cancel", "delete"], True], "and frames are left to be rendered"
    assert job["cancelled"] == [["retry", "render_again", "delete"], True], "after more frames, and not all"
    assert job["done"] == [["render_again", "delete"], 6, SIX]
    assert job["problem"] == ""


def test_frames_that_came_before_are_viewed_and_become_a_strip(job: dict[str, Any]) -> None:
    assert job["view"] == ["lives (Cloud Farm)", 6]
    assert job["strips"] == [["lives", 6]]


def test_a_frame_that_is_rendered_again_comes_into_the_image(job: dict[str, Any]) -> None:
    again = job["again"]
    assert "'two'" in again["refused"]
    assert again["newer"] == ["f_0002.png"], "and no other"
    assert (again["before"], again["shown"]) == (6, ["lives (Cloud Farm)", 2])


def test_logs_come_into_the_text_editor(job: dict[str, Any]) -> None:
    assert job["logs"] == [True, True]
    assert job["own log"] == ["Cloud Farm.log", True]


def test_the_desktop_opens_the_folder_in_which_frames_land(job: dict[str, Any]) -> None:
    assert job["opened"] == ["lives"]


def test_the_command_that_is_copied_follows_the_job_in_a_terminal(job: dict[str, Any], folder: Path) -> None:
    answer, command = job["command"]
    program, *words = shlex.split(command)
    assert (answer, program) == ("FINISHED", "cloud-farm") and job["job"] in words
    backend = Path(__file__).parents[2] / "backend"
    environment = {**os.environ, "PYTHONPATH": str(backend), "CLOUD_FARM_HOME": str(folder / "home")}
    followed = subprocess.run(
        [sys.executable, "-m", "cloud_farm", *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert followed.returncode == 0, followed.stderr
    assert f"Done: 6 frames in {folder / 'work' / 'lives'}" in followed.stdout


def test_a_deleted_job_leaves_the_list_and_the_volume_and_its_frames_stay(seen: dict[str, Any]) -> None:
    was_there, is_on_volume, is_listed, is_listed_again = seen["job_is_deleted"]["there"]
    assert was_there and not (is_on_volume or is_listed or is_listed_again)
    assert seen["job_is_deleted"]["frames"] == SIX[:3]


def test_scouts_say_how_long_all_of_it_will_take_and_then_it_is_sent(seen: dict[str, Any]) -> None:
    found = seen["scouts_are_sent"]
    assert found["scouts"] == ["done", 3, [SIX[0], SIX[2], SIX[4]]], "the first, the middle and the last"
    estimate = found["estimate"]
    assert estimate["measured"]["frames"] == 3 and estimate["measured"]["frame_seconds"] > 0
    assert estimate["seconds"] >= estimate["measured"]["frame_seconds"] and found["all"] == 5
    assert (found["sent"], found["kept"], found["left"]) == ([5, SIX[:5]], 1, 0)


def test_scouts_that_are_stopped_are_cancelled_and_leave_no_copy(seen: dict[str, Any]) -> None:
    found = seen["scouts_are_stopped"]
    assert (found["states"], found["problem"]) == (["cancelled"], "")
    assert 0 < len(found["landed"]) < 3 and set(found["landed"]) < {SIX[0], SIX[2], SIX[4]}, (
        "in whatever order they end"
    )


def test_a_preset_keeps_the_overrides_until_it_is_removed(seen: dict[str, Any]) -> None:
    found = seen["presets_are_kept"]
    assert (found["added"], found["file"], found["shown"]) == (["FINISHED"], "Night_Run.py", "Night Run")
    taken, before = found["taken up"], found["another scene"]
    assert taken == {
        "frames": "CUSTOM", "custom_frames": "1-5", "device": "cpu", "use_samples": True, "samples": 7,
        "use_percentage": True, "percentage": 33, "chunk_size": 4,
    }  # fmt: skip
    assert all(before[name] != value for name, value in taken.items()), "each of them came with the preset"
    assert found["its own"] == [True, True], "cameras and view layers are a scene's own"
    assert not found["is left"]


def test_other_scenes_can_be_sent_while_one_is_on_its_way_and_be_left(seen: dict[str, Any]) -> None:
    found = seen["others_are_sent_meanwhile"]
    assert found["again"] == [False, False], "the same one is not sent twice"
    assert found["two"] == found["three"] == [True, False, "FINISHED"]
    assert found["copies"] == 3
    assert found["drawn"] == [["two, local: Waits", "three, local: Waits"], 1], "the third could be sent anew"
    three = ["f_0001.png", "f_0002.png", "f_0003.png"]
    assert (found["frames"], found["left"]) == ([three, three, []], 0)


def test_a_camera_of_the_scene_is_made_the_one_that_renders(seen: dict[str, Any]) -> None:
    found = seen["camera_is_chosen"]
    assert found["without"] == [["no_camera"], False], "there is none to be used"
    assert found["not chosen"] == [["no_camera"], True]
    assert (found["first"], found["active"]) == (["Left", []], ["Right", []])

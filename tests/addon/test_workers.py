"""Workers, checks and jobs that don't end as they should, whichever Blender it is: nothing is lost, and it is said in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = pytest.mark.blender
FRAMES = ["f_0001.png", "f_0002.png", "f_0003.png"]
ACCIDENTS = ("worker_is_killed_each_time", "check_is_stopped", "job_ends_while_nobody_looks", "another_computer_sends")


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each accident."""
    return run_in_blender("accidents.py", extension, tmp_path_factory.mktemp("workers"), "", *ACCIDENTS)


def test_workers_that_are_killed_each_time_come_to_an_end_and_the_artist_decides(seen: dict[str, Any]) -> None:
    killed, said, may_go_on, landed = seen["worker_is_killed_each_time"]
    assert (killed, may_go_on, landed) == (4, True, FRAMES)
    assert "worker process ended" in said and "worker.log" in said


def test_a_check_that_is_stopped_leaves_no_blender_behind(seen: dict[str, Any]) -> None:
    assert seen["check_is_stopped"] is False


def test_frames_of_a_job_that_ended_meanwhile_land_once(seen: dict[str, Any]) -> None:
    """Where the artist moves them to afterwards is her business."""
    were_missing, landed, landed_again = seen["job_ends_while_nobody_looks"]
    assert (were_missing, landed, landed_again) == (True, 3, [])


def test_a_job_of_another_computer_says_whom_it_waits_for(seen: dict[str, Any]) -> None:
    state, (message,) = seen["another_computer_sends"]
    assert state == "uploading"
    assert message.startswith("Waiting for far-away, which sends it")

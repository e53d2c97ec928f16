"""Jobs that somebody evil put on the volume: nothing of them leaves its folder, nothing runs, and the artist reads why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = pytest.mark.blender


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each job."""
    return run_in_blender("hostile.py", extension, tmp_path_factory.mktemp("hostile"))


def test_nothing_leaves_the_folder_of_the_frames_and_no_command_runs(seen: dict[str, Any]) -> None:
    assert (seen["escaped"], seen["images"]) == ([], [])


def test_frames_with_names_that_lead_out_are_told(seen: dict[str, Any]) -> None:
    said = " ".join(seen["frame_names_that_lead_out"]["said"])
    assert "could leave its folder" in said and "../../../escaped.png" in said


def test_a_job_that_was_edited_is_not_rendered(seen: dict[str, Any]) -> None:
    found = seen["a_job_that_lies"]
    assert found["listed"] == ["../../escaped"], "its name is only shown"
    assert "The file list in job.json is not the one that was submitted." in " ".join(found["said"])

"""The whole of it without a window: the built zip in an empty profile, a scene with a painted texture, frames that come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What an artist saw, and the folder with her files."""
    folder = tmp_path_factory.mktemp("artist")
    return run_in_blender("artist.py", extension, folder, work="Käthes 3. Projekt"), folder / "Käthes 3. Projekt"


def test_a_copy_of_other_frames_or_for_another_folder_takes_nobodys_place(seen: tuple[dict[str, Any], Path]) -> None:
    first, *others, again = seen[0]["sources"]
    assert first == again and len({first, *others}) == 3


def test_frames_land_where_the_scene_says_and_are_seen(seen: tuple[dict[str, Any], Path]) -> None:
    found, folder = seen
    assert found["answer"] == ["FINISHED"]
    assert found["jobs"] == [["käthe's scene", "done", 3, 3]]
    assert found["landing"] == str(folder / "out")
    assert found["frames"] == ["shot_0001.png", "shot_0002.png", "shot_0003.png"]
    assert found["shown"] == [["käthe's scene (Cloud Farm)", "SEQUENCE", "out"]]


def test_a_texture_that_was_painted_and_not_saved_arrives(seen: tuple[dict[str, Any], Path]) -> None:
    red, green = [1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]
    assert seen[0]["pixel"] == green != red


def test_the_artists_session_stays_as_it_was(seen: tuple[dict[str, Any], Path]) -> None:
    before, after = seen[0]["before and after"]
    assert before == after
    assert before[4], "the image was painted"


def test_the_copy_of_the_scene_is_gone_once_the_job_is_on_the_farm(seen: tuple[dict[str, Any], Path]) -> None:
    assert seen[0]["snapshots"] == [1, 0]
    assert sorted(path.name for path in seen[1].iterdir()) == ["käthe's scene.blend", "out", "paint.png"]


def test_a_click_on_a_frame_of_an_earlier_job_shows_that_frame(seen: tuple[dict[str, Any], Path]) -> None:
    assert seen[0]["clicked"] == ["käthe's scene (Cloud Farm)", 2, False, ""]


def test_frames_of_the_first_time_are_no_part_of_the_scene_the_second_time(seen: tuple[dict[str, Any], Path]) -> None:
    """The Image Editor shows them, and they were moved away since."""
    assert seen[0]["sent again"] == ["done", ["shot_0001.png", "shot_0002.png", "shot_0003.png"]]


def test_disabled_and_removed_nothing_is_left(seen: tuple[dict[str, Any], Path]) -> None:
    assert seen[0]["left"] == []
    assert seen[0]["left on disk"] == [], "nor of what was sent and noted down"

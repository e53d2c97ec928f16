"""What an artist sees of a job's frames when something is in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]
EXPECTED = ("Warning: The folder is not here: ",)
"""What Blender prints of what an operator reports."""


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_in_blender("viewed.py", extension, tmp_path_factory.mktemp("viewed"), expected=EXPECTED)


def test_a_preview_that_can_not_be_read_is_told_as_frames_are(seen: dict[str, Any]) -> None:
    found = seen["preview_is_gone"]
    assert found["gone"] == ["Frame 1 can't be shown: /gone.png can't be read: No such file or directory."]
    assert found["images"] == ["large (Cloud Farm preview)"]
    assert found["gone again"] == 1


def test_the_folder_of_frames_is_looked_for_when_it_is_asked_for_and_never_while_drawing(seen: dict[str, Any]) -> None:
    found = seen["folder_is_away"]
    assert not found["unknown"], "nobody said yet where that is"
    assert found["drawn"] == [True, 0]
    assert found["pressed"] == ["CANCELLED"]


def test_frames_that_landed_earlier_get_an_editor_of_their_own_where_none_is_open(seen: dict[str, Any]) -> None:
    found = seen["answered_without_an_editor"]
    assert found["opened"] == [True], "once, and from a window"
    assert (found["shown"], found["problem"]) == (["seen (Cloud Farm)"], "")


def test_an_answer_without_frames_is_told(seen: dict[str, Any]) -> None:
    assert list(seen["answer_is_empty"].values()) == ["The farm has no frames of this job", "Frame 7 is not here yet"]


def test_undo_and_redo_leave_frames_and_previews_in_their_editors(seen: dict[str, Any]) -> None:
    found, both = seen["undone"], ["seen Left (Cloud Farm)", "big (Cloud Farm preview)", "wood"]
    assert found["before"] == both
    for what in ("undone", "redone", "twice"):
        assert found[what] == [["", "", "wood"], both], f"{what}: Blender empties them, and the next turn puts all back"
    assert found["frame"] == [5, 2, 1], "the artist's edit is undone, and the newest frame is shown"


def test_what_an_artist_took_out_of_an_editor_or_moved_away_stays_out(seen: dict[str, Any]) -> None:
    found, (_, preview, wood) = seen["undone"], seen["undone"]["before"]
    assert found["taken out by hand"][1] == ["", preview, wood]
    assert found["shown again"] == ["", "seen Left (Cloud Farm)"]
    assert found["gone"] == [["", "", wood]] * 2


def test_undo_turns_no_image_back_to_an_older_frame(seen: dict[str, Any]) -> None:
    found = seen["turned_back"]
    assert found["newest"] == ["t_0001_v2.png", "t_0003_v2.png"]
    assert found["chosen"] == ["t_0001_v2.png", "t_0002_v2.png"]


def test_a_disabled_add_on_hears_of_no_undo(seen: dict[str, Any]) -> None:
    assert seen["disabled"] == {name: [1, 0] for name in ("undo_pre", "redo_pre", "load_post")}

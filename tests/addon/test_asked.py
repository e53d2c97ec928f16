"""What the artist is asked before something is done, and what is said when it can't be: in words, and with nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]

EXPECTED = (
    "Warning: The job is not listed any more", "Info: Sound 'rain' can be found in the Outliner", "Warning: Object 'Hidden' is hidden or can't be selected",
    "Info: Saved a copy in ",
)  # fmt: skip


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was asked and said."""
    folder = tmp_path_factory.mktemp("asked")
    return run_in_blender("asked.py", extension, folder, expected=EXPECTED)


@pytest.mark.parametrize(("button", "words"), [("delete", "Delete Job"), ("cancel", "Cancel Job")])
def test_what_can_not_be_taken_back_names_its_job(seen: dict[str, Any], button: str, words: str) -> None:
    asked = seen["jobs"][button]
    assert asked["title"] == f"{words} 'shot'?" and asked["confirm_text"] == words
    assert "ada" in asked["message"] and "24 frames" in asked["message"]


def test_a_job_that_is_gone_when_the_question_is_answered_is_told(seen: dict[str, Any]) -> None:
    """And no other one is deleted in its place."""
    assert (seen["jobs"]["gone"], seen["jobs"]["deleted"]) == ("", False)


def test_a_preview_range_that_is_not_set_is_told_and_not_rendered(seen: dict[str, Any]) -> None:
    assert seen["preview"]["none"] == ["error"] and "no preview range" in seen["preview"]["refused"]
    assert seen["preview"]["some"] == [] and seen["preview"]["frames"] == "5-9:1"


def test_paint_on_a_librarys_image_is_not_lost_without_a_word(seen: dict[str, Any]) -> None:
    said = seen["painted"]["a library's"]
    assert "Image 'wood'" in said and "library.blend" in said and "Save it" in said
    assert seen["painted"]["nothing uses it"] == ""


def test_a_range_that_is_too_large_is_read_once(seen: dict[str, Any]) -> None:
    assert seen["typed"] == 0


def test_a_name_that_no_farm_can_have_is_told_as_one_types(seen: dict[str, Any]) -> None:
    said = seen["named"]
    assert (said[""], said["other"]) == ([], [])
    assert said["studio"] == ["There is a farm 'studio' already"]
    assert said["my farm"] == ["'my farm' is not a farm's name: use letters, digits, '-' and '_'."]


def test_a_click_on_what_has_no_editor_of_its_own_finds_it_in_the_outliner(seen: dict[str, Any]) -> None:
    assert seen["clicked"] == ["CANCELLED", "", "FINISHED", "rain"]


def test_a_click_on_an_object_selects_it_and_can_be_undone(seen: dict[str, Any]) -> None:
    found = seen["objects"]
    assert found["shown"] == ["FINISHED", "Seen", "Seen"] and found["undone"] == ["Before", "Before"]


def test_an_object_that_can_not_be_selected_says_why_and_nothing_else_is_let_go(seen: dict[str, Any]) -> None:
    found = seen["objects"]
    for name, why in (
        ("Hidden", "is hidden or"),
        ("Locked", "can't be selected"),
        ("Far", "is not in this view layer"),
    ):
        said, *chosen = found[name]
        assert f"Object '{name}'" in said and why in said and chosen == ["Before", "Before"]
    assert found["in the outliner"] == ["FINISHED", "Hidden"]


def test_who_gave_no_password_is_told_where_to_give_it(seen: dict[str, Any]) -> None:
    said, may_go_on = seen["no password"]
    assert "'studio'" in said and "Password" in said and "Edit, in Cloud Farm's preferences" in said
    assert may_go_on, "once it is given"

"""What a turn of the add-on does: Blender's window stands still meanwhile, so it is little, however much there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]


@pytest.fixture(scope="module")
def turns(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each."""
    return run_in_blender("turns.py", extension, tmp_path_factory.mktemp("turns"))


def test_what_python_must_compile_is_loaded_one_module_a_turn(turns: dict[str, Any]) -> None:
    first = turns["first"]
    assert [len(modules) for modules in first["loaded"]].count(1) == 2 and max(map(len, first["loaded"])) == 1
    assert (first["has all"], first["asked"]) == (True, False)


def test_very_many_jobs_are_listed_in_several_turns_and_what_changes_in_one(turns: dict[str, Any]) -> None:
    assert turns["many"] == {"at first": [4, "shot-0"], "new": [1, "shot-700"], "another file": [5, "shot-5000"]}


def test_a_list_that_is_seen_stays_fresh_while_the_mouse_rests(turns: dict[str, Any]) -> None:
    """What shows it is drawn when a list came, and once more when that is old."""
    first, *later = turns["rests"]["seen"]
    assert first == [1, 1] and later == [[1, 2], [1, 2]]
    assert turns["rests"]["open again"] == [1, 1]


def test_a_list_that_nobody_sees_is_not_asked_for(turns: dict[str, Any]) -> None:
    assert turns["rests"]["closed"] == [[0, 1], [0, 0], [0, 0]], "it is looked for once"


def test_the_status_bar_is_drawn_when_there_is_something_else_to_see(turns: dict[str, Any]) -> None:
    assert turns["bar"]["drawn"] == 3


def test_whoever_set_the_status_text_the_bar_shows_what_is_sent(turns: dict[str, Any]) -> None:
    assert turns["bar"]["lost"], "else this shows nothing"
    assert (turns["bar"]["is there"], turns["bar"]["left"]) == (1, 0)


def test_a_worker_whose_last_words_are_no_answer_is_told_to_all_who_asked(turns: dict[str, Any]) -> None:
    found = turns["last words"]
    assert found["has news"] and not found["runs"]
    (told,) = found["told"]
    assert "something that is no answer" in told and "worker.log" in told
    assert found["printed"] == ["KeyError: 'result'"], "what one of them does wrong is printed"
    assert found["waits"], "what is asked thereupon is for the next worker"

"""Blender's own list of jobs: a turn writes what changed and no more, and comes to the same list as one that is filled anew."""

from __future__ import annotations

import random
from typing import Any

import pytest

from .alone import alone

ROWS: Any = alone("job_rows")
MOST = ROWS._MOST_ROWS


class Item:
    """A row, which tells its list when it is written to."""

    touched: set[int]

    def __init__(self, listed: Listed) -> None:
        self.__dict__["touched"] = listed.touched

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value
        self.touched.add(id(self))


class Listed(list[Item]):
    """A list of Blender's."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: set[int] = set()

    def add(self) -> Item:
        self.append(Item(self))
        return self[-1]

    def remove(self, place: Any) -> None:
        del self[place]

    def move(self, source: int, target: int) -> None:
        self.insert(target, self.pop(source))

    def shown(self) -> list[tuple[Any, ...]]:
        return [(item.name, *(getattr(item, field) for field in ROWS.FIELDS)) for item in self]  # type: ignore[attr-defined]


def job(number: int, **values: Any) -> dict[str, Any]:
    return {
        "id": f"shot-{number}", "title": "shot", "farm": "local", "state": "rendering", "owner": "ada", "created": "2026-11-29T10:00:00Z",
        "frames_done": 0, "frames_failed": 0, "frames_total": 24, **values,
    }  # fmt: skip


def row(number: int, picture: dict[str, Any] | None = None, **values: Any) -> Any:
    return ROWS.row_of(job(number, **values), picture or {})


def fill(rows: Any, listed: Listed, wanted: list[Any]) -> int:
    """Take turns until the list is there; returns how many."""
    for turn in range(1, 100):
        listed.touched.clear()
        is_there = rows.write(listed, wanted)
        assert len(listed.touched) <= MOST
        if is_there:
            assert listed.shown() == wanted
            return turn
    raise AssertionError("it never ends")


@pytest.fixture
def rows() -> Any:
    return ROWS.JobRows()


def test_one_of_two_thousand_that_changed_is_one_row(rows: Any) -> None:
    listed, wanted = Listed(), [row(number) for number in range(2000)]
    assert fill(rows, listed, wanted) == 2000 / MOST
    wanted[1234] = row(1234, frames_done=7)
    assert fill(rows, listed, wanted) == 1
    assert listed.touched == {id(listed[1234])}
    assert fill(rows, listed, wanted) == 1 and not listed.touched


def test_a_job_that_is_new_or_gone_moves_no_other(rows: Any) -> None:
    listed, wanted = Listed(), [row(number) for number in range(2000)]
    fill(rows, listed, wanted)
    wanted = [row(5000), *wanted[:700], *wanted[702:]]
    assert fill(rows, listed, wanted) == 1
    assert listed.touched == {id(listed[0])} and rows.place_of("shot-5000") == 0 and rows.place_of("shot-700") is None


def test_a_list_that_blender_emptied_is_filled_anew(rows: Any) -> None:
    listed, wanted = Listed(), [row(number) for number in range(3)]
    fill(rows, listed, wanted)
    listed.clear()
    fill(rows, listed, wanted)
    rows.forget()
    fill(rows, listed, wanted)
    fill(rows, listed, [])


def test_whatever_becomes_of_the_jobs_the_list_is_theirs(rows: Any) -> None:
    dice, listed = random.Random(7), Listed()
    for _ in range(200):
        wanted = [row(number, frames_done=dice.randrange(3)) for number in dice.sample(range(600), dice.randrange(600))]
        if dice.random() < 0.8:
            wanted.sort()
        fill(rows, listed, wanted)


def test_the_time_left_is_told_of_what_renders(rows: Any) -> None:
    picture = {"eta_seconds": 60.0}
    assert [row(1, picture)[-1], row(1, picture, state="done")[-1], row(1)[-1]] == [60.0, -1.0, -1.0]

"""Blender's own list of jobs, kept as the worker's is: only what changed is written, and a bounded number of rows a turn.

A team may have thousands of jobs, and each property that is written costs Blender a look at its window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIELDS = ("title", "farm", "state", "owner", "created", "done", "failed", "total", "seconds_left")
_KEYS = ("id", "title", "farm", "state", "owner", "created", "frames_done", "frames_failed", "frames_total")
_MOST_ROWS = 250  # a turn; the rest waits for the next one

Row = tuple[Any, ...]


def row_of(job: Mapping[str, Any], picture: Mapping[str, Any]) -> Row:
    """Return a job's row: its id, and the values of FIELDS."""
    left = picture.get("eta_seconds") if job["state"] == "rendering" else None
    return (*[job[key] for key in _KEYS], -1.0 if left is None else left)


class JobRows:
    """Writes the rows, and knows what it wrote."""

    def __init__(self) -> None:
        self._written: list[Row] = []

    def forget(self) -> None:
        """Know no more what is in Blender's list, which it empties with each file."""
        self._written = []

    def place_of(self, job: str) -> int | None:
        """Return at which place of the list a job is."""
        return next((place for place, row in enumerate(self._written) if row[0] == job), None)

    def write(self, listed: Any, rows: Sequence[Row]) -> bool:
        """Bring the list closer to these rows; tells whether it is there."""
        if len(listed) != len(self._written) or not self._is_kin_to(rows):
            listed.clear()
            self._written = []
        budget = self._remove_gone(listed, rows, _MOST_ROWS)
        if budget:
            budget = self._insert_new(listed, rows, budget)
        if len(self._written) != len(rows):
            return False
        changed = [place for place, row in enumerate(rows) if row != self._written[place]]
        for place in changed[:budget]:
            _fill(listed[place], rows[place])
            self._written[place] = rows[place]
        return len(changed) <= budget

    def _is_kin_to(self, rows: Sequence[Row]) -> bool:
        """Whether some of these jobs are in the list, and in this order."""
        known, wanted = {row[0] for row in self._written}, {row[0] for row in rows}
        kept = [row[0] for row in self._written if row[0] in wanted]
        return bool(kept) and kept == [row[0] for row in rows if row[0] in known]

    def _remove_gone(self, listed: Any, rows: Sequence[Row], budget: int) -> int:
        """Take jobs away that are not there any more; returns how many rows may still be written."""
        wanted = {row[0] for row in rows}
        gone = [place for place, row in enumerate(self._written) if row[0] not in wanted][-budget:]
        for place in reversed(gone):
            listed.remove(place)
            del self._written[place]
        return budget - len(gone)

    def _insert_new(self, listed: Any, rows: Sequence[Row], budget: int) -> int:
        """Put jobs in their places that are not there yet; returns how many rows may still be written."""
        known = {row[0] for row in self._written}
        new = [place for place, row in enumerate(rows) if row[0] not in known][:budget]
        for place in new:
            self._insert(listed, place, rows[place])
        return budget - len(new)

    def _insert(self, listed: Any, place: int, row: Row) -> None:
        item = listed.add()
        item.name = row[0]
        _fill(item, row)
        if place < len(self._written):
            listed.move(len(self._written), place)
        self._written.insert(place, row)


def _fill(item: Any, row: Row) -> None:
    for field, value in zip(FIELDS, row[1:], strict=True):
        setattr(item, field, value)

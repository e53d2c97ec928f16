"""Frames in cells: as many as there are, each frame once, and trouble is seen."""

from __future__ import annotations

import pytest
from cloud_farm.frame_cells import MOST_CELLS, FrameCell, cell_state, frame_cells, read_cells
from cloud_farm.frame_table import FrameState


def frames(states: str, camera: str | None = None) -> list[FrameState]:
    """One frame a letter, from 1: d(one), r(endering), w(aiting), f(ailed)."""
    names = {"d": "done", "r": "rendering", "w": "waiting", "f": "failed"}
    return [FrameState(camera, number, names[letter]) for number, letter in enumerate(states, start=1)]


def test_a_few_frames_have_a_cell_each() -> None:
    (found,) = frame_cells(frames("drwf"))
    assert found["camera"] is None
    cells = read_cells(found["cells"], most=10)
    assert [(cell.first, cell.last, cell.state) for cell in cells] == [
        (1, 1, "done"), (2, 2, "rendering"), (3, 3, "waiting"), (4, 4, "failed"),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [MOST_CELLS, MOST_CELLS + 1, 10_000])
@pytest.mark.parametrize("most", [14, 42])
def test_every_frame_is_in_one_cell(count: int, most: int) -> None:
    (found,) = frame_cells(frames("d" * count))
    assert len(found["cells"]) <= MOST_CELLS
    cells = read_cells(found["cells"], most=most)
    assert len(cells) <= most
    assert [cell.first for cell in cells[1:]] == [cell.last + 1 for cell in cells[:-1]]
    assert (cells[0].first, cells[-1].last) == (1, count)
    assert sum(cell.counts[0] for cell in cells) == count


def test_one_failed_frame_of_many_is_seen() -> None:
    (found,) = frame_cells(frames("d" * 5000 + "f" + "d" * 4999))
    failed = [cell for cell in read_cells(found["cells"], most=20) if cell.state == "failed"]
    assert len(failed) == 1 and failed[0].first <= 5001 <= failed[0].last and failed[0].counts[3] == 1


def test_each_camera_has_its_own() -> None:
    found = frame_cells([*frames("d", "A"), *frames("w", "B")])
    assert [strip["camera"] for strip in found] == ["A", "B"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [("dd", "done"), ("dw", "partial"), ("dwr", "rendering"), ("drf", "failed"), ("w", "waiting")],
)
def test_what_a_shared_cell_looks_like(states: str, expected: str) -> None:
    assert cell_state([frame.state for frame in frames(states)]) == expected


def test_no_frames_no_cells() -> None:
    assert frame_cells([]) == [] and read_cells([], most=5) == []
    assert FrameCell(1, 2, (0, 0, 0, 0)).state == "partial"

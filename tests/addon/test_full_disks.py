"""Disks of the artist's computer that are full: nothing half is left, it is said where, and with room again it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..rigs.small_disk import small_disk
from .conftest import run_in_blender

pytestmark = pytest.mark.blender
FRAMES = ["f_0001.png", "f_0002.png", "f_0003.png"]
DISKS = {"profile/extensions/.user/user_default/cloud_farm": "6m", "home": "16m", "work/landing": "64k"}


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What came of each disk."""
    folder = tmp_path_factory.mktemp("disks")
    with ExitStack() as disks:
        for place, size in DISKS.items():
            disks.enter_context(small_disk(folder / place, size))
        expected = ("Error: No space left on device", "Error: The scene's copy can't be written")
        yield run_in_blender("full_disks.py", extension, folder, expected=expected)


def test_the_scenes_copy_is_refused_and_nothing_half_is_left(seen: dict[str, Any]) -> None:
    found = seen["for_the_copy"]
    assert "copy can't be written to" in found["said"] and "No space left on device. Make room there" in found["said"]
    assert (found["left"], found["frames"]) == (0, FRAMES)


def test_a_volume_without_room_is_told_before_anything_is_sent(seen: dict[str, Any]) -> None:
    found = seen["for_the_volume"]
    assert "can't be written: No space left on device. Make room there" in found["said"]
    assert "CLOUD_FARM_HOME" not in found["said"]
    assert found["frames"] == FRAMES


def test_frames_land_by_themselves_once_there_is_room(seen: dict[str, Any]) -> None:
    found = seen["for_the_frames"]
    assert "can't be written to" in found["said"] and "Free some space" in found["said"]
    assert (found["problem"], found["frames"]) == ("", FRAMES)

"""What an artist sees of a job's frames when something is in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import run_in_blender

pytestmark = [pytest.mark.blender, pytest.mark.every_blender]


@pytest.fixture(scope="module")
def seen(extension: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_in_blender("viewed.py", extension, tmp_path_factory.mktemp("viewed"))


def test_a_preview_that_can_not_be_read_is_told_as_frames_are(seen: dict[str, Any]) -> None:
    found = seen["preview_is_gone"]
    assert found["gone"] == ["Frame 1 can't be shown: /gone.png can't be read: No such file or directory."]
    assert found["images"] == ["large (Cloud Farm preview)"]
    assert found["gone again"] == 1

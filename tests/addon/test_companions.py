"""Two Blenders of one artist at once: what was left is sent by one of them, and both show the job and its frames."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import run_in_blender

pytestmark = pytest.mark.blender


def test_two_blenders_and_one_job(extension: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with ThreadPoolExecutor(2) as pool:
        roles = [
            pool.submit(run_in_blender, "companions.py", extension, tmp_path, role) for role in ("first", "second")
        ]
        first, second = (role.result() for role in roles)
    assert len(first["jobs"]) == 1
    assert first == second, "both saw the same"
    assert first["frames"] == ["f_0001.png", "f_0002.png", "f_0003.png"], "and no part of one"
    assert (first["said"], first["left"]) == ([], 0)
    assert first["shown"] == ["shared (Cloud Farm)"]

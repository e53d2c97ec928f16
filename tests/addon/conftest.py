"""The extension as an artist gets it, made once for the run."""

from __future__ import annotations

from pathlib import Path

import pytest

import build

from ..rigs.go_build import cache_folder

NEXT_VERSION = "99.0.0"


def wheel_cache() -> Path:
    """Return where libraries stay between runs."""
    return cache_folder() / "wheels"


@pytest.fixture(scope="session")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the zip."""
    folder = tmp_path_factory.mktemp("extension")
    return build.main(["--output", str(folder), "--wheels", str(wheel_cache())])


@pytest.fixture(scope="session")
def next_extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the zip of a later version."""
    folder = tmp_path_factory.mktemp("extension")
    return build.main(["--output", str(folder), "--wheels", str(wheel_cache()), "--version", NEXT_VERSION])

"""The extension as an artist gets it, made once for the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import build

from ..rigs.go_build import cache_folder

NEXT_VERSION = "99.0.0"


BLENDERS_OWN_WORDS = ("STATUS ", "Info: Saved ", "Info: Total files ", "Info: Preferences saved")
_WRITING = ("Writing userprefs", "Writing user preferences", "Read blend:")
_SECONDS = 500.0


def run_in_blender(
    script: str, extension: Path, folder: Path, *more: str, work: str = "work", expected: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Run one of our scripts in a Blender with the profile in `folder`, empty at first; returns what it prints last.

    Nothing else may be printed, but for lines that have one of `expected` in them.
    """
    done = start_in_blender(script, extension, folder, *more, work=work)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    *said, answer = [line for line in lines if not any(words in line for words in _WRITING)]
    said = [line for line in said if not any(words in line for words in expected)]
    assert [line for line in said if not line.startswith(BLENDERS_OWN_WORDS)] == []
    return dict(json.loads(answer))


def start_in_blender(
    script: str, extension: Path, folder: Path, *more: str, work: str = "work"
) -> subprocess.CompletedProcess[str]:
    """Run one of our scripts in a Blender with the profile in `folder`, offline; returns how that ended."""
    environment = {
        **os.environ,
        "BLENDER_USER_RESOURCES": str(folder / "profile"),
        "CLOUD_FARM_HOME": str(folder / "home"),
    }
    (folder / work).mkdir(exist_ok=True)
    words = [str(Path(__file__).with_name(script)), str(extension), str(folder / work), *more]
    command = [sys.executable, "-I", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS)


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

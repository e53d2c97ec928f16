"""What the tests with a window share: the extension, and where pictures are kept."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..addon.conftest import extension as extension
from .window import WORK, Window, window

_HERE = Path(__file__).parent
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a window, and give it the time that a first build takes."""
    for item in items:
        if "suite" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.gui)
            item.add_marker(pytest.mark.timeout(1800))


@contextlib.contextmanager
def prepared(suite: str, extension: Path, work: Path, pictures: Path, *, installed: bool = True) -> Iterator[Window]:
    """A Blender with the extension installed or to be installed, and a scene beside it: shot.blend."""
    pictures.mkdir(parents=True, exist_ok=True)
    for path in (extension, _HERE / "spy.py", _HERE / "scene.py"):
        shutil.copy(path, work)
    with window(suite, work, pictures) as made:
        if installed:
            made.run("blender", "--command", "extension", "install-file", "-r", "user_default", "-e", extension.name)
        made.run("blender", "-b", "--factory-startup", "--python", "scene.py", "--", f"{WORK}/shot.blend")
        yield made

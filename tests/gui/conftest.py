"""What the tests with a window share: the extension, and where pictures are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..addon.conftest import extension as extension

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a window, and give it the time that a first build takes."""
    for item in items:
        if "suite" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.gui)
            item.add_marker(pytest.mark.timeout(1800))

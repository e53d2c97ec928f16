"""What the tests of the command line share."""

from __future__ import annotations

import pytest

from .fake_farm import FakeFarm


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch) -> FakeFarm:
    """Have every command open a farm that plays a job."""
    fake = FakeFarm()
    monkeypatch.setattr("cloud_farm.farm.open_farm", lambda *_args, **_kwargs: fake)
    return fake

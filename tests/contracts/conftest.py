"""Fixtures of the contract suites: one subject after the other, and the network volume that some of them lie on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..rigs.network_volume import NetworkVolume, why_not
from .subjects import ENGINE_SUBJECTS, STORE_SUBJECTS, EngineSubject, StoreSubject


@pytest.fixture(scope="session")
def network_volume() -> Iterator[NetworkVolume]:
    """One file system for the whole run; every test has a folder of its own on it."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    volume = NetworkVolume.up()
    yield volume
    volume.down()


@pytest.fixture(params=STORE_SUBJECTS)
def store_subject(request: pytest.FixtureRequest) -> StoreSubject:
    """A store with an empty volume."""
    subject: StoreSubject = request.param(request)
    return subject


@pytest.fixture(params=ENGINE_SUBJECTS)
def engine_subject(request: pytest.FixtureRequest) -> EngineSubject:
    """An engine with an empty volume."""
    subject: EngineSubject = request.param(request)
    return subject

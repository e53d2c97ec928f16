"""Fixtures of the contract suites: one subject after the other, and the network volume that some of them lie on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..rigs.filebrowser_server import FileBrowserServer
from ..rigs.network_volume import NetworkVolume, why_not
from ..rigs.processes import RigUnavailable
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


@pytest.fixture(scope="session")
def filebrowser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileBrowserServer]:
    """One server for the whole run; every test has a folder of its own on it."""
    yield from _serve(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def filebrowser_on_network(network_volume: NetworkVolume) -> Iterator[FileBrowserServer]:
    """A server whose root is the first mount of the network volume."""
    yield from _serve(network_volume.mounts[0])


def _serve(root: Path) -> Iterator[FileBrowserServer]:
    try:
        server = FileBrowserServer(root)
    except RigUnavailable as error:
        pytest.skip(str(error))
    with server:
        yield server


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

"""Fixtures of the FileBrowser client's tests: one real server for most of them, and a bad line in front of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from ..rigs.fault_proxy import FaultProxy
from ..rigs.filebrowser_server import FileBrowserServer
from ..rigs.processes import RigUnavailable
from .clients import Door, door_to


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Skip where a fixture's rig is not to be had; CI turns that into a failure."""
    try:
        return (yield)
    except RigUnavailable as why:
        pytest.skip(str(why))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """The same for the rigs that tests start themselves."""
    try:
        return (yield)
    except RigUnavailable as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileBrowserServer]:
    """A server that no test stops; each has a folder of its own on it."""
    with FileBrowserServer(tmp_path_factory.mktemp("volume")) as running:
        yield running


@pytest.fixture
def door(server: FileBrowserServer, tmp_path: Path) -> Door:
    """The way to an empty folder of the common server."""
    return door_to(server, tmp_path)


@pytest.fixture
def line(server: FileBrowserServer) -> Iterator[FaultProxy]:
    """A line to the common server that tests break."""
    with FaultProxy(server.url) as running:
        yield running

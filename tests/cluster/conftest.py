"""What tests on the cluster share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..rigs.fault_proxy import FaultProxy
from .api_line import bad_line
from .argo import ArgoFlavour, ControllerSettings
from .farm import Cluster
from .farmer import Farmer

_TEST_SECONDS = 1800  # the first test waits for the cluster too, and for somebody else's run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of the cluster the time that it takes."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)
        if item.get_closest_marker("cluster") and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS))


@pytest.fixture
def restored_argo(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, for a test that runs another Argo for a while."""
    yield cluster
    if (cluster.flavour, cluster.controller) != (ArgoFlavour(), ControllerSettings()):
        cluster.use_argo(ArgoFlavour())


@pytest.fixture
def farmer(cluster: Cluster, tmp_path: Path) -> Iterator[Farmer]:
    """A farm on the cluster, and who makes jobs on it."""
    cluster.wait_for_filebrowser()  # the test before may have had its node away
    made = Farmer(cluster, tmp_path)
    yield made
    made.clear()


@pytest.fixture
def line(cluster: Cluster, tmp_path: Path) -> Iterator[FaultProxy]:
    """A line to the API as the artist, that can be made bad."""
    with bad_line(cluster, tmp_path) as made:
        yield made

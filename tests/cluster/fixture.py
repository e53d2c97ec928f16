"""The cluster as a fixture; asked for by --cluster or CLOUD_FARM_CLUSTER=1, and then nothing may be missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .farm import Cluster
from .session import available

_PATIENCE = 3600.0


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Kubernetes with Argo 3.7.14, full definitions: the one that was started by hand, else one for this run."""
    with available(_PATIENCE) as found:
        yield found

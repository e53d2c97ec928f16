"""The cluster as a fixture; asked for by --cluster or CLOUD_FARM_CLUSTER=1, and then nothing may be missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .farm import Cluster, build_programs, make_images, require_programs
from .session import claimed, running_by_hand, started

_PATIENCE = 3600.0


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Kubernetes with Argo 3.7.14, full definitions: the one that was started by hand, else one for this run."""
    require_programs()
    build_programs()
    with claimed(_PATIENCE) as lock:
        make_images()
        found = running_by_hand()
        if found is not None:
            yield found
            return
        with started(lock) as made:
            yield made

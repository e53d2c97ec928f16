"""Two thousand chunks; the same with ten thousand and its figures: see scale.py."""

from __future__ import annotations

import logging
from pathlib import Path

from .farm import Cluster
from .scale import run

CHUNKS = 2000
MOST_BYTES = 1 << 20
"""Of one Workflow, status included: Argo's own limit. etcd's is half as much more."""


def test_the_follower_names_exactly_what_is_missing_across_restarts(cluster: Cluster, tmp_path: Path) -> None:
    report = run(cluster, tmp_path, CHUNKS)
    for line in report.lines():
        logging.getLogger(__name__).info(line)
    assert report.missing == report.forgotten
    assert len(report.forgotten) == CHUNKS // 100
    assert report.status is not None
    assert report.status.state == "failed"
    assert 0 < report.largest < MOST_BYTES
    assert sum(report.look_bytes) / report.looks < report.list_bytes

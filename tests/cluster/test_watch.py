"""A job is followed by a watch of the real API server, through a line that is cut, forgets, and refuses."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.engines import argo_api
from cloud_farm.engines.argo_objects import WorkflowEvent, read_events

from ..contracts.contract_job import ContractJob, wait_for
from ..rigs.fault_proxy import ALWAYS, FaultProxy
from .api_line import forget_the_past, over
from .farm import Cluster
from .farmer import Farmer, ended

LONG: dict[str, Any] = {"chunk_size": 8, "seconds": 4.0}  # half a minute in one pod


def lists(line: FaultProxy) -> int:
    """How often the job's Workflows were listed."""
    return sum(
        "labelSelector" in asked and "/workflows?" in asked and "watch=1" not in asked for asked in line.requests
    )


def hears(job: ContractJob) -> bool:
    """Whether the line to the cluster is up; asks for the job's state, since that is what opens it."""
    assert job.status().running
    return any(watch._up for watch in job.engine._listed._watches.values())  # type: ignore[attr-defined]


def delete_by_hand(job: ContractJob, farmer: Farmer) -> None:
    farmer.cluster.api.delete_all("Workflow", labels=f"cloud-farm/job={job.id}")


def seconds_until_gone(job: ContractJob) -> float:
    began = time.monotonic()
    wait_for(lambda: not job.status().known, 60, what="the end is noticed")
    return time.monotonic() - began


def test_nothing_is_listed_while_nothing_happens_and_what_happens_is_heard_at_once(
    line: FaultProxy, farmer: Farmer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def measured(lines: Iterable[str]) -> Iterator[WorkflowEvent]:
        def noted() -> Iterator[str]:
            for text in lines:
                sizes.append(len(text))
                yield text

        return read_events(noted())

    monkeypatch.setattr(argo_api, "read_events", measured)
    job = farmer.job("1-8", **LONG, profile=over(line, tmp_path)).submit()
    job.wait_for_frames(1)
    wait_for(lambda: hears(job), 30)
    before = lists(line)
    for _ in range(20):
        assert job.status().running
        time.sleep(0.1)
    assert lists(line) - before <= 1, "the list is due twice a minute"
    delete_by_hand(job, farmer)
    assert seconds_until_gone(job) < 10
    assert sizes and max(sizes[1:]) < 1000, "the first one explains the columns"


def test_after_a_gap_that_the_cluster_forgot_it_is_listed_anew(
    line: FaultProxy, farmer: Farmer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410: what came after the version that we know can't be told any more."""
    job = farmer.job("1-20", chunk_size=20, seconds=4.0, profile=over(line, tmp_path))
    events: list[WorkflowEvent] = []
    watch = job.engine.cluster.watch  # type: ignore[attr-defined]

    def overheard(*asked: Any) -> Any:
        for event in watch(*asked):
            events.append(event)
            yield event

    monkeypatch.setattr(job.engine.cluster, "watch", overheard)  # type: ignore[attr-defined]
    job.submit()
    wait_for(lambda: hears(job), 30)
    line.refuse = True
    line.reset_connections()
    app = secrets.token_hex(3)
    forget_the_past(farmer.cluster, app)
    line.refuse = False
    wait_for(lambda: hears(job) and any(event.code == 410 for event in events), 90)
    wait_for(lambda: hears(job), 90)
    assert events[-1].kind != "ERROR"
    ended(job, 20)
    farmer.cluster.api.delete_all("Workflow", labels=f"app={app}")


@contextmanager
def without_the_right(cluster: Cluster) -> Iterator[None]:
    """The artists' Role without the right to watch Workflows."""
    rules = cluster.api.get("Role", "artist")["rules"]
    fewer = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "watch"]} for rule in rules]
    cluster.api.patch("Role", "artist", {"rules": fewer})
    try:
        yield
    finally:
        cluster.api.patch("Role", "artist", {"rules": rules})


@pytest.mark.parametrize("how", ["cut", "forbidden"])
def test_where_no_watch_gets_through_the_job_is_asked_for_again_and_again(
    line: FaultProxy, farmer: Farmer, tmp_path: Path, how: str
) -> None:
    job = farmer.job("1-8", **LONG, profile=over(line, tmp_path))
    may = partial(job.engine.cluster.may, "watch", "workflows", group="argoproj.io")  # type: ignore[attr-defined]
    with without_the_right(farmer.cluster) if how == "forbidden" else nullcontext():
        if how == "cut":
            line.drop_matching, line.drop_responses = "watch=1", ALWAYS
        wait_for(lambda: may() == (how == "cut"), 30, what="the Role is in force")
        job.submit()
        job.wait_for_frames(1)
        assert not hears(job)
        before = lists(line)
        for _ in range(5):
            time.sleep(0.5)  # more than a short list is worth
            assert not hears(job)
        assert lists(line) - before == 5
        delete_by_hand(job, farmer)
        assert seconds_until_gone(job) < 10
    assert any("watch=1" in asked for asked in line.requests)

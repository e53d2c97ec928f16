"""The Argo engine over a cluster that fails at chosen moments, and what it takes for known while others change a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cloud_farm.engines import TaskStatus, argo_api
from cloud_farm.engines.argo import ArgoEngine, joined
from cloud_farm.engines.argo_nodes import seconds
from cloud_farm.engines.argo_objects import (
    EndingPod,
    HeadList,
    PodEvent,
    PodStart,
    StoredWorkflow,
    WorkflowEvent,
    WorkflowHead,
)
from cloud_farm.errors import EngineError, EngineForbiddenError, EngineUnreachableError, JobBusyError
from cloud_farm.plan import PREPARE

from .argo_farm import JOB_ID, farm
from .test_argo_status import chunk, starting, workflow

_BUSY = EngineUnreachableError("500", busy=True)


class OneWorkflow:
    """A cluster with one Workflow of the job; what is in `faults` befalls the next calls of that name."""

    namespace, server = "render", "https://cluster.example.com"

    def __init__(self, content: dict[str, Any]) -> None:
        self.content, self.version, self.completed, self.size = content, 1, False, 0
        self.living = False
        self.faults: dict[str, list[EngineError | None]] = {}
        self.patches: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.time = seconds("2026-11-23T10:01:00Z")

    def _meet(self, call: str) -> None:
        fault = self.faults[call].pop(0) if self.faults.get(call) else None
        if fault is not None:
            raise fault

    def change(self, **spec: Any) -> None:
        self.version += 1
        self.content["spec"].update(spec)

    def now(self) -> float:
        return self.time

    def heads(self, selector: str) -> HeadList:
        self._meet("heads")
        head = WorkflowHead("w", str(self.version), "Running", self.completed, 1, 0, 1, job=JOB_ID, shards=1)
        return HeadList((head,), self.size)

    def watch(self, selector: str, version: str = "") -> list[WorkflowEvent]:
        raise EngineForbiddenError("403")

    def workflow(self, name: str) -> StoredWorkflow:
        self.content["metadata"]["resourceVersion"] = str(self.version)
        return StoredWorkflow(self.content, self.size)

    def patch_workflow(self, name: str, patch: dict[str, Any]) -> bool:
        self.patches.append(patch["spec"])
        self.change(**patch["spec"])
        self.completed = "shutdown" in patch["spec"]
        return True

    def delete_workflow(self, name: str) -> bool:
        self.deleted.append(name)
        return True

    def has_living_pods(self, selector: str) -> bool:
        self._meet("has_living_pods")
        return self.living

    def ending_pods(self, selector: str) -> list[EndingPod]:
        self._meet("ending_pods")
        return [EndingPod("p", "uid", "gpu-7", due=self.time - 20)]

    def pod_events(self, name: str) -> list[PodEvent]:
        self._meet("pod_events")
        return [PodEvent("FailedMount", "no such export", True, self.time)]

    def pod_starts(self, selector: str, *, most: int) -> list[PodStart]:
        self._meet("pod_starts")
        return [PodStart(0.0, 3.0, 10.0)]

    def nodes(self, selector: str = "", *, name: str = "") -> Sequence[dict[str, Any]]:
        return ()


Opened = Callable[[dict[str, Any]], tuple[ArgoEngine, OneWorkflow]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    def open_on(content: dict[str, Any]) -> tuple[ArgoEngine, OneWorkflow]:
        cluster = OneWorkflow(content)
        monkeypatch.setattr(argo_api, "Cluster", lambda *_: cluster)
        return ArgoEngine(farm(), sleep=lambda _: None), cluster

    return open_on


# -- cancelling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [_BUSY, EngineUnreachableError("gone"), EngineForbiddenError("no"), EngineError("400")], ids=str
)
def test_a_job_whose_pods_can_not_be_seen_is_stopped_all_the_same(opened: Opened, fault: EngineError) -> None:
    """Else it would stay suspended for ever."""
    engine, cluster = opened(workflow())
    cluster.faults["has_living_pods"] = [fault]
    engine.cancel(JOB_ID)
    assert cluster.patches == [{"suspend": True}, {"suspend": None, "shutdown": "Stop"}]
    assert not cluster.faults["has_living_pods"]


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_cluster_that_is_away_for_a_moment_is_waited_for_when_it_was_there_before(opened: Opened, calls: int) -> None:
    engine, cluster = opened(workflow())
    cluster.faults["heads"] = [*[None] * calls, EngineUnreachableError("gone")]
    engine.cancel(JOB_ID)
    assert cluster.patches[-1] == {"suspend": None, "shutdown": "Stop"}
    assert not cluster.faults["heads"]


def test_a_cluster_that_fails_after_the_stop_is_asked_again(opened: Opened) -> None:
    engine, cluster = opened(workflow())
    cluster.faults["has_living_pods"] = [_BUSY] * 3
    engine.cancel(JOB_ID)
    assert not cluster.faults["has_living_pods"]


# -- while others change the job ------------------------------------------------------------------------------------------


def test_a_job_that_another_computer_goes_on_with_is_not_forgotten(opened: Opened) -> None:
    paused = workflow(chunk("r1c00001", "Running", ("Failed", "Error (exit code 143)")))
    paused["spec"]["suspend"] = True
    engine, cluster = opened(paused)
    cluster.size = 10_000_000  # so large that it is not read again soon
    assert not engine.status(JOB_ID).running
    cluster.change(suspend=None)
    assert not engine.status(JOB_ID).running, "who follows it may be late"
    with pytest.raises(JobBusyError):
        engine.forget(JOB_ID)
    assert cluster.deleted == []


def test_who_decides_is_told_what_is_true_now(opened: Opened) -> None:
    paused = workflow()
    paused["spec"]["suspend"] = True
    engine, cluster = opened(paused)
    cluster.size = 10_000_000
    assert not engine.status(JOB_ID).running
    cluster.change(suspend=None)
    assert engine.status(JOB_ID, fresh=True).running


# -- what is only of use to tell more --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["ending_pods", "pod_events", "pod_starts"])
@pytest.mark.parametrize("fault", [_BUSY, EngineForbiddenError("no"), EngineError("400")], ids=str)
def test_who_follows_stays_while_the_cluster_tells_no_more(opened: Opened, call: str, fault: EngineError) -> None:
    engine, cluster = opened(starting())
    cluster.faults[call] = [fault]
    status = engine.status(JOB_ID)
    assert status.running
    assert not cluster.faults[call], "it was not asked"


def test_a_pod_of_which_nothing_is_said_keeps_why_the_one_before_failed(opened: Opened) -> None:
    engine, cluster = opened(starting())
    cluster.pod_events = lambda name: [PodEvent("Scheduled", "on gpu-7", False, 1.0)]  # type: ignore[method-assign]
    assert engine.status(JOB_ID).tasks[1].message == "first"
    engine, cluster = opened(starting())
    assert "can't mount the volume (no such export)" in engine.status(JOB_ID).tasks[1].message


# -- several Workflows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phases", "told"),
    [
        (("failed", "waiting"), "failed"),
        (("waiting", "failed", "done"), "failed"),
        (("failed", "running"), "failed"),
        (("running", "done", "waiting"), "running"),
        (("done", "backing_off"), "backing_off"),
        (("done", "waiting"), "done"),
        (("waiting", "stopped"), "waiting"),
    ],
)
def test_of_several_preparations_of_one_run_the_one_that_matters_is_told(phases: tuple[str, ...], told: str) -> None:
    def part(shard: int, phase: str, run: int = 0) -> tuple[WorkflowHead, TaskStatus]:
        return WorkflowHead(f"w{run}-{shard}", "1", "Running", False, 1, run, shard), TaskStatus(PREPARE, phase)

    parts = [part(shard, phase) for shard, phase in enumerate(phases)]
    assert joined(parts)[PREPARE].phase == told
    assert joined([*parts, part(0, "waiting", run=1)])[PREPARE].phase == "waiting", "a later run is what counts"

"""What a Workflow's status says about its tasks, and how often it is read."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import zstandard
from cloud_farm.engines import TaskStatus
from cloud_farm.engines.argo import dropped_words, missing_parts, unnoticed
from cloud_farm.engines.argo_follow import StateReader, WorkflowState, read_state
from cloud_farm.engines.argo_nodes import StartingPod, Unreadable, seconds, status_nodes
from cloud_farm.engines.argo_objects import PodEvent, StoredWorkflow, WorkflowHead
from cloud_farm.engines.argo_stuck import StuckReader
from cloud_farm.errors import EngineForbiddenError

from .argo_farm import one

ENDED = "2026-11-23T10:00:00Z"


def node(name: str, kind: str, phase: str, *, template: str = "render", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "phase": phase, "templateName": template, **more}


def chunk(chunk_id: str, phase: str, *attempts: tuple[str, str]) -> dict[str, dict[str, Any]]:
    """A chunk with (phase, message) of its attempts."""
    parameters = {"parameters": [{"name": "id", "value": chunk_id}, {"name": "frames", "value": "1-5"}]}
    pods = {
        f"{chunk_id}-{number}": node(
            f"w[1].render(0:id:{chunk_id})({number})", "Pod", state, message=message, inputs=parameters, nodeFlag={"retried": True}
        )
        for number, (state, message) in enumerate(attempts)
    }  # fmt: skip
    above = node(f"w[1].render(0:id:{chunk_id})", "Retry", phase, children=list(pods), inputs=parameters)
    return {chunk_id: above, **pods}


def workflow(
    nodes: dict[str, Any] | None = None, *, chunks: tuple[str, ...] = ("r1c00001",), version: str = "1", **status: Any
) -> dict[str, Any]:
    items = json.dumps([{"id": item, "frames": "1-5"} for item in chunks])
    return {
        "metadata": {"name": "w", "resourceVersion": version},
        "spec": {"arguments": {"parameters": [{"name": "chunks", "value": items}]}},
        "status": {"nodes": nodes or {}, **status},
    }


def task(shard: WorkflowState, task_id: str = "r1c00001") -> TaskStatus:
    return next(item for item in shard.tasks if item.id == task_id)


@pytest.mark.parametrize(
    ("phase", "attempts", "expected"),
    [
        ("Running", [("Pending", "Unschedulable: 0/3 nodes")], ("waiting", "Unschedulable: 0/3 nodes", 1)),
        ("Running", [("Running", "")], ("running", "", 1)),
        ("Running", [("Failed", "Error (exit code 12): frame 2")], ("backing_off", "Error (exit code 12): frame 2", 1)),
        ("Running", [("Failed", "first"), ("Running", "")], ("running", "", 2)),
        ("Running", [("Failed", "first"), ("Pending", "PodInitializing")], ("backing_off", "first", 2)),
        ("Running", [("Failed", "first"), ("Pending", "Unschedulable: 0/3")], ("waiting", "Unschedulable: 0/3", 2)),
        ("Failed", [("Failed", "first"), ("Failed", "second")], ("failed", "second", 2)),
        ("Error", [("Error", "pod deleted")], ("failed", "pod deleted", 1)),
        ("Succeeded", [("Failed", "first"), ("Succeeded", "")], ("done", "", 2)),
        ("Failed", [("Failed", "workflow shutdown with strategy:  Stop")], ("stopped", "workflow shutdown with strategy:  Stop", 1)),
    ],
)  # fmt: skip
def test_a_chunk_is_what_its_attempts_say(
    phase: str, attempts: list[tuple[str, str]], expected: tuple[str, str, int]
) -> None:
    found = task(read_state(workflow(chunk("r1c00001", phase, *attempts))))
    assert (found.phase, found.message, found.attempts) == expected


def test_chunks_that_wait_for_a_place_are_there_too() -> None:
    shard = read_state(workflow(chunk("r1c00001", "Running", ("Running", "")), chunks=("r1c00001", "r1c00002")))
    assert [(item.id, item.phase) for item in shard.tasks] == [
        ("prepare", "waiting"),
        ("r1c00001", "running"),
        ("r1c00002", "waiting"),
    ]
    assert shard.running


def test_chunks_share_the_fate_of_a_scene_that_can_not_be_prepared() -> None:
    prepare = {"p": node("w[0].prepare", "Pod", "Failed", template="prepare", message="shot.blend is missing")}
    shard = read_state(workflow(prepare, finishedAt=ENDED))
    assert {(item.phase, item.message) for item in shard.tasks} == {("failed", "shot.blend is missing")}
    assert not shard.running


def test_a_workflow_that_failed_as_a_whole_says_why() -> None:
    failed = workflow(phase="Error", finishedAt=ENDED, message='workflowtemplates.argoproj.io "cloud-farm" not found')
    found = task(read_state(failed))
    assert (found.phase, found.message) == ("failed", 'workflowtemplates.argoproj.io "cloud-farm" not found')
    failed["spec"]["shutdown"] = "Stop"
    assert task(read_state(failed)).phase == "stopped"


def test_workflows_that_are_not_there_are_told() -> None:
    def head(shard: int, *, run: int = 0, shards: int = 3) -> WorkflowHead:
        return WorkflowHead(
            f"w{shard}", "1", "Succeeded", True, 1, run, shard, job="shot-20261123-abc123", shards=shards
        )

    assert missing_parts([head(1), head(2), head(3)]) == ""
    assert missing_parts([head(1), head(3)]).startswith("1 of the 3 Workflows of this job are not on the cluster")
    assert missing_parts([head(1), head(1, run=1, shards=1)]) == "", "an older run was filled up by a newer one"
    assert missing_parts([head(1, shards=0)]) == "", "made before Workflows said it"


def test_what_was_stopped_before_it_began_is_stopped() -> None:
    assert task(read_state(workflow(finishedAt=ENDED))).phase == "stopped"


def test_a_suspended_workflow_runs_until_its_pods_are_over() -> None:
    found = workflow(chunk("r1c00001", "Running", ("Running", "")))
    found["spec"]["suspend"] = True
    assert read_state(found).running
    found["status"]["nodes"] = chunk("r1c00001", "Running", ("Failed", "Error (exit code 143)"))
    assert not read_state(found).running


def test_the_end_is_told_by_the_clock_of_the_cluster() -> None:
    assert read_state(workflow(finishedAt=ENDED)).ended == datetime(2026, 11, 23, 10, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_packed_nodes_are_unpacked(pack: Any) -> None:
    nodes = chunk("r1c00001", "Succeeded", ("Succeeded", ""))
    packed = base64.b64encode(pack(json.dumps(nodes).encode())).decode()
    assert status_nodes(workflow(compressedNodes=packed)) == nodes


@pytest.mark.parametrize(
    "status",
    [{"offloadNodeStatusVersion": "fnv:1"}, {"compressedNodes": base64.b64encode(b"brotli?").decode()}],
    ids=["in a database", "unknown packing"],
)
def test_what_can_not_be_unpacked_is_said_and_the_job_still_runs(status: dict[str, Any]) -> None:
    found = workflow(**status)
    with pytest.raises(Unreadable):
        status_nodes(found)
    shard = read_state(found)
    assert shard.running
    assert "can't be told" in task(shard).message
    assert not shard.doubtful
    found["spec"]["suspend"] = True
    assert read_state(found).doubtful, "whether its pods are over must be asked"


# -- what goes wrong without a node's message -------------------------------------------------------------------------------


def stored(version: str, **status: Any) -> dict[str, Any]:
    """A Workflow that the controller took notice of."""
    found: dict[str, Any] = json.loads(json.dumps(one(argo_version=version)))
    return {**found, "status": {"phase": "Running", **status}}


@pytest.mark.parametrize("version", ["3.4.7", "3.6.12", "3.7.14", ""])
def test_a_workflow_that_a_controller_kept_has_lost_nothing(version: str) -> None:
    assert read_state(stored(version)).dropped == ()


def test_what_an_older_controller_dropped_is_told() -> None:
    found = stored("3.7.14")
    for template in found["spec"]["templates"][1:]:
        del template["retryStrategy"]["backoff"]["cap"]
    assert read_state(found).dropped == ("retryStrategy.backoff.cap",)
    found["spec"]["synchronization"] = {}
    shard = read_state(found)
    assert shard.dropped == ("synchronization.mutexes", "retryStrategy.backoff.cap")
    said = dropped_words([shard], "3.7.14")
    assert (
        "dropped retryStrategy.backoff.cap, synchronization.mutexes of this job: it is older than argo_version 3.7.14"
        in said
    )
    assert read_state({**found, "status": {}}).dropped == (), "nobody wrote it yet"
    found["spec"]["workflowTemplateRef"] = {"name": "cloud-farm-4-5"}
    assert read_state(found).dropped == ()


def test_the_deadline_of_an_attempt_is_read_from_the_workflow_or_its_template() -> None:
    whole = stored("3.7.14")
    assert read_state(whole).deadlines == {"prepare": 86400, "render": 86400}
    templates = whole["spec"].pop("templates")
    templates[2]["activeDeadlineSeconds"] = "2400"
    whole["status"]["storedWorkflowTemplateSpec"] = {"templates": templates}
    assert read_state(whole).deadlines == {"prepare": 86400, "render": 2400}


def waiting_head(phase: str = "", *, completed: bool = False) -> WorkflowHead:
    return WorkflowHead("w", "1", phase, completed, 1, 0, 1, created="2026-11-23T10:00:00Z")


def test_a_controller_that_does_not_look_at_a_job_is_told_after_a_while() -> None:
    made = seconds("2026-11-23T10:00:00Z")
    assert unnoticed([waiting_head()], now=made + 30, namespace="render") == ""
    assert unnoticed([waiting_head("Pending")], now=made + 90, namespace="render") == ""
    assert unnoticed([waiting_head(completed=True)], now=made + 90, namespace="render") == ""
    said = unnoticed([waiting_head()], now=made + 90, namespace="render")
    assert "not looked at this job for 90 s" in said
    assert "namespace render" in said and "instance_id" in said


def starting(message: str = "PodInitializing", **annotations: str) -> dict[str, Any]:
    nodes = chunk("r1c00001", "Running", ("Failed", "first"), ("Pending", message))
    nodes["w-42"] = nodes.pop("r1c00001-1") | {"startedAt": "2026-11-23T10:00:00Z"}
    nodes["r1c00001"]["children"] = ["r1c00001-0", "w-42"]
    found = workflow(nodes)
    found["metadata"]["annotations"] = annotations
    return found


def test_a_pod_that_starts_is_known_by_its_task_and_name() -> None:
    made = seconds("2026-11-23T10:00:00Z")
    assert read_state(starting()).starting == (StartingPod("r1c00001", "w-render-42", made),)
    old = {"workflows.argoproj.io/pod-name-format": "v1"}
    assert read_state(starting(**old)).starting == (StartingPod("r1c00001", "w-42", made),)
    assert read_state(starting("Unschedulable: 0/3")).starting == ()
    assert read_state(starting("")).starting == (), "it has no node yet"


def test_the_pod_that_starts_longest_is_asked_for_once_in_a_while() -> None:
    asked: list[str] = []
    time = 0.0

    def events(name: str) -> list[PodEvent]:
        asked.append(name)
        return [PodEvent("Scheduled", "", False, 1.0), PodEvent("FailedMount", "no", True, 2.0)]

    reader = StuckReader(events, clock=lambda: time)
    pods = [StartingPod("r1c00002", "b", 1010.0), StartingPod("r1c00001", "a", 1000.0)]
    assert reader.find("job", pods, now=1010.0) is None
    assert reader.find("job", [], now=2000.0) is None
    assert asked == []
    for _ in range(2):
        found = reader.find("job", pods, now=1030.0)
        assert found is not None
        assert (found.task, found.event.reason) == ("r1c00001", "FailedMount")
    assert asked == ["a"]
    reader.find("job", pods[:1], now=1040.0)
    time = 20.0
    reader.find("job", pods[:1], now=1060.0)
    assert asked == ["a", "b", "b"]


def test_who_may_not_read_events_follows_all_the_same() -> None:
    def forbidden(name: str) -> list[PodEvent]:
        raise EngineForbiddenError(name)

    assert StuckReader(forbidden).find("job", [StartingPod("r1c00001", "a", 1000.0)], now=2000.0) is None


# -- how often ----------------------------------------------------------------------------------------------------------


class Api:
    """Counts how often a Workflow is read."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = workflow()
        self.size = 0
        self.reads = 0
        self.time = 0.0
        self.reader = StateReader(self._fetch, clock=lambda: self.time)

    def _fetch(self, _name: str) -> StoredWorkflow | None:
        self.reads += 1
        return None if self.stored is None else StoredWorkflow(self.stored, self.size)

    def read(self, version: str, *, completed: bool = False) -> WorkflowState:
        if self.stored is not None:
            self.stored["metadata"]["resourceVersion"] = version
        return self.reader.read(WorkflowHead("w", version, "Running", completed, 1, 0, 1))


def test_what_did_not_change_is_read_once() -> None:
    api = Api()
    for _ in range(5):
        api.read("1")
    assert api.reads == 1
    api.read("2")
    assert api.reads == 2


def test_a_large_one_is_read_less_often_but_its_end_at_once() -> None:
    api = Api()
    api.size = 40_000  # two seconds' worth
    api.read("1")
    api.time = 1.0
    api.read("2")
    assert api.reads == 1
    api.time = 2.5
    api.read("3")
    assert api.reads == 2
    api.read("4", completed=True)
    assert api.reads == 3


def test_after_a_change_of_ours_nothing_is_taken_for_known() -> None:
    api = Api()
    api.size = 40_000
    api.read("1")
    api.read("2")
    assert api.reads == 1
    api.reader.forget()
    api.read("2")
    assert api.reads == 2


def test_one_that_changed_after_the_list_was_made_is_read_once_for_that_list() -> None:
    api = Api()
    assert api.stored is not None
    for _ in range(5):
        api.stored["metadata"]["resourceVersion"] = "3"
        api.reader.read(WorkflowHead("w", "2", "Succeeded", True, 1, 0, 1))
    assert api.reads == 1


def test_one_that_is_gone_runs_no_more() -> None:
    api = Api()
    api.stored = None
    assert api.read("1") == WorkflowState(False, ())

"""What the objects of a cluster's API say, as far as we read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .argo_labels import CHUNKS_SHA256, JOB, OWNER
from .argo_nodes import seconds


@dataclass(frozen=True)
class WorkflowHead:
    """What the list of a job's Workflows tells, without their contents.

    Attributes:
        version: Changes whenever the Workflow does.
        phase: Empty until the controller took notice.
        completed: Nothing of it runs or will run.
        chunks_sha256: Tells which chunks it renders.
        job: The job's id; `owner` who submitted it, as people write it.
        created: When it was made, ISO 8601 in UTC.
        shards: Into how many its run was cut; 0 where it does not say.
    """

    name: str
    version: str
    phase: str
    completed: bool
    revision: int
    run: int
    shard: int
    chunks_sha256: str = ""
    job: str = ""
    owner: str = ""
    created: str = ""
    shards: int = 0

    @property
    def started(self) -> bool:
        """Whether it made pods: one that waits for its turn did not."""
        return self.phase not in ("", "Pending")


class HeadList(NamedTuple):
    """A job's Workflows, and the bytes that it took to list them."""

    heads: tuple[WorkflowHead, ...]
    size: int


class WorkflowEvent(NamedTuple):
    """What befell a Workflow, as a watch tells it.

    Attributes:
        kind: ADDED, MODIFIED, DELETED; BOOKMARK, which names a version only; or ERROR.
        version: From which a later watch goes on.
        code: Of an error; 410 where the version is too old.
    """

    kind: str
    name: str = ""
    phase: str = ""
    version: str = ""
    code: int = 0


class StoredWorkflow(NamedTuple):
    """A Workflow as the cluster has it, and the bytes that it took to read it."""

    content: dict[str, Any]
    size: int


@dataclass(frozen=True)
class EndingPod:
    """A pod that was told to end and did not yet.

    Attributes:
        uid: Tells it from a later one of the same name.
        node: Where it runs.
        due: When it should be gone, its grace included; seconds since 1970 by the cluster's clock.
    """

    name: str
    uid: str
    node: str
    due: float


class PodStart(NamedTuple):
    """When a pod was made, got a node, and when its container ran; seconds since 1970."""

    made: float
    scheduled: float
    running: float


class PodEvent(NamedTuple):
    """What befell a pod.

    Attributes:
        warning: Something failed.
        at: When it was seen last, seconds since 1970.
    """

    reason: str
    message: str
    warning: bool
    at: float


def _number(label: Any) -> int:
    """Read a number of ours; what somebody else wrote there is none."""
    return int(label) if isinstance(label, str) and label.isdecimal() else 0


def read_pod_start(pod: Mapping[str, Any]) -> PodStart | None:
    """Read how a pod came to run; None if it does not yet. Pure, as all of these."""
    status = pod.get("status") or {}
    made = seconds(pod["metadata"].get("creationTimestamp"))
    scheduled = next(
        (seconds(c.get("lastTransitionTime")) for c in status.get("conditions") or () if c["type"] == "PodScheduled"),
        0.0,
    )
    states = [c.get("state") or {} for c in status.get("containerStatuses") or () if c["name"] == "main"]
    running = next((seconds((s.get("running") or s.get("terminated") or {}).get("startedAt")) for s in states), 0.0)
    return PodStart(made, scheduled, running) if made and scheduled and running else None


def images_of(pod_spec: Mapping[str, Any], word: str) -> Iterator[str]:
    """Yield the images of a pod's containers in whose name a word is."""
    for container in (*(pod_spec.get("containers") or ()), *(pod_spec.get("initContainers") or ())):
        if word in str(container.get("image")):
            yield str(container["image"])


def read_pod_event(event: Mapping[str, Any]) -> PodEvent:
    """Read an event about a pod."""
    at = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return PodEvent(str(event.get("reason")), str(event.get("message")), event.get("type") == "Warning", seconds(at))


def read_head(item: Mapping[str, Any]) -> WorkflowHead:
    """Read a Workflow's metadata."""
    metadata = item["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    numbers = {key: _number(labels.get(f"cloud-farm/{key}")) for key in ("revision", "run", "shard", "shards")}
    return WorkflowHead(
        name=str(metadata["name"]),
        version=str(metadata["resourceVersion"]),
        phase=str(labels.get("workflows.argoproj.io/phase") or ""),
        completed=labels.get("workflows.argoproj.io/completed") == "true",
        chunks_sha256=str(annotations.get(CHUNKS_SHA256) or ""),
        job=str(labels.get(JOB) or ""),
        owner=str(annotations.get(OWNER) or ""),
        created=str(metadata.get("creationTimestamp") or ""),
        **numbers,
    )


def read_events(lines: Iterable[str]) -> Iterator[WorkflowEvent]:
    """Read the events of a watch that answers in tables, a line of JSON each.

    Raises:
        ValueError: That is no watch.
    """
    columns: list[str] = []
    for line in filter(None, lines):
        try:
            event = json.loads(line)
            kind, table = str(event["type"]), event["object"]
            if kind == "ERROR":
                yield WorkflowEvent(kind, code=int(table.get("code") or 0))
                continue
            version = str(table["metadata"]["resourceVersion"])
            if kind == "BOOKMARK":
                yield WorkflowEvent(kind, version=version)
                continue
            # Only the first table names its columns.
            columns = [column["name"] for column in table.get("columnDefinitions") or ()] or columns
            name_at, phase_at = columns.index("Name"), columns.index("Status")
            found = [(str(row["cells"][name_at]), row["cells"][phase_at]) for row in table.get("rows") or ()]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"that is no watch of ours: {line[:200]}") from error
        for name, phase in found:
            yield WorkflowEvent(kind, name, str(phase or ""), version)

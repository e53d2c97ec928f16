"""What a Workflow's status says about its tasks. Pure.

Argo keeps a node for each attempt that was started, and one above them for the task. Tasks that wait for a place have none yet.
A long list comes packed.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ..plan import PREPARE
from . import TaskStatus

Node = Mapping[str, Any]

STOPPED = "workflow shutdown with strategy"
"""How Argo's message begins for what was stopped."""
STARTING = ("ContainerCreating", "PodInitializing")
"""How messages begin that tell of nothing but a start."""
_PHASES = {
    "Pending": "waiting", "Running": "running", "Succeeded": "done", "Failed": "failed", "Error": "failed", "Omitted": "stopped",
}  # fmt: skip
_OVER = ("Failed", "Error")
_ZSTD = b"\x28\xb5\x2f\xfd"


class Unreadable(Exception):
    """The status is packed in a way that only Argo's own server can open."""


def status_nodes(workflow: Mapping[str, Any]) -> dict[str, Node]:
    """Return a Workflow's nodes by id, unpacked.

    Raises:
        Unreadable: They lie in a database, or are packed by a way that this Python lacks.
    """
    status = workflow.get("status") or {}
    if status.get("offloadNodeStatusVersion"):
        raise Unreadable("Argo keeps this Workflow's status in its database")
    packed = status.get("compressedNodes")
    if not packed:
        return dict(status.get("nodes") or {})
    try:
        return dict(json.loads(_unpack(base64.b64decode(packed))))
    except (OSError, EOFError, ValueError) as error:
        raise Unreadable(f"this Workflow's status is packed in an unknown way ({error})") from error


def begun_tasks(nodes: Mapping[str, Node]) -> dict[str, TaskStatus]:
    """Return the tasks that were begun, by id; messages are Argo's own."""
    attempts = {child for node in nodes.values() if node.get("type") == "Retry" for child in node.get("children") or ()}
    tasks = (
        _task(node, nodes)
        for node_id, node in nodes.items()
        if node.get("templateName") in (PREPARE, "render")
        and node_id not in attempts
        and node.get("type") in ("Retry", "Pod")
    )
    return {task.id: task for task in tasks}


class StartingPod(NamedTuple):
    """A pod that has a node, whose container does not run yet.

    Attributes:
        task: Whose it is.
        since: When it was made, seconds since 1970.
    """

    task: str
    name: str
    since: float


def starting_pods(workflow: Mapping[str, Any], nodes: Mapping[str, Node]) -> list[StartingPod]:
    """Return the pods that start, oldest first."""
    owner = {
        child: node for node in nodes.values() if node.get("type") == "Retry" for child in node.get("children") or ()
    }
    found = [
        StartingPod(
            _task_id(owner.get(node_id, node)), pod_name(workflow, node_id, node), seconds(node.get("startedAt"))
        )
        for node_id, node in nodes.items()
        if node.get("type") == "Pod" and _only_starts(node) and node.get("message")
    ]
    return sorted(found, key=lambda pod: pod.since)


def pod_name(workflow: Mapping[str, Any], node_id: str, node: Node) -> str:
    """Return what Argo calls a node's pod: since 3.4 by its template, too."""
    metadata = workflow["metadata"]
    name = str(metadata["name"])
    if (metadata.get("annotations") or {}).get("workflows.argoproj.io/pod-name-format") == "v1":
        return node_id
    return f"{name}-{node.get('templateName')}{node_id.removeprefix(name)}"


def active_pods(nodes: Iterable[Node]) -> int:
    """Count the pods that are there and not over."""
    return sum(1 for node in nodes if node.get("type") == "Pod" and node.get("phase") in ("Pending", "Running"))


def is_ready(node: Mapping[str, Any]) -> bool:
    """Tell whether a node of the cluster answers."""
    conditions = node["status"].get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def seconds(text: Any) -> float:
    """Read a time of the API, seconds since 1970; 0 for none."""
    return datetime.fromisoformat(str(text)).timestamp() if text else 0.0


def _unpack(data: bytes) -> bytes:
    if not data.startswith(_ZSTD):
        return gzip.decompress(data)
    try:
        import zstandard
    except ImportError as error:
        raise ValueError("zstd, which Python's zstandard package opens") from error
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def _task(node: Node, nodes: Mapping[str, Node]) -> TaskStatus:
    children = [nodes[child] for child in node.get("children") or () if child in nodes]
    attempts = children if node.get("type") == "Retry" else [node]
    last = attempts[-1] if attempts else node
    if len(attempts) > 1 and _only_starts(last):
        last = attempts[-2]  # until the next one runs, what people want to know is why the one before failed
    phase = _phase(node, last)
    message = "" if phase == "done" else str(last.get("message") or node.get("message") or "")
    return TaskStatus(
        _task_id(node), "stopped" if phase == "failed" and STOPPED in message else phase, message, len(attempts)
    )


def _only_starts(attempt: Node) -> bool:
    """Tell whether nothing keeps an attempt from running soon."""
    message = str(attempt.get("message") or "")
    return attempt.get("phase") == "Pending" and (not message or message.startswith(STARTING))


def _phase(node: Node, last: Node) -> str:
    phase = _PHASES.get(str(node.get("phase")), "waiting")
    if phase != "running":
        return phase
    if last.get("phase") in _OVER:
        return "backing_off"
    return "waiting" if last.get("phase") == "Pending" else "running"


def _task_id(node: Node) -> str:
    if node.get("templateName") == PREPARE:
        return PREPARE
    parameters = (node.get("inputs") or {}).get("parameters") or ()
    return next((str(item.get("value")) for item in parameters if item.get("name") == "id"), str(node.get("name")))

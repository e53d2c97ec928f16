"""Pretended nodes by kwok, for scale and for pods that end badly; the real scheduler fills them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from . import places
from .api import KubeApi, wait_until
from .binaries import KWOK
from .control_plane import answers
from .node import GPU, MODEL_LABEL, is_ready
from .pki import Credentials
from .services import Component

TAINT = "kwok.x-k8s.io/node"
_SERVER = f"{places.LOOPBACK}:10247"
_KWOKS_OWN = ("node/fast/node-initialize", "node/heartbeat-with-lease/node-heartbeat-with-lease", "pod/fast/pod-ready")
_DELETE = "pod/fast/pod-delete"


@dataclass(frozen=True)
class Outcome:
    """How the pods of a node end.

    Attributes:
        exit_code: Of the main container.
        reason: Of the container, as the runtime says it.
        pod_reason: Of the pod, where the kubelet ended it.
        message: Of the pod.
        ends: False: they run until somebody deletes them.
    """

    exit_code: int = 0
    reason: str = "Completed"
    pod_reason: str = ""
    message: str = ""
    ends: bool = True


OUTCOMES = {
    "done": Outcome(),
    "exit-1": Outcome(1, "Error"),
    "exit-11": Outcome(11, "Error"),
    "exit-12": Outcome(12, "Error"),
    "exit-78": Outcome(78, "Error"),
    "segv": Outcome(139, "Error"),
    "oom": Outcome(137, "OOMKilled"),
    "evicted": Outcome(
        137, "Error", "Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 40Mi."
    ),
    "hangs": Outcome(ends=False),
}


@dataclass(frozen=True)
class FakeNodes:
    """Nodes of one kind.

    Attributes:
        count: How many.
        outcome: How their pods end, a key of OUTCOMES.
        model: Of their GPUs, in the label gpu.nvidia.com/model.
        gpus: Of each node.
        labels: More labels.
        taints: Instead of the one that keeps other pods away, kwok.x-k8s.io/node=fake:NoSchedule.
    """

    count: int
    outcome: str = "done"
    model: str = "NVIDIA_A40"
    gpus: int = 8
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ({"key": TAINT, "value": "fake", "effect": "NoSchedule"},)


def kwok(credentials: Credentials) -> Component:
    """Return the program that keeps the nodes alive and plays their pods; its stages are written."""
    config = places.RUN / "stages.yaml"
    config.write_text(yaml.safe_dump_all(_stages(KWOK.folder / "stage")), encoding="utf-8")
    return Component(
        "kwok",
        (
            str(KWOK.folder / "kwok"),
            *("--kubeconfig", str(credentials.kubeconfigs["admin"]), "--config", str(config)),
            *("--manage-all-nodes=false", "--manage-nodes-with-annotation-selector", f"{TAINT}=fake"),
            *("--node-lease-duration-seconds", "40", "--server-address", _SERVER),
        ),
        ready=lambda: answers(f"http://{_SERVER}/healthz"),
    )


def add_nodes(api: KubeApi, nodes: FakeNodes) -> list[str]:
    """Make nodes, wait until they are ready and return their names, `kwok-<outcome>-<number>`."""
    assert nodes.outcome in OUTCOMES, f"{nodes.outcome} is none of {', '.join(OUTCOMES)}"
    prefix = f"kwok-{nodes.outcome}-"
    taken = len([node for node in _node_names(api) if node.startswith(prefix)])
    names = [f"{prefix}{number}" for number in range(taken + 1, taken + nodes.count + 1)]
    for name in names:
        api.create(_node(name, nodes))
    for name in names:
        _wait_for(api, name)
    return names


def remove_nodes(api: KubeApi) -> None:
    """Remove every pretended node; pods on them are collected by the control plane."""
    for name in _node_names(api):
        if name.startswith("kwok-"):
            api.delete("Node", name)


def _wait_for(api: KubeApi, name: str) -> None:
    wait_until(lambda: is_ready(api, name), f"{name} is ready")


def _node_names(api: KubeApi) -> list[str]:
    return [node["metadata"]["name"] for node in api.find("Node")]


def _node(name: str, nodes: FakeNodes) -> dict[str, Any]:
    has = {"cpu": "64", "memory": "512Gi", "pods": "250", GPU: str(nodes.gpus)}
    labels = {"type": "kwok", "kubernetes.io/hostname": name, MODEL_LABEL: nodes.model, **nodes.labels}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {TAINT: "fake"}},
        "spec": {"taints": [dict(taint) for taint in nodes.taints]},
        "status": {"capacity": has, "allocatable": has},
    }


# -- stages -------------------------------------------------------------------------------------------------------------


def _stages(folder: Path) -> Iterator[Any]:
    """Yield kwok's own stages up to the running pod, then one for each way to end; kwok's own knows only pods of Jobs."""
    for name in (*_KWOKS_OWN, _DELETE):
        yield yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    for name, outcome in OUTCOMES.items():
        if outcome.ends:
            yield _end_stage(name, outcome)


def _end_stage(name: str, outcome: Outcome) -> dict[str, Any]:
    """Return the stage for pods on the nodes of one outcome.

    Pods may say when they end by the annotations `rig/seconds` and `rig/jitter`, as in "1s"; else it takes 1 to 6 seconds.
    """
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": f"pod-ends-{name}"},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {
                "matchExpressions": [
                    {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
                    {"key": ".status.phase", "operator": "In", "values": ["Running"]},
                    {"key": f'.spec.nodeName | startswith("kwok-{name}-")', "operator": "In", "values": ["true"]},
                ]
            },
            "delay": {
                "durationMilliseconds": 1000,
                "durationFrom": {"expressionFrom": '.metadata.annotations["rig/seconds"]'},
                "jitterDurationMilliseconds": 6000,
                "jitterDurationFrom": {"expressionFrom": '.metadata.annotations["rig/jitter"]'},
            },
            "next": {"delete": False, "statusTemplate": _end_status(outcome)},
        },
    }


def _end_status(outcome: Outcome) -> str:
    """Return the template of the pod's last status: the main container ends as said, Argo's own ones well."""
    pod = {"phase": "Failed" if outcome.exit_code else "Succeeded"}
    if outcome.pod_reason:
        pod |= {"reason": outcome.pod_reason, "message": outcome.message}
    return (
        """
{{ $now := Now }}
containerStatuses:
{{ range .spec.containers }}
- image: {{ .image | Quote }}
  name: {{ .name | Quote }}
  ready: false
  restartCount: 0
  started: false
  state:
    terminated:
      {{ if eq .name "main" }}
"""
        f"""
      exitCode: {outcome.exit_code}
      reason: {outcome.reason}
"""
        """
      {{ else }}
      exitCode: 0
      reason: Completed
      {{ end }}
      finishedAt: {{ $now | Quote }}
      startedAt: {{ $now | Quote }}
{{ end }}
""" + yaml.safe_dump(pod)
    )

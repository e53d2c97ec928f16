"""The public tutorial's own Workflow on pretended nodes: what `tests.cluster.scale` is measured against.

    python -m tests.cluster.seed_anchor 2000

The manifest is the tutorial's, "CGI Rendering with Argo Workflows", repaired as little as it takes to be run at all: it gets a
service account that may report (the namespace's own may not), a container that exists, and the list of its slices as a
parameter, since a pretended node runs no script that could print it. Parallelism, GPUs of a pod and tolerations are those of the
other run, so that both have the same places.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .farm import Cluster
from .kwok import TAINT, FakeNodes
from .scale import MODEL, NODES, PODS, Report, watched_memory
from .session import available

_LOOK_SECONDS, _END_SECONDS = 2.0, 5400.0
_NAME = "seed-anchor"


def seed_workflow(cluster: Cluster, chunks: int) -> dict[str, Any]:
    """Return the tutorial's Workflow for so many slices of one frame."""
    slices = [{"start": frame, "stop": frame} for frame in range(1, chunks + 1)]
    parameters = {
        "filename": "/data/bmw27_gpu.blend", "sliceSize": "1", "start": "1", "stop": str(chunks),
        "outputLocation": "/data/output/bmw27_gpu/", "slices": json.dumps(slices),
    }  # fmt: skip
    blender = [
        "-b", "{{workflow.parameters.filename}}", "--engine", "CYCLES", "--factory-startup", "-noaudio", "--use-extension", "1",
        "-o", "{{workflow.parameters.outputLocation}}", "-s", "{{inputs.parameters.start}}", "-e", "{{inputs.parameters.stop}}", "-a",
    ]  # fmt: skip
    render = {
        "name": "render-blender",
        "metadata": {"labels": {"coreweave.com/role": "render"}, "annotations": {"rig/seconds": "1s", "rig/jitter": "3s"}},
        "inputs": {"parameters": [{"name": "start"}, {"name": "stop"}]},
        "retryStrategy": {"limit": "1"},
        "container": {
            "image": cluster.blender_image, "command": ["blender"], "workingDir": "/", "args": blender,
            "resources": {"requests": {"memory": "1Gi", "cpu": "1"}, "limits": {"cpu": "2", "nvidia.com/gpu": "1"}},
            "volumeMounts": [{"name": "data-storage", "mountPath": "/data"}],
        },
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "gpu.nvidia.com/model", "operator": "In", "values": [MODEL]}]}
                    ]
                }
            }
        },
    }  # fmt: skip
    values = [{"name": name, "value": f"{{{{item.{name}}}}}"} for name in ("start", "stop")]
    step = {
        "name": "render", "template": "render-blender", "arguments": {"parameters": values},
        "withParam": "{{workflow.parameters.slices}}",
    }  # fmt: skip
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": _NAME, "labels": {"app": "seed-anchor"}},
        "spec": {
            "entrypoint": "main", "parallelism": PODS, "serviceAccountName": "executor",
            "arguments": {"parameters": [{"name": name, "value": value} for name, value in parameters.items()]},
            "volumes": [{"name": "data-storage", "persistentVolumeClaim": {"claimName": "shared-data-pvc"}}],
            "tolerations": [{"key": TAINT, "operator": "Exists"}],
            "templates": [{"name": "main", "steps": [[step]]}, render],
        },
    }  # fmt: skip


def run(cluster: Cluster, chunks: int) -> Iterator[str]:
    """Submit it and look at it until it is over; yields what was seen."""
    report = Report(chunks)
    cluster.add_nodes(FakeNodes(NODES, model=MODEL))
    began = time.monotonic()
    cluster.api.request("POST", cluster.api.path("Workflow"), seed_workflow(cluster, chunks))
    yield f"{chunks} slices in one Workflow, accepted in {time.monotonic() - began:.1f} s"
    try:
        with watched_memory(cluster, report):
            status = _look(cluster, report, began)
    finally:
        cluster.api.delete_all("Workflow", labels="app=seed-anchor")
        cluster.remove_nodes()
    total = time.monotonic() - began
    yield f"{status.get('phase')} after {total:.0f} s ({chunks / total:.1f} slices/s), progress {status.get('progress')}"
    yield f"  {str(status.get('message') or '')[:200]}"
    mean = sum(report.look_bytes) / len(report.look_bytes)
    yield f"{report.looks} looks: {mean / 1e3:.0f} kB of the API server each, {max(report.look_bytes) / 1e3:.0f} kB at most"
    for name, size in sorted(report.memory.items()):
        yield f"{name}: {size / 1e6:.0f} MB at most"


def _look(cluster: Cluster, report: Report, began: float) -> Mapping[str, Any]:
    """Read the Workflow again and again, as who watches it does; returns its last status."""
    while True:
        stored = cluster.api.get("Workflow", _NAME)
        report.looks += 1
        report.look_bytes.append(len(json.dumps(stored)))
        status: Mapping[str, Any] = stored.get("status") or {}
        if status.get("phase") in ("Succeeded", "Failed", "Error") or time.monotonic() - began > _END_SECONDS:
            return status
        time.sleep(_LOOK_SECONDS)


def main() -> None:
    """Run it on the cluster that is up, or on one of its own."""
    numbers = [word for word in sys.argv[1:] if word.isdigit()]
    with available(60.0) as cluster:
        for line in run(cluster, int(numbers[0]) if numbers else 2000):
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()

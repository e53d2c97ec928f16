"""A line to the cluster's API that can be made bad, and a cluster that can be made to forget."""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml

from ..rigs.fault_proxy import FaultProxy
from ..rigs.processes import Daemon, answers, free_port
from . import places
from .binaries import KUBE
from .farm import Cluster


@contextmanager
def bad_line(cluster: Cluster, folder: Path) -> Iterator[FaultProxy]:
    """A line to the API that can be made bad; behind it kubectl ends TLS and logs in as the artist."""
    port = free_port()
    kubectl = Daemon(folder / "kubectl.log")
    kubectl.start(
        [str(KUBE.folder / "kubectl"), "--kubeconfig", str(cluster.kubeconfig("artist")), "proxy", "--port", str(port)],
        ready=lambda: answers("127.0.0.1", port),
    )
    try:
        with FaultProxy(f"http://127.0.0.1:{port}") as proxy:
            yield proxy
    finally:
        kubectl.end(signal.SIGTERM)


def over(line: FaultProxy, folder: Path) -> dict[str, Any]:
    """The profile's values for a farm that is reached over this line."""
    path = folder / "line.kubeconfig"
    cluster, context = {"server": line.url}, {"cluster": "line", "user": "line"}
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "line",
        "clusters": [{"name": "line", "cluster": cluster}], "contexts": [{"name": "line", "context": context}],
        "users": [{"name": "line", "user": {}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return {"kubernetes.kubeconfig": str(path)}


def idle_workflow(name: str, app: str) -> dict[str, Any]:
    labels = {"app": app, "workflows.argoproj.io/completed": "true"}  # so that the controller leaves it alone
    spec = {"entrypoint": "none", "templates": [{"name": "none", "suspend": {}}]}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "spec": spec}


def forget_the_past(cluster: Cluster, app: str) -> None:
    """Change a Workflow, and have etcd and the API server forget all that was before."""
    cluster.api.create(idle_workflow(f"later-{app}", app))
    key = base64.b64encode(b"/registry").decode()
    head = requests.post(f"{places.ETCD}/v3/kv/range", json={"key": key}, timeout=10).json()["header"]
    asked = {"revision": head["revision"], "physical": True}
    requests.post(f"{places.ETCD}/v3/kv/compaction", json=asked, timeout=10).raise_for_status()
    cluster.restart("apiserver")  # its own memory of the past goes with it

"""The cluster does what the tests that need it rely on."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

import cloud_farm
import pytest
import requests

from .api import ApiRefused, wait_until
from .argo import FLAVOURS, ArgoFlavour
from .farm import Cluster
from .kwok import OUTCOMES, TAINT, FakeNodes
from .node import GPU, MODEL, MODEL_LABEL
from .places import FILEBROWSER_UID, GID

_TOLERATIONS = [{"key": TAINT, "operator": "Exists"}]
INSIDE = Path(cloud_farm.__file__).parent / "inside_blender"
RENDERER = FILEBROWSER_UID + 1
VOLUMES = [{"name": "data", "persistentVolumeClaim": {"claimName": "shared-data-pvc"}}]


def workflow(template: dict[str, Any], *, items: int = 1, **spec: Any) -> dict[str, Any]:
    """A Workflow of one step that runs a pod for each item."""
    steps = [[{"name": "run", "template": "pod", "withSequence": {"count": str(items)}}]]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": f"smoke-{secrets.token_hex(4)}"},
        "spec": {
            "entrypoint": "main",
            "serviceAccountName": "executor",
            "templates": [{"name": "main", "steps": steps}, {"name": "pod", **template}],
            **spec,
        },
    }


def shell(cluster: Cluster, script: str, **fields: Any) -> dict[str, Any]:
    container = {"image": cluster.shell_image, "imagePullPolicy": "Never", "command": ["sh", "-ec"], "args": [script]}
    return {"container": {**container, **fields}}


def run(cluster: Cluster, body: dict[str, Any], *, patience: float = 180.0) -> dict[str, Any]:
    """Submit a Workflow as the artist and return its status at the end."""
    cluster.api_as("artist").create(body, fieldValidation="Strict")
    status: dict[str, Any] = cluster.wait_for_workflow(body["metadata"]["name"], patience=patience)["status"]
    return status


def nodes_of(status: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in status["nodes"].values() if node["type"] == "Pod"]


@pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
def test_a_real_pod_runs_under_each_argo(restored_argo: Cluster, flavour: ArgoFlavour) -> None:
    cluster = restored_argo
    if cluster.flavour != flavour:
        cluster.use_argo(flavour)
    body = workflow(shell(cluster, "echo I am a pod; echo $HOSTNAME >/dev/termination-log"))
    status = run(cluster, body)
    assert status["phase"] == "Succeeded", status
    (pod,) = nodes_of(status)
    assert pod["hostNodeName"] == cluster.node
    (found,) = cluster.api.find("Pod", labels=f"workflows.argoproj.io/workflow={body['metadata']['name']}")
    assert "I am a pod" in cluster.log(found["metadata"]["name"])


def test_the_pod_has_the_gpu_that_it_asked_for_and_only_there(cluster: Cluster) -> None:
    template = shell(cluster, "exit 0", resources={"limits": {GPU: "1"}})
    status = run(cluster, workflow(template, nodeSelector={MODEL_LABEL: MODEL}))
    assert nodes_of(status)[0]["hostNodeName"] == cluster.node
    body = workflow(template, nodeSelector={MODEL_LABEL: "none-such"})
    cluster.api.create(body)

    def is_unschedulable() -> bool:
        nodes = cluster.api.get("Workflow", body["metadata"]["name"]).get("status", {}).get("nodes", {}).values()
        return any("Unschedulable: 0/" in node.get("message", "") for node in nodes)

    wait_until(is_unschedulable, "Argo says that no node has the label")
    cluster.api.delete("Workflow", body["metadata"]["name"])


def test_pretended_nodes_take_fifty_chunks(cluster: Cluster) -> None:
    cluster.add_nodes(FakeNodes(4, model="RTX_4000", gpus=8))
    template = shell(cluster, "exit 0", resources={"limits": {GPU: "1"}})
    body = workflow(template, items=50, nodeSelector={MODEL_LABEL: "RTX_4000"}, tolerations=_TOLERATIONS)
    status = run(cluster, body, patience=300)
    assert status["phase"] == "Succeeded"
    pods = nodes_of(status)
    assert len(pods) == 50
    assert {pod["hostNodeName"].rpartition("-")[0] for pod in pods} == {"kwok-done"}


@pytest.mark.parametrize("outcome", [name for name, outcome in OUTCOMES.items() if outcome.exit_code])
def test_pretended_pods_end_badly_as_said(cluster: Cluster, outcome: str) -> None:
    (name,) = cluster.add_nodes(FakeNodes(1, outcome, model=outcome))
    body = workflow(shell(cluster, "exit 0"), nodeSelector={MODEL_LABEL: outcome}, tolerations=_TOLERATIONS)
    status = run(cluster, body)
    (pod,) = nodes_of(status)
    assert (pod["phase"], pod["hostNodeName"]) == ("Failed", name)
    said = OUTCOMES[outcome]
    assert (said.message or f"exit code {said.exit_code}") in pod["message"]


def test_filebrowser_writes_into_the_volume_as_the_group_that_renders(cluster: Cluster) -> None:
    login, folder = cluster.filebrowser_login, f"smoke-{secrets.token_hex(4)}"
    with requests.Session() as session:
        session.trust_env = False
        token = session.post(
            f"{cluster.filebrowser_url}/api/login",
            json={"username": login.user, "password": login.password},
            timeout=30,
        ).text
        where = f"{cluster.filebrowser_url}/api/resources/{folder}/in/file.txt"
        answer = session.post(where, data=b"hello", headers={"X-Auth": token}, timeout=30)
    assert answer.status_code == requests.codes.ok, answer.text
    made = cluster.volume / folder / "in" / "file.txt"
    assert made.read_bytes() == b"hello"
    assert (made.stat().st_uid, made.stat().st_gid, made.stat().st_mode & 0o777) == (FILEBROWSER_UID, GID, 0o664)
    # A pod of another user, but of the group, changes what FileBrowser wrote and writes beside it.
    script = f"umask 0002; cd /data/{folder}/in; echo world >>file.txt; echo mine >other.txt; ls -l"
    who = {"runAsUser": RENDERER, "runAsGroup": GID, "runAsNonRoot": True}
    template = shell(cluster, script, volumeMounts=[{"name": "data", "mountPath": "/data"}])
    status = run(cluster, workflow(template, volumes=VOLUMES, securityContext=who))
    assert status["phase"] == "Succeeded", status
    assert made.read_bytes() == b"helloworld\n"
    assert owner(made.with_name("other.txt")) == (RENDERER, GID)


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def test_a_blender_in_a_pod_runs_our_scripts(cluster: Cluster) -> None:
    folder = f"smoke-{secrets.token_hex(4)}"
    shutil.copytree(INSIDE, cluster.volume / folder, ignore=shutil.ignore_patterns("__pycache__"))
    expression = (
        f"import sys, os, bpy; sys.path.insert(0, '/data/{folder}'); import attempt, prepare_job, render_chunk, run_attempt; "
        "print('blender', bpy.app.version_string, os.getuid())"
    )
    container = {
        "image": cluster.blender_image,
        "imagePullPolicy": "Never",
        "command": ["blender"],
        "args": ["-b", "--factory-startup", "--python-exit-code", "9", "--python-expr", expression],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
    }
    body = workflow(
        {"container": container}, volumes=VOLUMES, securityContext={"runAsUser": RENDERER, "runAsGroup": GID}
    )
    status = run(cluster, body)
    (pod,) = cluster.api.find("Pod", labels=f"workflows.argoproj.io/workflow={body['metadata']['name']}")
    text = cluster.log(pod["metadata"]["name"])
    assert status["phase"] == "Succeeded", text
    assert f"blender 4.3.2 {RENDERER}\n" in text
    assert "Traceback" not in text


def test_who_may_do_what(cluster: Cluster) -> None:
    with pytest.raises(ApiRefused) as refusal:
        cluster.api_as("stranger").find("Workflow")
    assert refusal.value.status == requests.codes.forbidden
    artist = cluster.api_as("artist")
    artist.find("Workflow")
    with pytest.raises(ApiRefused):
        artist.find("Secret")
    with pytest.raises(ApiRefused):
        artist.request("GET", "api/v1/namespaces/kube-system/pods")


@pytest.mark.parametrize("component", ["etcd", "apiserver", "workflow-controller", "kubelet", "scheduler"])
def test_each_component_comes_back_after_a_kill(cluster: Cluster, component: str) -> None:
    body = workflow(shell(cluster, "sleep 8"))
    cluster.api.create(body)
    pid = cluster.services.pid(component)
    cluster.restart(component)
    assert cluster.services.pid(component) not in (None, pid)
    assert cluster.wait_for_workflow(body["metadata"]["name"])["status"]["phase"] == "Succeeded"

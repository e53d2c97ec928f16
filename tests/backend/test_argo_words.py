"""What people read when a pod does not start, or ended: plain words with what to do."""

from __future__ import annotations

from typing import Any

import pytest
from cloud_farm.engines.argo_objects import PodEvent
from cloud_farm.engines.argo_settings import PodSettings, PrepareSettings
from cloud_farm.engines.argo_words import Explainer, NodeCount, count_nodes, labels_selector
from cloud_farm.errors import EngineForbiddenError
from cloud_farm.profile import FarmProfile, Gpu, Volume

from ..blender.stub_farm import INSIDE

import render_errors  # isort: skip - a script of inside_blender: stub_farm knows where

assert INSIDE.is_dir()

LABEL = "gpu.nvidia.com/model"


def node(
    *, model: str = "Quadro_RTX_4000", ready: bool = True, cordoned: bool = False, gpus: str = "8"
) -> dict[str, Any]:
    return {
        "metadata": {"labels": {LABEL: model}},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
            "allocatable": {"nvidia.com/gpu": gpus},
        },
    }


class Nodes:
    """A cluster with some nodes."""

    def __init__(self, *nodes: dict[str, Any], allowed: bool = True) -> None:
        self.all, self.allowed = nodes, allowed
        self.asked: list[str] = []

    def nodes(self, selector: str = "", *, name: str = "") -> list[dict[str, Any]]:
        if not self.allowed:
            raise EngineForbiddenError("no")
        self.asked.append(selector)
        key, _, values = selector.partition(" in ")
        wanted = values.strip("()").split(",")
        return [node for node in self.all if not selector or node["metadata"]["labels"].get(key) in wanted]

    def node_count(self) -> int:
        return len(self.all)


PROFILE = FarmProfile("farm", gpu=Gpu(node_labels={LABEL: ["Quadro_RTX_4000"]}), volume=Volume(claim="shared-data"))


def explainer(*nodes: dict[str, Any], allowed: bool = True, **settings: Any) -> Explainer:
    return Explainer(PROFILE, PodSettings(memory="8Gi", **settings), lambda: Nodes(*nodes, allowed=allowed))


GPU_FULL = str(
    render_errors.frame_error("System is out of GPU memory", gpu="NVIDIA L4, CUDA", in_pod=True, keeps_data=True)
)
NO_MATCH = (
    "Unschedulable: 0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 …"
)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node(model="A40"), node(model="A40")], f"None of the cluster's 2 nodes has the label {LABEL} = Quadro_RTX_4000."),
        ([node(ready=False), node(model="A40")], "1 of the cluster's 2 nodes have the label"),
        ([node(cordoned=True)], "but none takes pods now"),
    ],
)  # fmt: skip
def test_a_label_that_no_node_has_is_named_and_nodes_are_counted(nodes: list[dict[str, Any]], said: str) -> None:
    assert said in explainer(*nodes).plain(NO_MATCH, waits=True)


def test_who_may_not_look_at_nodes_is_told_where_to_look() -> None:
    assert "kubectl get nodes --show-labels" in explainer(allowed=False).plain(NO_MATCH, waits=True)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "waits for free nvidia.com/gpu (16 on 2 nodes)"),
        ("Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint {is_cpu_compute: true}.", "taint is_cpu_compute: true"),
        ("Unschedulable: 0/5 nodes are available: 2 node(s) had untolerated taint {nvidia.com/gpu: }, 3 node(s) didn't match Pod's node affinity/selector.", "taint nvidia.com/gpu: "),
        ("Unschedulable: 0/5 nodes are available: 2 Insufficient nvidia.com/gpu, 3 node(s) didn't match Pod's node affinity/selector.", "waits for free nvidia.com/gpu"),
        ('Unschedulable: persistentvolumeclaim "shared-data" not found', "no volume claim 'shared-data'"),
        ("Unschedulable: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "or it is not bound"),
        ("ImagePullBackOff: Back-off pulling image x", "kubernetes.image_pull_secrets"),
        ('CreateContainerConfigError: secret "x" not found', 'can\'t be made: secret "x" not found'),
        ('pods "x" is forbidden: exceeded quota: gpus, used: 4', "quota is used up"),
        ('pods "x" is forbidden: failed quota: full: must specify requests.cpu for: init,wait', "a LimitRange with default requests"),
        ("ContainerCreating", ""),
        ("PodInitializing", ""),
    ],
)  # fmt: skip
def test_what_a_pod_waits_for(message: str, said: str) -> None:
    found = explainer(node(), node()).plain(message, waits=True)
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("OOMKilled (exit code 137)", "more than the 8Gi of memory"),
        ("Error (exit code 12): r1c00001.0badcafe: frame 2 failed", "r1c00001.0badcafe: frame 2 failed"),
        ("main: Error (exit code 12): frame 2 failed", "frame 2 failed"),
        (f"Error (exit code 16): r1c00001.0badcafe: Frame 7: {GPU_FULL}", f"r1c00001.0badcafe: Frame 7: {GPU_FULL}"),
        ("Error (exit code 10)", "It ended with exit code 10."),
        ("pod deleted", "drained or taken back"),
        ("Pod was active on the node longer than the specified deadline", "kubernetes.deadline_s"),
        ("The node was low on resource: ephemeral-storage.", "ran short"),
        ('Usage of EmptyDir volume "scratch" exceeds the limit "50Gi".', "more than 50Gi to its scratch folder. Raise kubernetes.scratch_size"),
        ('Usage of EmptyDir volume "shm" exceeds the limit "1Gi".', "more than 1Gi to its shared memory. Raise kubernetes.shm_size"),
        ("workflows must use workflowTemplateRef to be executed when the controller is in reference mode", "set kubernetes.workflow_template"),
        ('workflowtemplates.argoproj.io "cloud-farm-4-5" not found', "Ask the cluster's admin to install it"),
        ("Pod was terminated in response to imminent node shutdown.", "Its node was shut down."),
        ("workflow shutdown with strategy:  Stop", "It was asked to stop."),
        ("", ""),
    ],
)  # fmt: skip
def test_how_an_attempt_ended(message: str, said: str) -> None:
    assert explainer().plain(message).startswith(said) or said in explainer().plain(message)


def test_nodes_are_counted_once_a_minute() -> None:
    cluster = Nodes(node())
    told = Explainer(PROFILE, PodSettings(), lambda: cluster)
    for _ in range(3):
        told.plain(NO_MATCH, waits=True)
    assert cluster.asked == [f"{LABEL} in (Quadro_RTX_4000)"], "no others of a large cluster"


def test_nodes_that_take_pods_and_their_gpus_are_counted() -> None:
    nodes = [node(), node(gpus="4"), node(ready=False), node(cordoned=True)]
    assert count_nodes(nodes, 9, "nvidia.com/gpu") == NodeCount(9, 4, 2, 12)


def test_nodes_are_asked_for_by_all_of_their_labels() -> None:
    assert labels_selector({LABEL: ["A40", "L40"], "slots": [8]}) == f"{LABEL} in (A40,L40),slots in (8)"
    assert labels_selector({}) == ""


def test_the_setting_that_must_be_raised_is_the_one_of_that_pod() -> None:
    found = explainer(prepare=PrepareSettings(memory="2Gi"), deadline_s=7200)
    oom, late = "OOMKilled (exit code 137)", "Pod was active on the node longer than the specified deadline"
    assert "more than the 8Gi of memory" in found.plain(oom)
    assert "kubernetes.memory in" in found.plain(oom)
    assert "more than the 2Gi of memory" in found.plain(oom, prepares=True)
    assert "kubernetes.prepare.memory in" in found.plain(oom, prepares=True)
    assert "(7200 s, kubernetes.deadline_s in" in found.plain(late, deadline_s=7200)
    assert "(2400 s: half an hour to start, and the frame limit" in found.plain(late, deadline_s=2400)
    assert "kubernetes.deadline_s" in found.plain(late, prepares=True, deadline_s=2400)
    by_template = explainer(workflow_template="cloud-farm", deadline_s=7200)
    assert "(3600 s, kubernetes.deadline_s in" in by_template.plain(late, deadline_s=3600)


@pytest.mark.parametrize(
    ("reason", "message", "said"),
    [
        ("FailedMount", 'MountVolume.SetUp failed for volume "farm" : mount failed: exit status 32: Connection timed out', "can't mount the volume (MountVolume.SetUp failed"),
        ("FailedMount", 'MountVolume.SetUp failed for volume "exec-sa-token" : secret "executor.service-account-token" not found', "has no Secret 'executor.service-account-token'"),
        ("FailedAttachVolume", 'Multi-Attach error for volume "pvc-1"', "volume claim 'shared-data' answer"),
        ("FailedCreatePodSandBox", "Failed to create pod sandbox: no runtime for nvidia is configured.", "no runtime for nvidia is configured). Ask"),
        ("FailedCreatePodContainer", "cgroups are full", "It does not start: cgroups are full."),
    ],
)  # fmt: skip
def test_why_a_pod_that_has_a_node_does_not_start(reason: str, message: str, said: str) -> None:
    assert said in explainer(service_account="executor").stuck(PodEvent(reason, message, True, 0.0))


def test_the_usual_course_of_a_start_is_no_trouble() -> None:
    assert explainer().stuck(PodEvent("Created", "Created container: main", False, 0.0)) == ""
    pulling = PodEvent("Pulling", 'Pulling image "registry.example.com/blender:4.5"', False, 0.0)
    assert "still pulls the image (Pulling image" in explainer().stuck(pulling)

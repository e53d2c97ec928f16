"""The pods of a render: where they run, what they may touch, what they see."""

from __future__ import annotations

import importlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from cloud_farm.engines.argo_pod import SCRATCH_PATH
from cloud_farm.engines.argo_settings import _POD_FIELDS, read_pod_settings
from cloud_farm.errors import ProfileError
from cloud_farm.job import RenderJob

from .argo_farm import IMAGE, container, farm, one, template


def environment(workflow: Any, name: str) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container(workflow, name)["env"]}


def mounts(workflow: Any, name: str) -> dict[str, dict[str, Any]]:
    return {item["mountPath"]: item for item in container(workflow, name)["volumeMounts"]}


# -- where ----------------------------------------------------------------------------------------------------------------


def test_gpus_are_asked_for_where_they_are_and_only_by_what_renders() -> None:
    labels = {"topology.kubernetes.io/region": ["ORD1", "LAS1"]}
    workflow = one(gpu__count=2, gpu__node_labels=labels, gpu__models=["Quadro_RTX_4000", "Quadro_RTX_5000"])
    for kind in ("requests", "limits"):
        assert container(workflow, "render")["resources"][kind]["nvidia.com/gpu"] == "2"
        assert "nvidia.com/gpu" not in container(workflow, "prepare")["resources"][kind]
    wanted = template(workflow, "render")["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    [term] = wanted["nodeSelectorTerms"]  # Argo adds nodes to avoid to the first term only
    assert term["matchExpressions"] == [
        {"key": "gpu.nvidia.com/model", "operator": "In", "values": ["Quadro_RTX_4000", "Quadro_RTX_5000"]},
        {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["ORD1", "LAS1"]},
    ]
    assert "affinity" not in template(workflow, "prepare")


def test_a_job_on_the_cpu_asks_for_no_gpu_and_keeps_to_its_cores() -> None:
    workflow = one(RenderJob("shot.blend", device="cpu"))
    assert "nvidia.com/gpu" not in json.dumps(workflow)
    seen = environment(workflow, "render")
    assert seen["CLOUD_FARM_THREADS"] == {"resourceFieldRef": {"resource": "requests.cpu"}}
    assert "NVIDIA_DRIVER_CAPABILITIES" not in seen


def test_a_still_may_have_the_gpus_that_would_idle() -> None:
    still = RenderJob("shot.blend", frames="7")
    asked = [
        container(one(job, gpu__count_max=most, limits__parallelism=8), "render")["resources"]["limits"]["nvidia.com/gpu"]
        for job, most in ((still, None), (still, 4), (RenderJob("shot.blend", frames="1-3", chunk_size=1), 4), (RenderJob("shot.blend", frames="1-100"), 4))
    ]  # fmt: skip
    assert asked == ["1", "4", "2", "1"]


def test_other_gpus_have_other_names() -> None:
    workflow = one(gpu__resource="amd.com/gpu", gpu__device="hip")
    assert container(workflow, "render")["resources"]["limits"]["amd.com/gpu"] == "1"
    assert "NVIDIA_DRIVER_CAPABILITIES" not in environment(workflow, "render")


@pytest.mark.parametrize(("nodes", "elsewhere"), [(0, False), (1, False), (2, False), (3, True)])
def test_a_retry_avoids_the_node_only_where_there_surely_are_others(nodes: int, elsewhere: bool) -> None:
    retry = template(one(kubernetes={"matching_nodes": nodes}), "render")["retryStrategy"]
    assert ("affinity" in retry) is elsewhere
    assert "affinity" not in template(one(kubernetes={"matching_nodes": nodes}), "prepare")["retryStrategy"]


@pytest.mark.parametrize(
    ("code", "status", "third", "last"),
    [
        (78, "Failed", False, False), (78, "Error", False, False),  # holds for every frame and host
        (10, "Failed", True, True), (12, "Failed", True, True), (13, "Failed", True, True), (16, "Failed", True, True),
        (143, "Failed", True, True), (137, "Failed", True, True), (-1, "Failed", True, True), (-1, "Error", True, True),
        (11, "Failed", True, False), (1, "Failed", True, False), (127, "Failed", True, False), (139, "Failed", True, False),
    ],
)  # fmt: skip
def test_what_is_tried_again_is_what_the_exit_codes_say(code: int, status: str, third: bool, last: bool) -> None:
    # Python reads this one sentence as Argo's language does, once its two words for "and" and "or" are ours.
    expression = template(one(), "render")["retryStrategy"]["expression"].replace("&&", "and").replace("||", "or")
    attempt = SimpleNamespace(exitCode=str(code), status=status)
    said = [bool(eval(expression, {"asInt": int, "lastRetry": attempt, "retries": str(n)})) for n in (2, 3)]
    assert said == [third, last]


def test_an_absent_device_is_not_looked_for_again_on_the_only_node() -> None:
    wanted = template(one(kubernetes={"matching_nodes": 1}), "render")["retryStrategy"]["expression"]
    assert wanted.startswith("asInt(lastRetry.exitCode) not in [11, 78] && ")


def test_a_dead_node_is_given_up_after_a_while() -> None:
    taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    tolerations = template(one(gpu__tolerations=[taint]), "render")["tolerations"]
    assert tolerations[0] == taint
    assert {item["key"]: item["tolerationSeconds"] for item in tolerations[1:]} == {
        "node.kubernetes.io/not-ready": 60,
        "node.kubernetes.io/unreachable": 60,
    }


@pytest.mark.parametrize(("priority", "name"), [(0, "low"), (49, "low"), (50, "usual"), (100, "high")])
def test_a_jobs_priority_chooses_the_class(priority: int, name: str) -> None:
    classes = {"high": 80, "low": 0, "usual": 50}
    spec = one(RenderJob("shot.blend", priority=priority), kubernetes={"priority_classes": classes})["spec"]
    assert (spec["podPriorityClassName"], spec["priority"]) == (name, priority)


def test_a_priority_below_every_class_has_none() -> None:
    assert "podPriorityClassName" not in one(kubernetes={"priority_classes": {"high": 80}})["spec"]


def test_an_attempt_may_take_what_its_frames_may_take() -> None:
    job = RenderJob("shot.blend", frames="1-100", chunk_size=10, frame_seconds=90.5)
    assert template(one(job), "render")["activeDeadlineSeconds"] == 1800 + 905
    assert template(one(kubernetes={"deadline_s": 600}), "render")["activeDeadlineSeconds"] == 600


# -- rights ---------------------------------------------------------------------------------------------------------------


def test_containers_have_no_rights_that_a_render_does_not_need() -> None:
    workflow = one()
    pod = workflow["spec"]["securityContext"]
    assert pod["runAsNonRoot"] and pod["runAsUser"] == 1000 and pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (pod["runAsGroup"], pod["fsGroup"], pod["fsGroupChangePolicy"]) == (1500, 1500, "OnRootMismatch")
    for name in ("prepare", "render"):
        assert container(workflow, name)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": False,
        }


def test_the_service_accounts_token_stays_with_the_executor() -> None:
    spec = one(kubernetes={"service_account": "renderer"})["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["executor"] == {"serviceAccountName": "renderer"} and spec["serviceAccountName"] == "renderer"
    spec = one(kubernetes={"token_in_pods": True})["spec"]
    assert "executor" not in spec and "automountServiceAccountToken" not in spec


def test_a_render_reads_the_volume_and_writes_only_its_jobs_folders() -> None:
    seen = mounts(one(), "render")
    farm_mounts = {path: item for path, item in seen.items() if item["name"] == "farm"}
    job = "cloud-farm/jobs/{{workflow.parameters.job}}"
    assert farm_mounts.pop("/data") == {"name": "farm", "mountPath": "/data", "subPath": "team", "readOnly": True}
    assert {path: item["subPath"] for path, item in farm_mounts.items()} == {
        f"/data/{job}/{name}": f"team/{job}/{name}" for name in ("frames", "records", "markers", "attempts", "logs")
    }
    assert not any(item.get("readOnly") for item in farm_mounts.values())


def test_prepare_has_the_volume_in_one_piece_so_that_it_can_link() -> None:
    assert [item for item in mounts(one(), "prepare").values() if item["name"] == "farm"] == [
        {"name": "farm", "mountPath": "/data", "subPath": "team"}
    ]
    assert mounts(one(volume__sub_path=""), "prepare")["/data"] == {"name": "farm", "mountPath": "/data"}


def test_what_blender_writes_beside_frames_goes_to_the_nodes_disk() -> None:
    for name in ("prepare", "render"):
        seen = environment(one(kubernetes={"env": {"OCIO": "/data/ocio", "HOME": "/root"}}), name)
        for variable in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "BLENDER_USER_RESOURCES", "CUDA_CACHE_PATH", "OPTIX_CACHE_PATH", "CLOUD_FARM_SCRATCH"):  # fmt: skip
            assert seen[variable].startswith(SCRATCH_PATH)
        assert seen["OCIO"] == "/data/ocio"
        assert seen["CLOUD_FARM_NODE"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
        assert seen["CLOUD_FARM_IMAGE"] == IMAGE
    assert environment(one(), "render")["NVIDIA_DRIVER_CAPABILITIES"] == "compute,graphics,utility"
    assert "/tmp" in mounts(one(kubernetes={"read_only_root": True}), "render")
    volumes = {
        item["name"]: item for item in one(kubernetes={"scratch_size": "9Gi", "shm_size": "2Gi"})["spec"]["volumes"]
    }
    assert volumes["scratch"]["emptyDir"] == {"sizeLimit": "9Gi"}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert volumes["farm"] == {"name": "farm", "persistentVolumeClaim": {"claimName": "shared-data-pvc"}}


def test_fields_that_a_workflow_has_no_name_for_are_patched_in() -> None:
    more = {"runtime_class": "nvidia", "grace_s": 90, "pod": {"hostNetwork": True}}
    workflow = one(kubernetes=more)
    assert json.loads(template(workflow, "render")["podSpecPatch"]) == {
        "terminationGracePeriodSeconds": 90,
        "runtimeClassName": "nvidia",
        "hostNetwork": True,
    }
    assert "runtimeClassName" not in template(workflow, "prepare")["podSpecPatch"]


def test_fields_of_pods_are_called_as_kubernetes_calls_them() -> None:
    models = importlib.import_module("kubernetes.client")
    known = set(models.V1PodSpec.attribute_map.values())
    assert known >= {*_POD_FIELDS, "terminationGracePeriodSeconds", "runtimeClassName"}


# -- the profile ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"volume__claim": ""}, "volume.claim"),
        ({"volume__mount_path": "data"}, "mount_path should be a folder"),
        ({"volume__mount_path": "/data/../x"}, "mount_path should be a folder"),
        ({"volume__mount_path": "/data/$(HOME)"}, "mount_path should be a folder"),
        ({"volume__sub_path": "/team"}, "sub_path should be a folder"),
        ({"volume__sub_path": "../other"}, "sub_path should be a folder"),
        ({"gpu__tolerations": [{"keys": "x"}]}, "gpu.tolerations"),
        ({"gpu__model_label": ""}, "gpu.models needs gpu.model_label"),
        ({"gpu__node_labels": {"model": "RTX"}}, r"gpu.node_labels.*\[VALUE\]"),
        ({"gpu__node_labels": {"model": [4000]}}, "in quotes"),
        ({"kubernetes": {"memroy": "8Gi"}}, "kubernetes.memroy is not known. It takes: .*memory"),
        ({"kubernetes": {"memory": "8 GB"}}, "memory should be an amount"),
        ({"kubernetes": {"cpu": 2}}, "cpu should be text"),
        ({"kubernetes": {"prepare": {"gpu": 1}}}, "kubernetes.prepare.gpu is not known"),
        ({"kubernetes": {"ttl_s": {"failed": 1}}}, "kubernetes.ttl_s.failed is not known"),
        ({"kubernetes": {"ttl_s": {"failure": 1}}}, "ttl_s should be at least 60"),
        ({"kubernetes": {"prepare": {"tolerations": ["x"]}}}, "kubernetes.prepare.tolerations"),
        ({"kubernetes": {"user": 0}}, "other than root"),
        ({"kubernetes": {"image_pull_policy": "never"}}, "image_pull_policy is one of"),
        ({"kubernetes": {"image_pull_secrets": ["A B"]}}, "not a name that Kubernetes takes"),
        ({"kubernetes": {"service_account": ""}}, "service_account can't be empty"),
        ({"kubernetes": {"priority_classes": {"high": 101}}}, "priority_classes.high"),
        ({"kubernetes": {"pod": {"containers": []}}}, "pod.containers can't be set there"),
        ({"kubernetes": {"pod": {"hostnetwork": True}}}, "pod.hostnetwork can't be set there"),
        ({"kubernetes": {"labels": {"a b": "x"}}}, "labels.a b"),
        ({"kubernetes": {"labels": {"team": "two words"}}}, "labels.team"),
        ({"kubernetes": {"annotations": {"team": 7}}}, "annotations.team"),
        ({"kubernetes": {"env": {"A-B": "x"}}}, "env.A-B"),
        ({"kubernetes": {"matching_nodes": -1}}, "matching_nodes"),
        ({"kubernetes": {"argo_ui": "file:///etc"}}, "argo_ui should be an address like https://"),
        ({"kubernetes": {"deadline_s": 5}}, "deadline_s"),
        ({"kubernetes": {"node_lost_s": -5}}, "node_lost_s"),
        ({"kubernetes": {"grace_s": 5}}, "grace_s.*needs 20"),
    ],
)  # fmt: skip
def test_nonsense_in_the_profile_is_named(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ProfileError, match=says) as caught:
        one(**values)
    assert "Farm profile 'studio'" in str(caught.value)


def test_how_a_cluster_is_reached_is_no_matter_of_its_pods() -> None:
    access = {
        "kubeconfig": "~/.kube/config",
        "context": "x",
        "server": "https://x",
        "token": {"env": "X"},
        "ca_file": "y",
    }
    assert read_pod_settings(farm(kubernetes=access)) == read_pod_settings(farm())

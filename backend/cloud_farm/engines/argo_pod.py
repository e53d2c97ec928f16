"""The pods of a render: one template that lays out the scene, one that renders a chunk. Pure.

The templates know no job: what differs comes as parameters of the Workflow. So a Workflow that is sent whole and a
WorkflowTemplate that an administrator installed once have the same ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from ..errors import ProfileError
from ..images import FarmImage
from ..layout import RENDER_FOLDERS, JobLayout
from ..plan import PREPARE, Toolchain, task_command
from ..profile import FarmProfile
from ..toolchain import pod_supervisor
from .argo_labels import FRAMES, JOB, TASK
from .argo_settings import PodSettings

Manifest = dict[str, Any]

ATTEMPTS = 21
"""The first and 20 retries: for infrastructure only, frames that fail are counted by themselves (contract §4)."""
_NEVER, _DEVICE_ABSENT = 78, 11
_AGAIN = (-1, 10, 12, 13, 16, 137, 143)
"""Ends that are tried again to the limit: no exit code at all, ours that say so, killed from outside. Others three times."""
_FARM, _SCRATCH, _SHM = "farm", "scratch", "shm"
SCRATCH_PATH = "/cloud-farm-scratch"
_LAST_WORDS = "/dev/termination-log"
_ENOUGH_NODES = 3
_BUCKETS_S = (15, 60, 300, 900, 3600, 14400)
CHUNK_PARAMETERS = ("id", "frames", "count")
"""What differs from chunk to chunk."""
_PATH = re.compile(r"[\w./ @+-]+")
_CLAIM = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def parameter(name: str) -> str:
    """Return the placeholder of a parameter of the Workflow."""
    return f"{{{{workflow.parameters.{name}}}}}"


def templates(
    profile: FarmProfile,
    settings: PodSettings,
    image: FarmImage,
    *,
    gpus: int,
    deadline_s: int,
    version: tuple[int, int],
) -> list[Manifest]:
    """Return the templates of a Workflow; the entrypoint is `main`.

    Args:
        gpus: Of each render pod; 0 renders on the CPU.
        deadline_s: Longest time of one attempt, image pull included.
        version: Of the Argo controller.
    """
    return [
        _main(),
        {**_prepare(profile, settings, image, version), "activeDeadlineSeconds": settings.deadline_s},
        {**_render(profile, settings, image, gpus, version), "activeDeadlineSeconds": deadline_s},
    ]


def volumes(profile: FarmProfile, settings: PodSettings) -> list[Manifest]:
    """Return the volumes of both kinds of pods.

    Raises:
        ProfileError: The profile names no claim, or paths that can't be mounted.
    """
    _check_paths(profile)
    disk = {"sizeLimit": settings.scratch_size} if settings.scratch_size else {}
    return [
        {"name": _FARM, "persistentVolumeClaim": {"claimName": profile.volume.claim}},
        {"name": _SCRATCH, "emptyDir": disk},
        {"name": _SHM, "emptyDir": {"medium": "Memory", "sizeLimit": settings.shm_size}},
    ]


def pod_security(profile: FarmProfile, settings: PodSettings) -> Manifest:
    """Return whose rights the processes of a pod have: no root, the group that FileBrowser shares."""
    gid = profile.volume.gid
    group = {} if gid is None else {"runAsGroup": gid, "fsGroup": gid, "fsGroupChangePolicy": "OnRootMismatch"}
    return {
        "runAsNonRoot": True,
        "runAsUser": settings.user,
        **group,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _main() -> Manifest:
    render = {
        "name": "render",
        "template": "render",
        "arguments": {"parameters": [{"name": key, "value": f"{{{{item.{key}}}}}"} for key in CHUNK_PARAMETERS]},
        "withParam": parameter("chunks"),
    }
    return {"name": "main", "steps": [[{"name": PREPARE, "template": PREPARE}], [render]]}


def _prepare(profile: FarmProfile, settings: PodSettings, image: FarmImage, version: tuple[int, int]) -> Manifest:
    resources = {"cpu": settings.prepare.cpu, "memory": settings.prepare.memory}
    return {
        "name": PREPARE,
        "metrics": {"prometheus": [_seconds_metric(PREPARE)]},
        "metadata": _pod_metadata(settings, PREPARE, {}),
        "retryStrategy": retry_strategy(version, backoff_s=settings.backoff_s),
        **_placement(settings, settings.prepare.node_labels, settings.prepare.tolerations),
        "podSpecPatch": _patch(settings, runtime_class=""),
        "container": {
            **_container(profile, settings, image, PREPARE),
            "env": _environment(settings, image),
            "resources": {"requests": resources, "limits": {"memory": settings.prepare.memory}},
            # Links of assets need both ends in one mount; what runs here is our own code, checked by its hash.
            "volumeMounts": [_farm_mount(profile, PurePosixPath()), *_scratch_mounts(settings)],
        },
    }


def _render(
    profile: FarmProfile, settings: PodSettings, image: FarmImage, gpus: int, version: tuple[int, int]
) -> Manifest:
    return {
        "name": "render",
        "inputs": {"parameters": [{"name": key} for key in CHUNK_PARAMETERS]},
        "metrics": {"prometheus": [_frames_metric(), _attempts_metric(), _seconds_metric("render")]},
        "metadata": _pod_metadata(settings, "{{inputs.parameters.id}}", {FRAMES: "{{inputs.parameters.frames}}"}),
        "retryStrategy": retry_strategy(version, backoff_s=settings.backoff_s, matching_nodes=settings.matching_nodes),
        **_placement(settings, _gpu_labels(profile), profile.gpu.tolerations),
        "podSpecPatch": _patch(settings, runtime_class=settings.runtime_class),
        "container": {
            **_container(profile, settings, image, "{{inputs.parameters.id}}"),
            "env": [*_environment(settings, image), *_device_environment(profile, gpus)],
            "resources": _render_resources(profile, settings, gpus),
            "volumeMounts": [*_render_mounts(profile), *_scratch_mounts(settings)],
        },
    }


def _frames_metric() -> Manifest:
    """Count frames for Prometheus, which reads them from Argo's controller."""
    return {
        "name": "cloud_farm_frames",
        "help": "Frames of the chunks that were rendered to their end.",
        "labels": [{"key": "result", "value": "{{status}}"}],
        "when": "{{status}} == Succeeded",  # an attempt that fails says nothing of its frames: some of them may be there
        "counter": {"value": "{{inputs.parameters.count}}"},
    }


def _attempts_metric() -> Manifest:
    return {
        "name": "cloud_farm_attempts",
        "help": "Attempts at chunks that ended, by how they did.",
        "labels": [{"key": "result", "value": "{{status}}"}],
        "counter": {"value": "1"},
    }


def _seconds_metric(stage: str) -> Manifest:
    return {
        "name": "cloud_farm_seconds",
        "help": "Seconds from a task's beginning to its end, waiting and repetitions included.",
        "labels": [{"key": "stage", "value": stage}, {"key": "result", "value": "{{status}}"}],
        "histogram": {"buckets": list(_BUCKETS_S), "value": "{{duration}}"},
    }


def _container(profile: FarmProfile, settings: PodSettings, image: FarmImage, task: str) -> Manifest:
    tools = Toolchain(image.version, pod_supervisor(image, parameter("supervisor")), (image.program,), {})
    program, *arguments = task_command(
        tools, root=profile.volume.mount_path, job=parameter("job"), revision=parameter("revision"), task=task,
        plan_sha256=parameter("plan"), scripts=parameter("scripts"),
    )  # fmt: skip
    return {
        "image": image.reference,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [program],
        "args": arguments,
        "workingDir": SCRATCH_PATH,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": settings.read_only_root,
        },
    }


def retry_strategy(version: tuple[int, int], *, backoff_s: int, matching_nodes: int = 0) -> Manifest:
    """Return when a pod is tried again, and where: elsewhere only if there surely is an elsewhere."""
    exit_code = "asInt(lastRetry.exitCode)"
    # A device that is absent may be there on another node, if there is another one.
    never = [_NEVER] if matching_nodes != 1 else [_DEVICE_ABSENT, _NEVER]
    again = f"lastRetry.status == 'Error' || {exit_code} in {list(_AGAIN)} || asInt(retries) < 3"
    growing = {"duration": f"{backoff_s}s", "factor": "2", "cap": "10m"}
    elsewhere: Manifest = {"affinity": {"nodeAntiAffinity": {}}} if matching_nodes >= _ENOUGH_NODES else {}
    return {
        "limit": str(ATTEMPTS - 1),
        "retryPolicy": "Always",
        "expression": f"{exit_code} not in {never} && ({again})",
        # Older ones know no cap: growing times would end in days.
        "backoff": growing if version >= (3, 7) else {"duration": f"{4 * backoff_s}s", "factor": "1"},
        **elsewhere,
    }


# -- where --------------------------------------------------------------------------------------------------------------


def _placement(settings: PodSettings, labels: Mapping[str, Any], tolerations: tuple[Any, ...]) -> Manifest:
    lost = [
        {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": settings.node_lost_s}
        for state in ("not-ready", "unreachable")
    ]  # fmt: skip
    placement: Manifest = {"tolerations": [*(dict(item) for item in tolerations), *lost]}
    if labels:
        # One term: Argo adds the nodes to avoid to the first one only.
        wanted = [{"key": key, "operator": "In", "values": list(values)} for key, values in sorted(labels.items())]
        terms = {"nodeSelectorTerms": [{"matchExpressions": wanted}]}
        placement["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return placement


def _gpu_labels(profile: FarmProfile) -> dict[str, Any]:
    model = {profile.gpu.model_label: list(profile.gpu.models)} if profile.gpu.models else {}
    return {**model, **profile.gpu.node_labels}


def _render_resources(profile: FarmProfile, settings: PodSettings, gpus: int) -> Manifest:
    gpu = {profile.gpu.resource: str(gpus)} if gpus else {}
    most = {"cpu": settings.cpu_limit} if settings.cpu_limit else {}
    return {
        "requests": {"cpu": settings.cpu, "memory": settings.memory, **gpu},
        "limits": {**most, "memory": settings.memory, **gpu},
    }


def _patch(settings: PodSettings, *, runtime_class: str) -> str:
    """Fields of a pod that a Workflow has no name for."""
    runtime = {"runtimeClassName": runtime_class} if runtime_class else {}
    fields = {"terminationGracePeriodSeconds": settings.grace_s, **runtime, **settings.pod}
    return json.dumps(fields, sort_keys=True, ensure_ascii=False)


def _pod_metadata(settings: PodSettings, task: str, annotations: Mapping[str, str]) -> Manifest:
    ours = {JOB: parameter("job"), TASK: task}
    return {"labels": {**settings.labels, **ours}, "annotations": {**settings.annotations, **annotations}}


# -- what a container sees ------------------------------------------------------------------------------------------------


def _render_mounts(profile: FarmProfile) -> list[Manifest]:
    """All of the volume to read, and of it what the chunk writes: a script in a scene reaches no asset and no other job."""
    job = JobLayout(parameter("job")).folder
    whole = {**_farm_mount(profile, PurePosixPath()), "readOnly": True}
    return [whole, *(_farm_mount(profile, job / folder) for folder in RENDER_FOLDERS)]


def _farm_mount(profile: FarmProfile, path: PurePosixPath) -> Manifest:
    sub_path = str(PurePosixPath(profile.volume.sub_path) / path)
    part = {} if sub_path == "." else {"subPath": sub_path}
    return {"name": _FARM, "mountPath": str(PurePosixPath(profile.volume.mount_path) / path), **part}


def _scratch_mounts(settings: PodSettings) -> list[Manifest]:
    scratch = {"name": _SCRATCH, "mountPath": SCRATCH_PATH}
    temporary = [{"name": _SCRATCH, "mountPath": "/tmp", "subPath": "tmp"}] if settings.read_only_root else []  # noqa: S108 - in the pod
    return [scratch, *temporary, {"name": _SHM, "mountPath": "/dev/shm"}]  # noqa: S108 - in the pod


def _environment(settings: PodSettings, image: FarmImage) -> list[Manifest]:
    """Variables of every container: where it may write, and what records name."""
    folders = {
        "HOME": "", "TMPDIR": "", "XDG_CACHE_HOME": "cache", "BLENDER_USER_RESOURCES": "blender", "CUDA_CACHE_PATH": "cuda",
        "OPTIX_CACHE_PATH": "optix", "CLOUD_FARM_SCRATCH": "frames",
    }  # fmt: skip
    values = {name: str(PurePosixPath(SCRATCH_PATH) / folder) for name, folder in folders.items()}
    values |= {"CLOUD_FARM_IMAGE": image.reference, "CLOUD_FARM_LAST_WORDS": _LAST_WORDS}
    plain = [{"name": name, "value": value} for name, value in {**settings.env, **values}.items()]
    return [*plain, {"name": "CLOUD_FARM_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]


def _device_environment(profile: FarmProfile, gpus: int) -> list[Manifest]:
    if gpus and profile.gpu.resource.startswith("nvidia.com/"):
        # OptiX is among the driver's graphics libraries.
        return [{"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,graphics,utility"}]
    if gpus:
        return []
    # Blender would start a thread for each core of the node, whatever the pod was given.
    cores = {"resourceFieldRef": {"resource": "requests.cpu"}}
    return [{"name": "CLOUD_FARM_THREADS", "valueFrom": cores}]


def _check_paths(profile: FarmProfile) -> None:
    volume, where = profile.volume, f"Farm profile '{profile.name}': volume"
    mount, sub_path = PurePosixPath(volume.mount_path), PurePosixPath(volume.sub_path)
    problems = (
        (
            bool(_CLAIM.fullmatch(volume.claim)),
            f"claim should be the name of the PersistentVolumeClaim that pods mount, not '{volume.claim}'.",
        ),
        (
            mount.is_absolute() and len(mount.parts) > 1 and _is_plain(mount),
            f"mount_path should be a folder like /mnt/farm in the pods, not '{volume.mount_path}'.",
        ),
        (
            not sub_path.is_absolute() and _is_plain(sub_path),
            f"sub_path should be a folder of the claim like team/farm, not '{volume.sub_path}'.",
        ),
    )
    for good, message in problems:
        if not good:
            raise ProfileError(f"{where}.{message}")


def _is_plain(path: PurePosixPath) -> bool:
    return ".." not in path.parts and _PATH.fullmatch(str(path)) is not None

"""What a farm's pods are like: the `kubernetes` part of its profile, checked.

How the cluster is reached is in the same part of the profile and read by `argo_access.py`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ProfileError, SchemaError
from ..json_data import from_json
from ..profile import FarmProfile, refuse_unknown

ACCESS_KEYS = frozenset({"kubeconfig", "context", "server", "token", "ca_file", "ca"})
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOLERATION = {"key", "operator", "value", "effect", "tolerationSeconds"}
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_POD_FIELDS = frozenset({
    "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases", "hostNetwork", "hostUsers", "nodeSelector", "overhead",
    "preemptionPolicy", "readinessGates", "resourceClaims", "schedulerName", "schedulingGates", "shareProcessNamespace",
    "topologySpreadConstraints",
})  # fmt: skip
"""Fields of a pod that we leave to the farm; every other is either ours or has a setting of its own."""


@dataclass(frozen=True)
class PrepareSettings:
    """The pod that lays out the scene: no GPU, any node of its kind."""

    cpu: str = "1"
    memory: str = "2Gi"
    node_labels: Mapping[str, Any] = field(default_factory=dict)
    tolerations: tuple[Any, ...] = ()


@dataclass(frozen=True)
class TtlSettings:
    """How long Argo keeps a finished Workflow, seconds."""

    success: int = 86400
    failure: int = 604800


@dataclass(frozen=True)
class PodSettings:
    """How pods are made on a farm.

    Attributes:
        namespace: Empty takes the kubeconfig's.
        service_account: Whose rights the executor beside the Blender has.
        token_in_pods: Blender's container sees the service account's token too; only for clusters that do not provide the
            Secret `<service account>.service-account-token`.
        priority_classes: PriorityClass to the least job priority (0 to 100) that gets it.
        pod: Further fields of each pod.
        labels: Further labels of each pod.
        annotations: Further annotations of each pod.
        env: Further variables of Blender.
        matching_nodes: How many nodes have the wanted GPU; with 3 or more a retry avoids the node that failed. 0 is unknown.
        cpu: Requested cores of a render pod.
        cpu_limit: Most cores; empty has no limit.
        memory: Requested memory, and the most.
        shm_size: Most shared memory; it is a part of the memory.
        scratch_size: Most of a node's disk that one pod takes; empty has no limit.
        user: Numeric user of all containers; never 0.
        read_only_root: Blender can write nothing of its image.
        workflow_template: Name of WorkflowTemplates to refer to, where artists may not submit pods of their own; empty sends whole
            Workflows.
        argo_ui: Address of Argo's own pages, for people; empty has no link to them.
        deadline_s: Longest time of one attempt at a chunk where frames have no limit, image pull included.
        backoff_s: Before the first repetition of a task that failed; each further one waits twice as long, ten minutes at most.
        node_lost_s: How long a pod waits for a node that does not answer any more.
        grace_s: Between SIGTERM and SIGKILL; the supervisor needs 20 to end its Blender.
    """

    namespace: str = ""
    service_account: str = "default"
    token_in_pods: bool = False
    image_pull_secrets: tuple[str, ...] = ()
    image_pull_policy: str = "IfNotPresent"
    priority_classes: Mapping[str, Any] = field(default_factory=dict)
    runtime_class: str = ""
    pod: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    matching_nodes: int = 0
    cpu: str = "2"
    cpu_limit: str = ""
    memory: str = "8Gi"
    shm_size: str = "1Gi"
    scratch_size: str = ""
    user: int = 1000
    read_only_root: bool = False
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    ttl_s: TtlSettings = field(default_factory=TtlSettings)
    workflow_template: str = ""
    argo_ui: str = ""
    deadline_s: int = 86400
    backoff_s: int = 15
    node_lost_s: int = 60
    grace_s: int = 45


def read_pod_settings(profile: FarmProfile) -> PodSettings:
    """Read what a farm's pods are like; no secret is looked up.

    Raises:
        ProfileError: Something is unknown, of the wrong type, or can't work.
    """
    where = f"Farm profile '{profile.name}': kubernetes"
    data = dict(profile.kubernetes)
    refuse_unknown(data, {f.name for f in dataclasses.fields(PodSettings)} | ACCESS_KEYS, where)
    for part, cls in (("prepare", PrepareSettings), ("ttl_s", TtlSettings)):
        if isinstance(data.get(part), dict):
            refuse_unknown(data[part], {f.name for f in dataclasses.fields(cls)}, f"{where}.{part}")
    try:
        settings = from_json(PodSettings, data, where=where)
    except SchemaError as error:
        raise ProfileError(str(error)) from error
    for good, message in (*_checks(settings), *_name_checks(settings)):
        if not good:
            raise ProfileError(f"{where}.{message}")
    if profile.gpu.models and not _LABEL_KEY.fullmatch(profile.gpu.model_label):
        raise ProfileError(
            f"Farm profile '{profile.name}': gpu.models needs gpu.model_label beside it, the label by which nodes name their GPU, like"
            " gpu.nvidia.com/model. A preset has it."
        )
    if settings.workflow_template and (profile.gpu.count_max or 0) > profile.gpu.count:
        raise ProfileError(
            f"Farm profile '{profile.name}': gpu.count_max can't be more than gpu.count beside kubernetes.workflow_template: a template"
            " gives all of its pods the same number of GPUs."
        )
    for part, tolerations in (("kubernetes.prepare", settings.prepare.tolerations), ("gpu", profile.gpu.tolerations)):
        check_tolerations(tolerations, f"Farm profile '{profile.name}': {part}.tolerations")
    for part, labels in (("kubernetes.prepare", settings.prepare.node_labels), ("gpu", profile.gpu.node_labels)):
        check_node_labels(labels, f"Farm profile '{profile.name}': {part}.node_labels")
    return settings


def check_tolerations(tolerations: Iterable[Any], where: str) -> None:
    """Raise ProfileError for what Kubernetes would refuse."""
    for toleration in tolerations:
        if not isinstance(toleration, Mapping) or toleration.keys() - _TOLERATION:
            raise ProfileError(f"{where} should be a list of {{key, operator, value, effect}}, not {toleration!r}.")


def check_node_labels(labels: Mapping[str, Any], where: str) -> None:
    """Raise ProfileError for what is no label or no list of values."""
    for key, values in labels.items():
        texts = isinstance(values, list) and values and all(isinstance(value, str) for value in values)
        if not _LABEL_KEY.fullmatch(key) or not texts or not all(_LABEL_VALUE.fullmatch(value) for value in values):
            raise ProfileError(
                f"{where} should name labels with lists of values, like {{{key}: [VALUE]}}; values in quotes."
            )


def is_label_value(text: str) -> bool:
    """Tell whether Kubernetes takes the text as a label's value."""
    return _LABEL_VALUE.fullmatch(text) is not None


def _checks(settings: PodSettings) -> Iterable[tuple[bool, str]]:
    quantities = {
        "cpu": settings.cpu, "cpu_limit": settings.cpu_limit or "1", "memory": settings.memory, "shm_size": settings.shm_size,
        "scratch_size": settings.scratch_size or "1", "prepare.cpu": settings.prepare.cpu, "prepare.memory": settings.prepare.memory,
    }  # fmt: skip
    for key, text in quantities.items():
        yield bool(_QUANTITY.fullmatch(text)), f"{key} should be an amount like '500m', '2' or '8Gi', not '{text}'."
    yield settings.image_pull_policy in _PULL_POLICIES, f"image_pull_policy is one of {', '.join(_PULL_POLICIES)}."
    yield settings.user > 0, "user should be the number of a user other than root."
    yield settings.matching_nodes >= 0, "matching_nodes should be 0 or more."
    yield settings.deadline_s >= 60, "deadline_s should be at least 60 seconds."
    yield settings.backoff_s >= 1, "backoff_s should be at least 1 second."
    yield settings.node_lost_s >= 0, "node_lost_s should be 0 or more."
    yield settings.grace_s >= 30, "grace_s should be at least 30: the supervisor needs 20 seconds to end its Blender."
    yield min(settings.ttl_s.success, settings.ttl_s.failure) >= 60, "ttl_s should be at least 60 seconds each."
    is_address = not settings.argo_ui or settings.argo_ui.startswith(("https://", "http://"))
    yield is_address, f"argo_ui should be an address like https://argo.example.com, not '{settings.argo_ui}'."
    for key in settings.pod:
        yield key in _POD_FIELDS, f"pod.{key} can't be set there. It takes: {', '.join(sorted(_POD_FIELDS))}."
    for name, least in settings.priority_classes.items():
        good = isinstance(least, int) and not isinstance(least, bool) and 0 <= least <= 100
        yield good, f"priority_classes.{name} should be the least priority that gets it, 0 to 100, not {least!r}."


def _name_checks(settings: PodSettings) -> Iterable[tuple[bool, str]]:
    names = {
        "namespace": settings.namespace, "service_account": settings.service_account, "runtime_class": settings.runtime_class,
        "workflow_template": settings.workflow_template,
        **{f"image_pull_secrets[{i}]": name for i, name in enumerate(settings.image_pull_secrets)},
        **{f"priority_classes.{name}": name for name in settings.priority_classes},
    }  # fmt: skip
    for key, name in names.items():
        yield not name or bool(_NAME.fullmatch(name)), f"{key}: '{name}' is not a name that Kubernetes takes."
    yield bool(settings.service_account), "service_account can't be empty."
    for key, value in settings.labels.items():
        good = bool(_LABEL_KEY.fullmatch(key)) and isinstance(value, str) and is_label_value(value)
        yield good, f"labels.{key}: Kubernetes takes no such label; values are text in quotes."
    for key, value in settings.annotations.items():
        good = bool(_LABEL_KEY.fullmatch(key)) and isinstance(value, str)
        yield good, f"annotations.{key}: values are text in quotes."
    for key, value in settings.env.items():
        good = bool(_VARIABLE.fullmatch(key)) and isinstance(value, str)
        yield good, f"env.{key} should be a variable's name with a text in quotes."

"""What Argo and Kubernetes say about pods, in plain words with what to do. Pure, but for a look at the nodes where one helps."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..errors import EngineError
from ..profile import FarmProfile
from .argo_nodes import STARTING, STOPPED, is_ready
from .argo_settings import PodSettings

if TYPE_CHECKING:
    from .argo_objects import PodEvent


class _Nodes(Protocol):
    """The part of a cluster that tells of its nodes; may refuse."""

    def nodes(self, selector: str = "") -> Sequence[Mapping[str, Any]]: ...

    def node_count(self) -> int: ...


_EXIT = re.compile(r"^(?:main: )?(?:Error|OOMKilled)? ?\(exit code (\d+)\)(?:: )?")
_NODES_SECONDS = 60.0
_IMAGE = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_MOUNT = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_FULL = {"scratch": "scratch folder", "shm": "shared memory"}
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


class NodeCount(NamedTuple):
    """How many nodes a farm has for renders.

    Attributes:
        all: Nodes of the cluster.
        labelled: Of these, with the labels that the profile wants.
        ready: Of these, that take pods now.
        gpus: GPUs of these.
    """

    all: int
    labelled: int
    ready: int
    gpus: int


class Explainer:
    """Explains messages of one farm.

    Args:
        cluster: Opens the cluster, whose nodes are counted where that tells more.
    """

    def __init__(self, profile: FarmProfile, settings: PodSettings, cluster: Callable[[], _Nodes]) -> None:
        self._profile = profile
        self._settings = settings
        self._cluster = cluster
        self._counted: tuple[float, NodeCount | None] = (-_NODES_SECONDS, None)

    def plain(self, message: str, *, waits: bool = False, prepares: bool = False, deadline_s: int = 0) -> str:
        """Say what a message of Argo means.

        Args:
            waits: The pod waits for something; otherwise the message is about an attempt's end.
            prepares: It is the pod that lays out the scene.
            deadline_s: What one attempt may take; 0 where that can't be read.
        """
        if not message:
            return ""
        if STOPPED in message:
            return "It was asked to stop."
        return self._waiting(message) if waits else self._ended(message, prepares, deadline_s)

    def stuck(self, event: PodEvent) -> str:
        """Say why a pod that has a node does not start, by what befell it last; empty for the usual course of things."""
        said = event.message.strip().rstrip(".")
        if event.reason == "Pulling":
            return f"Its node still pulls the image ({said})."
        if not event.warning:
            return ""
        secret = f"{self._settings.service_account}.service-account-token"
        if event.reason in _MOUNT and f'secret "{secret}" not found' in said:
            return (
                f"The namespace has no Secret '{secret}', from which Argo's own container takes its token. Ask the cluster's admin to make"
                " it, or set kubernetes.token_in_pods in the farm's profile."
            )
        if event.reason in _MOUNT:
            return (
                f"Its node can't mount the volume ({said}). It is tried again and again: does the server of volume claim"
                f" '{self._profile.volume.claim}' answer, and may this node use it? Ask the cluster's admin."
            )
        if event.reason == "FailedCreatePodSandBox":
            return f"Its node can't make a pod ({said}). Ask the cluster's admin to look at that node."
        return f"It does not start: {said}."

    def _waiting(self, message: str) -> str:
        if message.startswith(STARTING):
            return ""
        if message.startswith("Unschedulable"):
            return self._unschedulable(message)
        if message.startswith(_IMAGE):
            return (
                f"The image can't be pulled ({_tail(message)}). Is its name in the farm's profile (images) right, and does the cluster"
                " have the registry's login (kubernetes.image_pull_secrets)?"
            )
        if message.startswith(_CONFIG):
            return f"The container can't be made: {_tail(message)}"
        if "exceeded quota" in message:
            return f"The namespace's quota is used up; it starts when something else ends ({_tail(message)})."
        if "must specify" in message and "failed quota" in message:
            return (
                f"The namespace's quota wants every container to say what it needs ({_tail(message)}), and Argo's own don't. Ask the"
                " cluster's admin for a LimitRange with default requests there."
            )
        return message

    def _unschedulable(self, message: str) -> str:
        if "persistentvolumeclaim" in message.lower():
            return (
                f"The cluster has no volume claim '{self._profile.volume.claim}' in this namespace, or it is not bound. Is volume.claim in the"
                " farm's profile right?"
            )
        count = self._count()
        taints = ", ".join(sorted(set(re.findall(r"untolerated taint \{([^}]*)\}", message))))
        # Nodes that don't match are told of beside those that would fit: the label is the reason where no others are named.
        if taints and "Insufficient" not in message:
            return f"The nodes that would fit are kept for others (taint {taints}). Add a toleration to gpu.tolerations in the farm's profile."
        if "didn't match" in message and "Insufficient" not in message:
            return self._no_such_node(count)
        scarce = sorted(set(re.findall(r"Insufficient ([\w./-]*\w)", message)))
        if scarce:
            have = f" ({count.gpus} on {count.ready} nodes)" if count and self._profile.gpu.resource in scarce else ""
            return f"It waits for free {' and '.join(scarce)}{have}; it starts when something else ends."
        return f"No node takes it: {_tail(message)}"

    def _no_such_node(self, count: NodeCount | None) -> str:
        wanted = (
            ", ".join(f"{key} = {' or '.join(map(str, values))}" for key, values in self._labels().items())
            or "no label"
        )
        if count is None:
            return f"No free node has the label {wanted}. Check gpu in the farm's profile with: kubectl get nodes --show-labels"
        if not count.labelled:
            return f"None of the cluster's {count.all} nodes has the label {wanted}. Check gpu in the farm's profile."
        if not count.ready:
            return (
                f"{count.labelled} of the cluster's {count.all} nodes have the label {wanted}, but none takes pods now."
            )
        return f"{count.ready} of the cluster's {count.all} nodes have the label {wanted} and take pods, but none has room now."

    def _labels(self) -> dict[str, Sequence[Any]]:
        gpu = self._profile.gpu
        return {**({gpu.model_label: gpu.models} if gpu.models else {}), **gpu.node_labels}

    def _count(self) -> NodeCount | None:
        """Count the farm's nodes, once a minute; None where we may not look."""
        at, count = self._counted
        if time.monotonic() - at > _NODES_SECONDS:
            try:
                cluster = self._cluster()
                nodes = cluster.nodes(labels_selector(self._labels()))
                count = count_nodes(nodes, cluster.node_count(), self._profile.gpu.resource)
            except EngineError:
                count = None
            self._counted = (time.monotonic(), count)
        return count

    def _ended(self, message: str, prepares: bool, deadline_s: int) -> str:
        match = _EXIT.match(message)
        code, rest = (int(match[1]), message[match.end() :].strip()) if match else (None, message)
        if "OOMKilled" in message:
            return self._out_of_memory(prepares)
        if rest.startswith("pod deleted"):
            return "Its pod was deleted: its node was drained or taken back."
        if "DeadlineExceeded" in message or "longer than the specified deadline" in message:
            return self._too_long(prepares, deadline_s)
        if told := _by_template(message) or _of_the_node(message):
            return told
        if "pulling" in message.lower() or any(word in message for word in _IMAGE):
            return self._waiting(next(word for word in (*_IMAGE, message) if word in message) + f": {message}")
        if code is not None and not rest:
            return f"It ended with exit code {code}."
        return rest

    def _out_of_memory(self, prepares: bool) -> str:
        memory, key = (
            (self._settings.prepare.memory, "prepare.memory") if prepares else (self._settings.memory, "memory")
        )
        return (
            f"It needed more than the {memory} of memory that a pod has (OOMKilled). Raise kubernetes.{key} in the farm's profile, or make"
            " the scene smaller."
        )

    def _too_long(self, prepares: bool, deadline_s: int) -> str:
        setting = self._settings.deadline_s
        if prepares or self._settings.workflow_template or deadline_s in (0, setting):
            return f"It took longer than one attempt may ({deadline_s or setting} s, kubernetes.deadline_s in the farm's profile)."
        return (
            f"It took longer than one attempt may ({deadline_s} s: half an hour to start, and the frame limit for each of its frames)."
            " Submit with a longer frame limit or none."
        )


def _of_the_node(message: str) -> str:
    """What a node did to a pod, in plain words; empty where it is something else."""
    if full := re.search(r'EmptyDir volume "(scratch|shm)" exceeds the limit "(\w+)"', message):
        return f"It wrote more than {full[2]} to its {_FULL[full[1]]}. Raise kubernetes.{full[1]}_size in the farm's profile."
    if "was low on resource" in message or message.startswith("Evicted"):
        return f"Its node ran short and put it out: {_tail(message)}"
    return "Its node was shut down." if "node shutdown" in message else ""


def _by_template(message: str) -> str:
    """What Argo says where artists may not submit pods of their own, in plain words; empty where it is something else."""
    if "must use workflowTemplateRef" in message or "when using workflowTemplateRef" in message:
        return (
            f"Argo's controller takes only jobs that refer to a WorkflowTemplate ({message}). Ask the cluster's admin which, and set"
            " kubernetes.workflow_template in the farm's profile."
        )
    if "workflowtemplates.argoproj.io" in message and "not found" in message:
        return f"The farm's WorkflowTemplate is not on the cluster ({message}). Ask the cluster's admin to install it."
    return ""


def labels_selector(labels: Mapping[str, Sequence[Any]]) -> str:
    """Return the selector of what has all of the labels, each in one of its values. Pure."""
    return ",".join(f"{key} in ({','.join(map(str, values))})" for key, values in labels.items())


def count_nodes(labelled: Sequence[Mapping[str, Any]], total: int, resource: str) -> NodeCount:
    """Count what the nodes that have the labels have to give. Pure."""
    ready = [node for node in labelled if is_ready(node) and not (node.get("spec") or {}).get("unschedulable")]
    gpus = sum(int((node["status"].get("allocatable") or {}).get(resource) or 0) for node in ready)
    return NodeCount(total, len(labelled), len(ready), gpus)


def _tail(message: str) -> str:
    """What stands after the reason's name, without its last stop."""
    head, colon, tail = message.partition(": ")
    return (tail if colon else head).strip().rstrip(".")

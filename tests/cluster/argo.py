"""Argo Workflows of a chosen version, with its full or its minimal resource definitions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import requests

from . import places
from .api import ApiRefused, KubeApi, wait_until
from .binaries import ARGO
from .control_plane import answers
from .pki import Credentials
from .services import Component

HEALTH_PORT = 6060
METRICS_PORT = 9090
_GROUP = "argoproj.io"


@dataclass(frozen=True)
class ArgoFlavour:
    """What a cluster of a studio may have.

    Attributes:
        version: One that is built here.
        crds: Full ones check every field, minimal ones keep and ignore unknown fields. Kubernetes 1.34 refuses 3.6's full ones.
    """

    version: str = "3.7.14"
    crds: Literal["full", "minimal"] = "full"

    def __str__(self) -> str:
        return f"{self.version}-{self.crds}"

    @property
    def programs(self) -> Path:
        """The folder with workflow-controller, argoexec and argo."""
        return ARGO[self.version].folder

    @property
    def executor_image(self) -> str:
        """What Argo puts beside each container."""
        return f"docker.io/local/argoexec:{self.programs.name}"

    def definitions(self) -> list[dict[str, Any]]:
        """Return the resource definitions."""
        paths = sorted((self.programs / "crds" / self.crds).glob("*.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


FLAVOURS = (ArgoFlavour(), ArgoFlavour(crds="minimal"), ArgoFlavour("3.6.12", "minimal"))


def install_definitions(api: KubeApi, flavour: ArgoFlavour) -> None:
    """Install the flavour's resource definitions, in the place of another's, and wait until they are served.

    Deleting the others first would take a minute: the API server then merges its description of itself eight times more.
    """
    for definition in flavour.definitions():
        api.put(definition)
    wait_until(lambda: _served(api, flavour), "Argo's resources are served", patience=180)


def _served(api: KubeApi, flavour: ArgoFlavour) -> bool:
    """Tell whether the API server checks Workflows as the flavour does, and knows the other kinds.

    "Created" is not yet "served", and a controller that comes too early dies.
    """
    probe = {
        "apiVersion": f"{_GROUP}/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "probe"},
        "spec": {"entrypoint": "main", "templates": [], "noSuchField": True},
    }
    for kind in ("WorkflowTemplate", "WorkflowTaskResult"):
        api.find(kind)
    try:
        api.create(probe, dryRun="All", fieldValidation="Strict")
    except ApiRefused as refusal:
        return refusal.status == requests.codes.bad_request and flavour.crds == "full"
    return flavour.crds == "minimal"


@dataclass(frozen=True)
class ControllerSettings:
    """How an administrator set the controller up.

    Attributes:
        queries: How many requests a second it may send, and how many at once; None for its own low defaults.
        environment: More variables.
    """

    queries: tuple[int, int] | None = (200, 300)
    environment: Mapping[str, str] = field(default_factory=dict)


def workflow_controller(flavour: ArgoFlavour, credentials: Credentials, settings: ControllerSettings) -> Component:
    """Return the controller."""
    queries = settings.queries
    limits = () if queries is None else ("--qps", str(queries[0]), "--burst", str(queries[1]))
    return Component(
        "workflow-controller",
        (
            str(flavour.programs / "workflow-controller"),
            *("--kubeconfig", str(credentials.kubeconfigs["admin"])),
            *("--namespaced", "--namespace", places.NAMESPACE, "--managed-namespace", places.NAMESPACE),
            *("--executor-image", flavour.executor_image, "--executor-image-pull-policy", "Never"),
            *limits,
        ),
        ready=lambda: answers(f"http://127.0.0.1:{HEALTH_PORT}/healthz"),
        environment={
            "LEADER_ELECTION_DISABLE": "true",
            "DEFAULT_REQUEUE_TIME": "1s",
            "ARGO_PROGRESS_PATCH_TICK_DURATION": "5s",
            **settings.environment,
        },
    )

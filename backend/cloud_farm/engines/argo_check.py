"""Whether jobs can run on a cluster: what is there, and what we may do. A finding for each thing that is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..checks import GREEN, RED, Check, judged
from ..errors import CloudFarmError
from ..job import Finding
from ..profile import FarmProfile
from .argo_settings import PodSettings

if TYPE_CHECKING:
    from .argo_api import Cluster


class Right(NamedTuple):
    """A right that a submitter needs, or only profits from."""

    verb: str
    resource: str
    group: str = ""
    needed: bool = True
    why: str = ""


RIGHTS = (
    *(Right(verb, "workflows", "argoproj.io") for verb in ("create", "get", "list", "patch", "delete")),
    Right("list", "pods", why="to tell why a pod does not start, and when a cancelled job is gone"),
    Right("delete", "pods", needed=False, why="to free frames of a node that died"),
    Right("get", "pods/log", needed=False, why="to show a log while its pod writes it"),
)
"""What a submitter's Role holds."""


def check_cluster(
    profile: FarmProfile, settings: PodSettings, open_cluster: Callable[[], Cluster]
) -> tuple[Finding, ...]:
    """Look at everything that a job needs, as far as we may look."""
    try:
        cluster = open_cluster()
        return tuple(_problems(profile, settings, cluster))
    except CloudFarmError as error:
        return (Finding("cluster_unreachable", "error", str(error)),)


def try_out_cluster(
    profile: FarmProfile, settings: PodSettings, open_cluster: Callable[[], Cluster]
) -> Iterator[Check]:
    """Tell whether Kubernetes answers, and whether its Argo can take our jobs."""
    try:
        cluster = open_cluster()
        began = time.monotonic()
        version = cluster.version()
        took = time.monotonic() - began
        has_argo = cluster.has_argo()
    except CloudFarmError as error:
        yield Check("kubernetes", RED, str(error))
        yield Check("argo", RED, "Nobody can tell before Kubernetes answers.")
        return
    found = f"{version} at {cluster.server}, namespace {cluster.namespace}, {took * 1000:.0f} ms"
    yield Check("kubernetes", GREEN, found, values={"version": version, "seconds": took})
    if has_argo:
        yield judged("argo", check_cluster(profile, settings, open_cluster), "it takes our jobs")
    else:
        yield Check("argo", RED, "The cluster has no Argo Workflows.", "Ask its admin to install it (3.6 or 3.7).")


def _problems(profile: FarmProfile, settings: PodSettings, cluster: Cluster) -> Iterator[Finding]:
    yield from _rights(cluster)
    things = (
        ("volume_claim_missing", "volume claim", profile.volume.claim, "api/v1", "persistentvolumeclaims", "volume.claim"),
        ("service_account_missing", "service account", settings.service_account, "api/v1", "serviceaccounts", "kubernetes.service_account"),
        *(
            ("pull_secret_missing", "image pull secret", name, "api/v1", "secrets", "kubernetes.image_pull_secrets")
            for name in settings.image_pull_secrets
        ),
    )  # fmt: skip
    for code, what, name, group, resource, key in things:
        if name and cluster.may("get", resource) and not cluster.exists(f"{group} {resource}/{name}"):
            message = f"Namespace {cluster.namespace} has no {what} '{name}'."
            yield Finding(
                code, "error", message, fix=f"Name another one as {key} in the farm's profile, or have it made."
            )


def _rights(cluster: Cluster) -> Iterator[Finding]:
    for right in RIGHTS:
        resource, _, subresource = right.resource.partition("/")
        if cluster.may(right.verb, resource, group=right.group, subresource=subresource):
            continue
        reason = f" ({right.why})" if right.why else ""
        message = f"You may not {right.verb} {right.resource} in namespace {cluster.namespace}{reason}."
        rule = f"apiGroups: ['{right.group}'], resources: ['{right.resource}'], verbs: ['{right.verb}']"
        severity = "error" if right.needed else "warning"
        yield Finding("right_missing", severity, message, fix=f"Ask the cluster's admin for a Role with {{{rule}}}.")

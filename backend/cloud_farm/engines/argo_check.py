"""Whether jobs can run on a cluster: what is there, and what we may do. A finding for each thing that is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..checks import GREEN, RED, Check, judged
from ..errors import CloudFarmError
from ..images import choose_image
from ..job import Finding
from ..profile import FarmProfile
from .argo_manifest import template_name
from .argo_names import OLDEST_ARGO, argo_version, image_version
from .argo_settings import PodSettings

if TYPE_CHECKING:
    from .argo_api import Cluster


_PLURAL_LOCKS, _NO_SINGULAR_LOCK = (3, 6), (4, 0)


class Right(NamedTuple):
    """A right that a submitter needs (its lack is an error), or only profits from."""

    verb: str
    resource: str
    group: str = ""
    severity: str = "error"
    why: str = ""
    everywhere: bool = False


RIGHTS = (
    *(Right(verb, "workflows", "argoproj.io") for verb in ("create", "get", "list", "patch", "delete")),
    Right("list", "pods", why="to tell why a pod does not start, and when a cancelled job is gone"),
    Right("get", "pods", severity="warning", why="to find frames of a node that died"),
    Right("delete", "pods", severity="warning", why="to free frames of a node that died"),
    Right("list", "events", severity="warning", why="to tell why a pod that has a node does not start"),
    Right(
        "list",
        "nodes",
        severity="info",
        why="to tell how many nodes have the wanted GPU, and whether one died",
        everywhere=True,
    ),
)
"""What a submitter's Role holds, and the only thing outside of the namespace that is of use."""


class Thing(NamedTuple):
    """Something that must be in the namespace.

    Attributes:
        code: Of the finding where it is not there.
        what: How people call it.
        fix: What to do where it is not there.
    """

    code: str
    what: str
    name: str
    resource: str
    fix: str
    group: str = ""


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
    for thing in _things(profile, settings):
        yield from _absent(cluster, thing)
    yield from _version(profile, cluster)


def _things(profile: FarmProfile, settings: PodSettings) -> Iterator[Thing]:
    other = "Name another one as {} in the farm's profile, or have it made."
    claim, account = profile.volume.claim, settings.service_account
    yield Thing("volume_claim_missing", "volume claim", claim, "persistentvolumeclaims", other.format("volume.claim"))
    yield Thing(
        "service_account_missing", "service account", account, "serviceaccounts", other.format("kubernetes.service_account")
    )  # fmt: skip
    if not settings.token_in_pods:
        fix = "Have it made as docs/argo.md shows, or set kubernetes.token_in_pods in the farm's profile."
        yield Thing("token_secret_missing", "Secret", f"{account}.service-account-token", "secrets", fix)
    for name in settings.image_pull_secrets:
        yield Thing(
            "pull_secret_missing", "image pull secret", name, "secrets", other.format("kubernetes.image_pull_secrets")
        )
    for blender in profile.images if settings.workflow_template else ():
        fix = "Ask the cluster's admin to install what 'cloud-farm template' prints for this farm."
        name = template_name(settings, choose_image(profile, blender))
        yield Thing("workflow_template_missing", "WorkflowTemplate", name, "workflowtemplates", fix, "argoproj.io")


def _absent(cluster: Cluster, thing: Thing) -> Iterator[Finding]:
    if not thing.name:
        return
    if cluster.may("get", thing.resource, group=thing.group, name=thing.name):
        if not cluster.exists(thing.resource, thing.name, group=thing.group):
            message = f"Namespace {cluster.namespace} has no {thing.what} '{thing.name}'."
            yield Finding(thing.code, "error", message, fix=thing.fix)
    elif thing.resource != "secrets":  # nobody should be given that right for this
        message = f"Whether there is a {thing.what} '{thing.name}' was not checked: you may not get {thing.resource}."
        yield Finding("not_checked", "info", message)


def _rights(cluster: Cluster) -> Iterator[Finding]:
    for right in RIGHTS:
        if cluster.may(right.verb, right.resource, group=right.group, everywhere=right.everywhere):
            continue
        reason = f" ({right.why})" if right.why else ""
        where = "on the cluster" if right.everywhere else f"in namespace {cluster.namespace}"
        kind = "ClusterRole" if right.everywhere else "Role"
        rule = f"apiGroups: ['{right.group}'], resources: ['{right.resource}'], verbs: ['{right.verb}']"
        yield Finding(
            "right_missing", right.severity, f"You may not {right.verb} {right.resource} {where}{reason}.",
            fix=f"Ask the cluster's admin for a {kind} with {{{rule}}}.",
        )  # fmt: skip


def _version(profile: FarmProfile, cluster: Cluster) -> Iterator[Finding]:
    """Compare the controller's version, where it can be seen, with what the profile says."""
    image = next((image for image in cluster.argo_images() if image_version(image)), "")
    if image:
        yield from judge_version(image, profile.argo_version)


def judge_version(image: str, written: str) -> Iterator[Finding]:
    """Say what is wrong with a version of Argo, or with what a profile takes it for. Pure.

    Args:
        image: One of Argo's own containers.
        written: argo_version of the profile.
    """
    found = image_version(image)
    major_minor = (int(found.split(".")[0]), int(found.split(".")[1]))
    oldest = ".".join(map(str, OLDEST_ARGO))
    if major_minor < OLDEST_ARGO:
        message = f"The cluster's Argo is {found}, and {oldest} is the oldest that works."
        yield Finding("argo_unsupported", "error", message, fix="Ask the cluster's admin for a newer one.")
        return
    taken = argo_version(written)
    # A newer one takes what is written for an older one, but for one field that 4.0 threw away.
    if taken > major_minor or (taken < _PLURAL_LOCKS and major_minor >= _NO_SINGULAR_LOCK):
        said = (
            f"argo_version {written}" if written else f"argo_version, which is not set ({taken[0]}.{taken[1]} is taken)"
        )
        # What ran last may be of before an update; only the controller itself is sure.
        severity = "error" if "workflow-controller" in image else "warning"
        message = f"The cluster's Argo is {found}, as {image} says, and the farm's profile has {said}: it would drop fields of a job in silence."
        yield Finding(
            "argo_version_differs", severity, message, fix=f"Set argo_version: {found} in the farm's profile."
        )

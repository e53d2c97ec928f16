"""Argo Workflows of a plan: shards of at most a thousand chunks, all made at submit. Pure.

    a job of 2,500 chunks ── part 1 ┐ each: prepare (CPU), then its chunks, one pod each
                             part 2 ┤ two mutexes a job: two parts run, the others wait in Argo,
                             part 3 ┤ and nobody of ours has to stay awake for them
                             part 4 ┘

Chunks travel as one parameter, a JSON list. Nothing that a person named (title, camera, file) is filled into a command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Any

from ..errors import InvalidJobError, ProfileError
from ..images import FarmImage, choose_image
from ..layout import JobLayout
from ..plan import DEFAULT_PARALLELISM, RenderPlan, scripts_word
from ..profile import FarmProfile
from .argo_labels import app_labels, plain, template_annotations, workflow_annotations, workflow_labels
from .argo_names import argo_version, draws, has_collision, workflow_name
from .argo_pod import ATTEMPTS, CHUNK_PARAMETERS, Manifest, parameter, pod_security, templates, volumes
from .argo_settings import PodSettings, read_pod_settings
from .argo_shards import Shard, cut, wanted_chunks

API_VERSION = "argoproj.io/v1alpha1"
_START_S = 1800
"""What an attempt may take besides its frames: the image's pull, and the scene's loading."""
_USUAL_PRIORITY = 50
_PARAMETERS = (
    "filename", "sliceSize", "start", "stop", "outputLocation", "job", "revision", "plan", "supervisor", "scripts", "chunks",
)  # fmt: skip
_PLACEHOLDER = re.compile(
    rf"\{{\{{(workflow\.parameters\.({'|'.join(_PARAMETERS)})|(inputs\.parameters|item)\.({'|'.join(CHUNK_PARAMETERS)})|status|duration)\}}\}}"
)


def workflows(
    plan: RenderPlan, profile: FarmProfile, *, owner: str = "", run: int = 0, only: Collection[str] | None = None
) -> tuple[Manifest, ...]:
    """Return the Workflows of a plan; the same input gives the same names, so that a submission can be repeated.

    Args:
        owner: Who submits, for people.
        run: 0 for a revision's first run; each later run of it (a retry) needs a number of its own.
        only: Ids of the chunks that are wanted; None wants all.

    Raises:
        ProfileError: The farm's profile can't become pods.
        InvalidJobError: No such chunk, or none at all; or the farm's template can't render the job as it is.
    """
    settings = read_pod_settings(profile)
    image = choose_image(profile, str(plan.document["blender"]))
    if settings.workflow_template:
        _require_fitting(plan, profile, settings)
    made = []
    for shard in cut(wanted_chunks(plan, only), plan.workers):
        if settings.workflow_template:
            spec: Manifest = {"workflowTemplateRef": {"name": template_name(settings, image)}}
        else:
            spec = _spec(
                profile, settings, image, parallelism=shard.parallelism, lock=f"{plan.job_id}-{shard.lane}",
                priority=plan.priority, gpus=plan.gpus, deadline_s=_deadline(settings, plan),
            )  # fmt: skip
        metadata = {
            "name": _name(plan, run, shard),
            **_namespace(settings),
            "labels": workflow_labels(plan, profile, shard, owner=owner, run=run),
            "annotations": workflow_annotations(plan, image, shard, owner=owner),
        }
        spec = {**spec, "priority": plan.priority, "arguments": {"parameters": _arguments(plan, shard, profile)}}
        made.append(_checked({"apiVersion": API_VERSION, "kind": "Workflow", "metadata": metadata, "spec": spec}))
    return tuple(made)


def workflow_template(profile: FarmProfile, blender: str) -> Manifest:
    """Return what an administrator installs once where artists may not submit pods of their own.

    It fixes image, nodes, user, mounts and service account; submitters choose job and chunks. Scripts and supervisor are still
    the submitter's: it is a border around the pod, not around what runs inside. A controller enforces it with
    `workflowRestrictions: {templateReferencing: Strict}`, and only where it checks overridden fields (3.7.14 does, 3.7.6 does not).

    Args:
        blender: major.minor that it renders with.

    Raises:
        ProfileError: The farm's profile can't become pods, or names no template.
    """
    settings = read_pod_settings(profile)
    if not settings.workflow_template:
        raise ProfileError(
            f"Farm profile '{profile.name}': kubernetes.workflow_template is missing: the template's name."
        )
    image = choose_image(profile, blender)
    metadata = {
        "name": template_name(settings, image),
        **_namespace(settings),
        "labels": app_labels(profile),
        "annotations": template_annotations(image),
    }
    # A template can't share its pods out among a job's parts: they run one after the other.
    spec = _spec(
        profile, settings, image, parallelism=profile.limits.parallelism or DEFAULT_PARALLELISM, lock=parameter("job"),
        priority=_USUAL_PRIORITY, gpus=_template_gpus(profile), deadline_s=settings.deadline_s,
    )  # fmt: skip
    spec["arguments"] = {"parameters": [{"name": name} for name in _PARAMETERS]}
    return _checked({"apiVersion": API_VERSION, "kind": "WorkflowTemplate", "metadata": metadata, "spec": spec})


def template_name(settings: PodSettings, image: FarmImage) -> str:
    """Return the name of the WorkflowTemplate for an image: there is one for each major.minor of Blender."""
    return f"{settings.workflow_template}-{'-'.join(image.version.split('.')[:2])}"


def _template_gpus(profile: FarmProfile) -> int:
    return 0 if profile.gpu.device == "cpu" else profile.gpu.count


def _require_fitting(plan: RenderPlan, profile: FarmProfile, settings: PodSettings) -> None:
    """Refuse a job that wants pods other than those of the farm's template: submitters can't change them.

    Raises:
        InvalidJobError: It does.
    """
    farm, gpus = f"Farm '{profile.name}' renders by a WorkflowTemplate", _template_gpus(profile)
    if plan.gpus != gpus:
        has = f"{gpus} GPU{'s' * (gpus != 1)}" if gpus else "no GPU"
        raise InvalidJobError(
            f"{farm} that gives each pod {has}: it can't render on {plan.document['settings']['device']}. Leave the device at auto, or choose"
            " another farm."
        )
    wanted, fixed = (_priority_class(settings, priority) for priority in (plan.priority, _USUAL_PRIORITY))
    if wanted != fixed:
        raise InvalidJobError(
            f"{farm} that fixes the priority class of pods: priority {plan.priority} would need {wanted.get('podPriorityClassName', 'none')}."
            f" Leave the priority at {_USUAL_PRIORITY}."
        )
    limit = plan.document["limits"]["frame_seconds"]
    if limit and _START_S + limit > settings.deadline_s:
        raise InvalidJobError(
            f"{farm} that ends every pod after {settings.deadline_s} s, half an hour of which may pass before the first frame: a frame limit of"
            f" {limit:g} s is too long for it. Choose a shorter one, or ask who runs the farm for a longer kubernetes.deadline_s."
        )


def _spec(
    profile: FarmProfile, settings: PodSettings, image: FarmImage,
    *, parallelism: int, lock: str, priority: int, gpus: int, deadline_s: int,
) -> Manifest:  # fmt: skip
    version = argo_version(profile.argo_version)
    secrets = [{"name": name} for name in settings.image_pull_secrets]
    return {
        "entrypoint": "main",
        "parallelism": parallelism,
        "synchronization": {"mutexes": [{"name": lock}]} if version >= (3, 6) else {"mutex": {"name": lock}},
        **_service_account(settings),
        **_priority_class(settings, priority),
        "securityContext": pod_security(profile, settings),
        **({"imagePullSecrets": secrets} if secrets else {}),
        "podGC": {"strategy": "OnPodSuccess"},
        "ttlStrategy": {"secondsAfterSuccess": settings.ttl_s.success, "secondsAfterFailure": settings.ttl_s.failure},
        "volumes": volumes(profile, settings),
        "templates": templates(profile, settings, image, gpus=gpus, deadline_s=deadline_s, version=version),
    }


def _name(plan: RenderPlan, run: int, shard: Shard) -> str:
    tail = f"r{plan.revision}" + (f"-run{run}" if run else "") + (f"-{shard.number}" if shard.of > 1 else "")
    names = (workflow_name(plan.job_id, tail + drawn) for drawn in draws())
    return next(name for name in names if not has_collision(name, shard.items, ATTEMPTS))


def _arguments(plan: RenderPlan, shard: Shard, profile: FarmProfile) -> list[Manifest]:
    """The parameters of the public tutorial, for people, and ours, for the pods; every value is a string."""
    layout, settings, frames = JobLayout(plan.job_id), plan.document["settings"], shard.frames
    root = PurePosixPath(profile.volume.mount_path)
    values = {
        "filename": plain(str(root / layout.scene / settings["scene_file"])),
        "sliceSize": str(shard.largest),
        "start": str(frames[0]),
        "stop": str(frames[-1]),
        "outputLocation": str(root / layout.frames(plan.revision, 0).parent),
        "job": plan.job_id,
        "revision": str(plan.revision),
        "plan": plan.sha256,
        "supervisor": str(plan.document["scripts"]["run_attempt.py"]),
        "scripts": scripts_word(allow=bool(settings["allow_scripts"])),
        "chunks": json.dumps(shard.items, separators=(",", ":")),
    }
    return [{"name": name, "value": values[name]} for name in _PARAMETERS]


def _deadline(settings: PodSettings, plan: RenderPlan) -> int:
    """Longest time of one attempt: enough for every frame to take its own limit, else what the profile says."""
    limit = plan.document["limits"]["frame_seconds"]
    return _START_S + int(limit * max(len(chunk.frames) for chunk in plan.chunks)) if limit else settings.deadline_s


def _service_account(settings: PodSettings) -> dict[str, Any]:
    named = {"serviceAccountName": settings.service_account}
    if settings.token_in_pods:
        return {**named}
    # The executor gets the account's token from its Secret; the container in which scenes are opened gets none.
    return {**named, "automountServiceAccountToken": False, "executor": named}


def _priority_class(settings: PodSettings, priority: int) -> dict[str, str]:
    fitting = [(least, name) for name, least in settings.priority_classes.items() if least <= priority]
    return {"podPriorityClassName": max(fitting)[1]} if fitting else {}


def _namespace(settings: PodSettings) -> dict[str, str]:
    return {"namespace": settings.namespace} if settings.namespace else {}


def _checked(manifest: Manifest) -> Manifest:
    """Refuse placeholders that are not ours: they could only come from the farm's profile."""
    rest = _PLACEHOLDER.sub("", json.dumps(manifest, ensure_ascii=False))
    if "{{" in rest:
        found = rest[rest.index("{{") :][:40]
        raise ProfileError(
            f"The farm's profile has a placeholder that Argo would fill in: {found}… Write it without {{{{."
        )
    return manifest

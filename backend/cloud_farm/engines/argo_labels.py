"""What a Workflow says about itself: labels to find it by, annotations for people, and by which it is known again. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidJobError
from ..frames import FrameRange
from ..images import FarmImage
from ..layout import is_job_id, slugify
from ..plan import RenderPlan
from ..profile import FarmProfile
from ..version import VERSION
from .argo_shards import Shard

JOB, TASK, OWNER, FRAMES = "cloud-farm/job", "cloud-farm/task", "cloud-farm/owner", "cloud-farm/frames"
VOLUME = "cloud-farm/volume"
PLAN_SHA256, CHUNKS_SHA256 = "cloud-farm/plan-sha256", "cloud-farm/chunks-sha256"
_INSTANCE = "workflows.argoproj.io/controller-instanceid"
_TITLE, _DESCRIPTION = "workflows.argoproj.io/title", "workflows.argoproj.io/description"
_LONGEST_LABEL, _LONGEST_TEXT = 63, 200


def job_selector(job_id: str, *, instance_id: str = "") -> str:
    """Return the label selector of all Workflows of a job."""
    return pods_selector(job_id) + (f",{_INSTANCE}={instance_id}" if instance_id else "")


def pods_selector(job_id: str) -> str:
    """Return the label selector of all pods of a job."""
    return f"{JOB}={job_id}"


def jobs_selector(profile: FarmProfile) -> str:
    """Return the label selector of the Workflows of all jobs on the farm's volume."""
    instance = f",{_INSTANCE}={profile.instance_id}" if profile.instance_id else ""
    return f"{VOLUME}={volume_label(profile)}{instance}"


def volume_label(profile: FarmProfile) -> str:
    """Return what tells one farm's volume from those of others in the same namespace."""
    return hashlib.sha256(f"{profile.volume.claim}/{profile.volume.sub_path}".encode()).hexdigest()[:12]


def app_labels(profile: FarmProfile) -> dict[str, str]:
    """Return the labels of everything that we make on a cluster."""
    # Without the last one a controller that has an instance id never looks at a Workflow.
    instance = {_INSTANCE: profile.instance_id} if profile.instance_id else {}
    return {
        "app.kubernetes.io/name": "cloud-farm",
        "app.kubernetes.io/managed-by": "cloud-farm",
        "app.kubernetes.io/version": VERSION,
        **instance,
    }


def workflow_labels(plan: RenderPlan, profile: FarmProfile, shard: Shard, *, owner: str, run: int) -> dict[str, str]:
    """Return a Workflow's labels.

    Raises:
        InvalidJobError: The job's id can't be a label.
    """
    if not is_job_id(plan.job_id) or len(plan.job_id) > _LONGEST_LABEL:
        raise InvalidJobError(f"'{plan.job_id}' is not the id of a job that a cluster can run.")
    return {
        **app_labels(profile),
        JOB: plan.job_id,
        "cloud-farm/revision": str(plan.revision),
        "cloud-farm/run": str(run),
        "cloud-farm/shard": str(shard.number),
        "cloud-farm/shards": str(shard.of),
        OWNER: slugify(owner),
        VOLUME: volume_label(profile),
    }


def workflow_annotations(plan: RenderPlan, image: FarmImage, shard: Shard, *, owner: str) -> dict[str, str]:
    """Return a Workflow's annotations: title and description of Argo's pages, and what it is known again by."""
    frames, settings = plain(str(FrameRange.of(shard.frames))), plan.document["settings"]
    part = f", part {shard.number} of {shard.of}" if shard.of > 1 else ""
    by = f", submitted by {plain(owner)}" if owner else ""
    scene = plain(settings["scene_file"])
    return {
        _TITLE: f"{plain(plan.title)}{part}",
        _DESCRIPTION: f"Frames {frames} of {scene}{part}{by}. Blender {image.version}, {settings['device']}.",
        FRAMES: frames,
        OWNER: plain(owner),
        JOB: plan.job_id,
        PLAN_SHA256: plan.sha256,
        CHUNKS_SHA256: hashlib.sha256(json.dumps(shard.items).encode()).hexdigest(),
    }


def template_annotations(image: FarmImage) -> dict[str, str]:
    """Return the annotations of a WorkflowTemplate."""
    return {_DESCRIPTION: f"Renders scenes of Blender {image.version} with Cloud Farm."}


def plain(text: str) -> str:
    """Make one short line of what people wrote, in which Argo finds nothing to fill in."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    short = line if len(line) <= _LONGEST_TEXT else f"{line[: _LONGEST_TEXT - 1]}…"
    return re.sub(r"\{(?=\{)", "{ ", short)


def same_workflow(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a Workflow whose name is taken is the very one that we would make: same job, plan and chunks."""
    there, ours = (dict(item["metadata"].get("annotations") or {}) for item in (stored, wanted))
    return all(there.get(key) == ours[key] for key in (JOB, PLAN_SHA256, CHUNKS_SHA256))


def lost_fields(sent: Any, stored: Any, path: str = "") -> tuple[str, ...]:
    """Return the fields that a cluster did not keep: a definition of Workflows of another version drops them in silence.

    What was added there does not count.
    """
    if isinstance(sent, Mapping) and isinstance(stored, Mapping):
        pairs = [(value, stored.get(key), f"{path}.{key}" if path else key) for key, value in sent.items()]
    elif isinstance(sent, list) and isinstance(stored, list) and len(sent) == len(stored):
        pairs = [(ours, theirs, f"{path}[{i}]") for i, (ours, theirs) in enumerate(zip(sent, stored, strict=True))]
    else:
        return () if sent == stored else (path,)
    return tuple(name for ours, theirs, where in pairs for name in lost_fields(ours, theirs, where))

"""The plan: what a job becomes on a farm. Pure; local and cluster engines carry out the same plan."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from .choices import MOVIE_FORMATS
from .errors import InvalidJobError
from .frames import FrameRange
from .job import SCHEMA, JobPack, PackSummary, RenderJob, SceneInfo, name_template
from .layout import JobLayout, sha256_json
from .profile import FarmProfile

PREPARE = "prepare"
DEFAULT_PARALLELISM = 10
"""Pods at a time on a cluster whose profile sets no limits.parallelism."""
_LARGEST_CHUNK = 50
_FEW_FRAMES = 4


@dataclass(frozen=True)
class Toolchain:
    """What a plan is carried out with.

    Attributes:
        blender: Version of the Blender that will render, `4.5.15`.
        supervisor: Argv prefix of the Python that runs `run_attempt.py`.
        launcher: Argv prefix of the Blender.
        scripts: Name to sha256 of every file of `inside_blender/`.
    """

    blender: str
    supervisor: tuple[str, ...]
    launcher: tuple[str, ...]
    scripts: Mapping[str, str]

    @property
    def major_minor(self) -> str:
        """`4.5` of `4.5.15`."""
        return ".".join(self.blender.split(".")[:2])


@dataclass(frozen=True)
class Chunk:
    """Frames of one camera that one Blender renders in a row."""

    id: str
    camera: str | None
    frames: FrameRange


@dataclass(frozen=True)
class PlannedTask:
    """One thing to run.

    Attributes:
        id: `prepare` or the chunk's id.
        command: The exact argv. A retry runs it again unchanged.
        env: Variables that are set for it, as (name, value).
    """

    id: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()

    @property
    def is_prepare(self) -> bool:
        """Whether this task makes the scene tree; every other task waits for it."""
        return self.id == PREPARE


@dataclass(frozen=True)
class RenderPlan:
    """A whole revision of a job.

    Attributes:
        document: What plans/<revision>.json holds: settings, limits and chunks, no commands.
        content: The exact bytes of that file.
        tasks: `prepare` first, then one task a chunk.
        workers: How many tasks may run at once.
        priority: 0 to 100, 50 is usual.
        wanted: Ids of the chunks that are to run now, None for all: a retry leaves out those whose frames are all there.
    """

    job_id: str
    revision: int
    document: Mapping[str, Any]
    content: bytes
    chunks: tuple[Chunk, ...]
    tasks: tuple[PlannedTask, ...]
    workers: int
    priority: int = 50
    wanted: frozenset[str] | None = None

    @property
    def sha256(self) -> str:
        """Hash of the plan file's bytes; the supervisor checks it before it runs anything."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def render_hash(self) -> str:
        """Equal for two plans exactly when their frames are equal by construction."""
        return str(self.document["render_hash"])

    @property
    def title(self) -> str:
        """What people call the job."""
        return str(self.document.get("title") or self.job_id)

    @property
    def gpus(self) -> int:
        """GPUs that one task needs; 0 renders on the CPU."""
        return int(self.document["limits"].get("gpus", 1))

    @property
    def frame_count(self) -> int:
        """Frames of all cameras."""
        return sum(len(chunk.frames) for chunk in self.chunks)


def plan(
    job: RenderJob,
    pack: JobPack | PackSummary,
    profile: FarmProfile,
    job_id: str,
    *,
    tools: Toolchain,
    revision: int = 1,
    allow_scripts: bool = False,
    only: FrameRange | None = None,
) -> RenderPlan:
    """Resolve a job on a farm.

    Args:
        only: Frames of a revision that renders some again; None takes the job's.
        allow_scripts: The artist lets Python in the scene run; comes from a flag, never from job.json.

    Raises:
        InvalidJobError: A scene or camera that the file does not have, a device this farm can't know, or a cost cap
            where nothing has a price.
        FrameRangeError: Frames that are not understood.
    """
    scene = pack.facts.scene(job.scene)
    _check_names(job, scene)
    frames = only or FrameRange.parse(job.frames, scene=(scene.frame_start, scene.frame_end, scene.frame_step))
    chunks = _chunks(job, frames, _slots(profile), revision, pods=not profile.is_local)
    settings = _settings(job, pack, scene, profile, allow_scripts=allow_scripts)
    gpus = _gpus(profile, settings["device"], len(chunks))
    document = {
        "schema": SCHEMA,
        "job": job_id,
        "title": job.title,
        "revision": revision,
        "blender": tools.major_minor,
        "manifest_sha256": pack.manifest_sha256,
        "scripts": dict(tools.scripts),
        "render_hash": _render_hash(settings, pack.manifest_sha256, tools),
        "settings": settings,
        "limits": _limits(job, profile, gpus),
        "chunks": [{"id": c.id, "camera": c.camera, "frames": str(c.frames)} for c in chunks],
    }
    content = json.dumps(document, indent=1, ensure_ascii=False).encode()
    tasks = _tasks(document, hashlib.sha256(content).hexdigest(), chunks, profile, tools)
    return RenderPlan(
        job_id,
        revision,
        document,
        content,
        chunks,
        tasks,
        min(_slots(profile), max(1, len(chunks))),
        job.priority,
    )


def read_chunks(document: Mapping[str, Any]) -> tuple[Chunk, ...]:
    """Return the chunks of a stored plan."""
    return tuple(Chunk(str(c["id"]), c["camera"], FrameRange.parse(str(c["frames"]))) for c in document["chunks"])


def restore_plan(content: bytes, profile: FarmProfile, *, tools: Toolchain, priority: int = 50) -> RenderPlan:
    """Make a stored plan runnable again, unchanged: a plain retry of its revision."""
    document = json.loads(content)
    chunks = read_chunks(document)
    tasks = _tasks(document, hashlib.sha256(content).hexdigest(), chunks, profile, tools)
    return RenderPlan(
        str(document["job"]),
        int(document["revision"]),
        document,
        content,
        chunks,
        tasks,
        min(_slots(profile), max(1, len(chunks))),
        priority,
    )


def output_template(job: RenderJob, scene: SceneInfo) -> str:
    """Return the name template of the main images: the last part of the landing path, else of the scene's output."""
    template = name_template(job.landing or scene.output, job.title)
    return re.sub(
        r"\.(png|jpe?g|exr|tiff?|webp|bmp|tga|hdr|dpx|jp2|avi|mp4|mkv|mov|webm)(?=#*$)",
        "",
        template,
        flags=re.IGNORECASE,
    )


def _check_names(job: RenderJob, scene: SceneInfo) -> None:
    for camera in job.cameras:
        if camera not in scene.cameras:
            raise InvalidJobError(f"Scene '{scene.name}' has no camera '{camera}'. It has: {_names(scene.cameras)}.")
    for layer in job.view_layers:
        if layer not in scene.view_layers:
            raise InvalidJobError(
                f"Scene '{scene.name}' has no view layer '{layer}'. It has: {_names(scene.view_layers)}."
            )
    if not job.cameras and scene.active_camera is None and not scene.marker_cameras:
        raise InvalidJobError(
            f"Scene '{scene.name}' has no active camera. Set one in Scene properties, or choose one with --camera (the scene has: {_names(scene.cameras)})."
        )


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def _slots(profile: FarmProfile) -> int:
    """How many tasks the farm runs at once."""
    if profile.is_local:
        return profile.limits.workers or 1
    return profile.limits.parallelism or DEFAULT_PARALLELISM


def _gpus(profile: FarmProfile, device: str, chunks: int) -> int:
    """How many GPUs render one frame together: the profile's number, more only where GPUs would have nothing to do.

    One process for each GPU finishes most frames an hour; several on one frame finish that frame sooner.
    """
    if device == "cpu":
        return 0
    all_gpus = _slots(profile) * profile.gpu.count
    return max(profile.gpu.count, min(profile.gpu.count_max or 0, all_gpus // chunks))


def _chunks(job: RenderJob, frames: FrameRange, slots: int, revision: int, *, pods: bool) -> tuple[Chunk, ...]:
    size = job.chunk_size or _auto_chunk_size(len(frames), slots, pods=pods)
    cameras: tuple[str | None, ...] = job.cameras or (None,)
    parts = [(camera, part) for camera in cameras for part in frames.chunks(size)]
    return tuple(
        Chunk(f"r{revision}c{number:05d}", camera, part) for number, (camera, part) in enumerate(parts, start=1)
    )


def _auto_chunk_size(frames: int, slots: int, *, pods: bool) -> int:
    """About four chunks a slot: late finishers cost little, and start-up and scene loading are shared by several frames.

    A pod starts slowly (image, scene, a GPU's kernels): where every slot has work anyway it gets a few frames at least.
    """
    rounds = max(1, min(4, frames // (slots * _FEW_FRAMES))) if pods else 4
    return max(1, min(_LARGEST_CHUNK, -(-frames // (slots * rounds))))


def _settings(
    job: RenderJob,
    pack: JobPack | PackSummary,
    scene: SceneInfo,
    profile: FarmProfile,
    *,
    allow_scripts: bool,
) -> dict[str, Any]:
    device = profile.gpu.device if job.device == "auto" else job.device
    if not device:
        raise InvalidJobError(
            f"Farm '{profile.name}' does not say what it renders on. Set gpu.device in its profile, or choose --device."
        )
    return {
        "scene_file": pack.scene,
        "scene": job.scene,
        "view_layers": list(job.view_layers),
        "engine": job.engine,
        "device": device,
        "device_with_cpu": job.device_with_cpu,
        "format": job.file_format or ("PNG" if scene.file_format in MOVIE_FORMATS or scene.is_movie else None),
        "percentage": job.percentage,
        "samples": job.samples,
        "seed": job.seed,
        "persistent_data": job.persistent_data,
        "template": output_template(job, scene),
        "camera_prefix": len(job.cameras) > 1,
        "allowed_missing": list(job.allowed_missing),
        "allow_scripts": allow_scripts,
    }


def _limits(job: RenderJob, profile: FarmProfile, gpus: int) -> dict[str, Any]:
    price = profile.price_per_gpu_hour
    if job.cost_cap is not None and price is None:
        raise InvalidJobError(
            f"A cost cap can't be kept on farm '{profile.name}', because its profile has no price_per_gpu_hour."
            " Set it there, or leave --cost-cap out."
        )
    return {
        "frame_seconds": job.frame_seconds or profile.limits.frame_seconds,
        "frame_tries": job.retries,
        "cost_cap": job.cost_cap,
        "gpus": gpus,
        "price_per_hour": None if price is None else price * max(1, gpus),
        "log_bytes": profile.limits.log_bytes,
        "visibility_s": profile.visibility_s,
        "umask": profile.volume.umask,
    }


def _render_hash(settings: Mapping[str, Any], manifest_sha256: str, tools: Toolchain) -> str:
    """Hash everything that changes pixels or files; never frames, chunking, limits, farm or comment."""
    return sha256_json(
        {
            "manifest": manifest_sha256,
            "scripts": dict(tools.scripts),
            "blender": tools.major_minor,
            "settings": dict(settings),
        }
    )


def _tasks(
    document: Mapping[str, Any],
    plan_sha256: str,
    chunks: tuple[Chunk, ...],
    profile: FarmProfile,
    tools: Toolchain,
) -> tuple[PlannedTask, ...]:
    command = partial(
        task_command,
        tools,
        root=profile.volume.mount_path,
        job=str(document["job"]),
        revision=str(document["revision"]),
        plan_sha256=plan_sha256,
        scripts=scripts_word(allow=bool(document["settings"]["allow_scripts"])),
    )
    return tuple(PlannedTask(task, command(task=task)) for task in (PREPARE, *(chunk.id for chunk in chunks)))


def task_command(
    tools: Toolchain, *, root: str, job: str, revision: str, task: str, plan_sha256: str, scripts: str
) -> tuple[str, ...]:
    """Return the argv that runs one task; each value may be a placeholder that an engine fills in.

    Args:
        root: The volume's root where the task runs.
        task: `prepare` or a chunk's id.
        scripts: What `scripts_word` says.
    """
    script = PurePosixPath(root) / JobLayout(job).scripts / "run_attempt.py"
    named = ("--root", root, "--job", job, "--revision", revision, "--task", task, "--plan-sha256", plan_sha256)
    return (*tools.supervisor, str(script), *named, scripts, "--", *tools.launcher)


def scripts_word(*, allow: bool) -> str:
    """Return the supervisor's word for whether Python in the scene may run."""
    return "--allow-scripts" if allow else "--no-allow-scripts"

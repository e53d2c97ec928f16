"""From a scene file to a job that is ready to be sent: probe, pack, plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from .blend_file import written_by
from .blender import BlenderInfo, find_blender, probe
from .delta import SMALLEST
from .errors import InvalidJobError
from .events import CancelToken, FindingFound, Listener, Stage, ignore
from .images import choose_image, image_findings
from .job import Finding, JobPack, RenderJob, new_job_id
from .json_data import to_json
from .landing import landing_folder
from .layout import is_job_id
from .packing import pack
from .plan import RenderPlan, plan
from .profile import FarmProfile
from .stores import STORES, Store
from .toolchain import own_scripts, script_hashes, toolchain_for

_DEVICE_ORDER = ("OPTIX", "CUDA", "HIP", "ONEAPI", "METAL")


@dataclass(frozen=True)
class Prepared:
    """A job that is packed and planned; nothing was sent yet.

    Attributes:
        landing: Folder on this computer in which finished frames land.
        findings: What the artist should know; none of them is an error.
    """

    job: RenderJob
    pack: JobPack
    plan: RenderPlan
    profile: FarmProfile
    blender: BlenderInfo
    landing: Path

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the artist should know."""
        return (*self.pack.findings, *_job_findings(self.job, self.pack, self.plan), *self._image_findings())

    def _image_findings(self) -> tuple[Finding, ...]:
        if self.profile.is_local:
            return ()
        image = choose_image(self.profile, self.pack.facts.blender)
        return image_findings(image, self.blender.version)


def resolve_profile(profile: FarmProfile, info: BlenderInfo) -> FarmProfile:
    """Fill in what only a look at this computer tells: the device that `auto` means, and how many workers fit."""
    if not profile.is_local:
        return profile
    from .engines.local import default_workers

    found: dict[str, Any] = {}
    if not profile.gpu.device:
        types = {device.type for device in info.devices}
        found["gpu.device"] = next((kind.lower() for kind in _DEVICE_ORDER if kind in types), "cpu")
    if profile.limits.workers is None:
        found["limits.workers"] = default_workers(found.get("gpu.device", profile.gpu.device))
    return profile.with_values(found, origin="probe of this computer") if found else profile


@contextmanager
def scene_on_disk(job: RenderJob, store: Store) -> Iterator[Path]:
    """Yield the scene file on this computer; a file that is on the volume is mirrored with what it links."""
    if not job.on_volume:
        yield Path(job.scene_file).absolute()  # its folder is remembered with the job
        return
    from .mirror import mirror_scene

    with TemporaryDirectory(prefix="cloud-farm-volume-") as folder:
        yield mirror_scene(store, PurePosixPath(job.scene_file), Path(folder))


@contextmanager
def prepared(
    job: RenderJob,
    profile: FarmProfile,
    *,
    scene_file: Path,
    allow_scripts: bool = False,
    project: Path | None = None,
    home: Path | None = None,
    job_id: str = "",
    pieces_from: int | None = None,
    on_event: Listener = ignore,
    cancel: CancelToken | None = None,
) -> Iterator[Prepared]:
    """Pack and plan a job. What packing had to rewrite lives only inside the `with` block.

    Args:
        scene_file: The .blend on this computer (for `on_volume` jobs the local mirror of it).
        home: What `//` in an output path means; None: the scene file's folder.
        job_id: The id that the job gets; empty draws one.
        pieces_from: .blend files of so many bytes on are sent in pieces; None: as suits the farm's store.

    Raises:
        InvalidJobError: An error finding; nothing was sent.
        BlenderError: No Blender, one that is too old, or one that failed.
        Cancelled: `cancel` was set.
    """
    job_id = _checked_id(job_id or new_job_id(job.title), job)
    on_event(Stage("probing", "Looking for Blender"))
    launcher = find_blender(profile.blender or None, file_version=written_by(scene_file))
    info = probe(launcher)
    profile = resolve_profile(profile, info)
    with TemporaryDirectory(prefix="cloud-farm-pack-") as workdir:
        on_event(Stage("packing", f"Packing {scene_file.name}"))
        packed = pack(
            scene_file,
            launcher,
            scene=job.scene,
            workdir=Path(workdir),
            project=project,
            allowed_missing=job.allowed_missing,
            pieces_from=_pieces_from(profile) if pieces_from is None else pieces_from,
            on_event=on_event,
            cancel=cancel,
        )
        if allow_scripts:
            allowed = tuple(finding for finding in packed.findings if finding.code != "scripts_blocked")
            packed = dataclasses.replace(packed, findings=allowed)
        refuse_errors(packed.findings)
        tools = toolchain_for(
            profile, launcher, info, saved_by=packed.facts.blender, scripts=script_hashes(own_scripts())
        )
        planned = plan(job, packed, profile, job_id, tools=tools, allow_scripts=allow_scripts)
        # The local copy of a scene that lies on the volume is gone after this; its frames are not to lie beside it.
        beside = None if job.on_volume else home or scene_file.parent
        folder = landing_folder(job, packed.facts.scene(job.scene), job_id, blend_folder=beside)
        result = Prepared(job, packed, planned, profile, info, folder)
        for finding in result.findings:
            on_event(FindingFound(**to_json(finding)))
        yield result


def _checked_id(job_id: str, job: RenderJob) -> str:
    if not is_job_id(job_id):
        raise InvalidJobError(
            f"'{job_id}' is no job's id. Write small letters, digits and dashes, the day and six more letters or digits: "
            + new_job_id(job.title)
        )
    return job_id


def _pieces_from(profile: FarmProfile) -> int | None:
    """Return from which size on pieces pay: over a line; a folder would have to copy what it can link."""
    return SMALLEST if STORES[profile.store].is_far else None


def refuse_errors(findings: tuple[Finding, ...]) -> None:
    """Raise if any finding is an error; the message has all of them."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        lines = [" ".join(part for part in (finding.message, finding.fix) if part) for finding in errors]
        raise InvalidJobError("\n".join(lines), findings=errors)


def _job_findings(job: RenderJob, packed: JobPack, planned: RenderPlan) -> list[Finding]:
    scene = packed.facts.scene(job.scene)
    found = []
    if scene.is_movie and not job.file_format:
        message = f"The scene writes a movie ({scene.file_format}); a farm renders single frames, so they come as PNG."
        found.append(
            Finding(
                "movie_format",
                "warning",
                message,
                datablock=f"Scene '{scene.name}'",
                fix=f"Make the movie afterwards: cloud-farm fetch {planned.job_id} --encode",
            )
        )
    if job.landing and "#" not in PurePosixPath(job.landing.replace("\\", "/")).name and not job.landing.endswith("/"):
        template = planned.document["settings"]["template"]
        found.append(
            Finding(
                "frame_number_added",
                "info",
                f"The output path has no frame number (#); files are named {template}.",
                path=job.landing,
            )
        )
    return found

"""From a scene file to a job on the volume: probe, pack, plan, then send in an order that survives any interruption."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from . import history
from .blend_file import written_by
from .blender import BlenderInfo, Launcher, find_blender, probe
from .control import publish_plan
from .errors import InvalidJobError, StoreError
from .events import FindingFound, Listener, Stage, Transfer, counted, ignore
from .job import SCHEMA, Finding, JobPack, RenderJob, new_job_id
from .json_data import to_json
from .landing import landing_folder
from .layout import JobLayout, asset
from .packing import pack
from .plan import RenderPlan, Toolchain, plan
from .profile import FarmProfile
from .stores import Store
from .version import VERSION

_SCRIPTS = Path(__file__).parent / "inside_blender"
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
        return (*self.pack.findings, *_job_findings(self.job, self.pack, self.plan))


def own_scripts() -> dict[str, bytes]:
    """Return the scripts that run inside Blender, by name."""
    return {path.name: path.read_bytes() for path in sorted(_SCRIPTS.glob("*.py"))}


def toolchain(launcher: Launcher, info: BlenderInfo, scripts: Mapping[str, bytes]) -> Toolchain:
    """Describe what a plan on this computer is carried out with."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in scripts.items()}
    return Toolchain(info.version, (sys.executable,), launcher.argv, hashes)


def resolve_profile(profile: FarmProfile, info: BlenderInfo) -> FarmProfile:
    """Fill in what only a look at this computer tells: the device that `auto` means, and how many workers fit."""
    if profile.engine != "local":
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
def prepared(
    job: RenderJob,
    profile: FarmProfile,
    *,
    scene_file: Path,
    allow_scripts: bool = False,
    project: Path | None = None,
    on_event: Listener = ignore,
) -> Iterator[Prepared]:
    """Pack and plan a job. What packing had to rewrite lives only inside the `with` block.

    Args:
        scene_file: The .blend on this computer (for `on_volume` jobs the local mirror of it).

    Raises:
        InvalidJobError: An error finding; nothing was sent.
        BlenderError: No Blender, one that is too old, or one that failed.
    """
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
            on_event=on_event,
        )
        if allow_scripts:
            allowed = tuple(finding for finding in packed.findings if finding.code != "scripts_blocked")
            packed = dataclasses.replace(packed, findings=allowed)
        refuse_errors(packed.findings)
        job_id = new_job_id(job.title, today=datetime.datetime.now(datetime.UTC).date())
        tools = toolchain(launcher, info, own_scripts())
        planned = plan(job, packed, profile, job_id, tools=tools, allow_scripts=allow_scripts)
        # The local copy of a scene that lies on the volume is gone after this; its frames are not to lie beside it.
        beside = None if job.on_volume else scene_file.parent
        folder = landing_folder(job, packed.facts.scene(job.scene), job_id, blend_folder=beside)
        result = Prepared(job, packed, planned, profile, info, folder)
        for finding in result.findings:
            on_event(FindingFound(**to_json(finding)))
        yield result


def refuse_errors(findings: tuple[Finding, ...]) -> None:
    """Raise if any finding is an error; the message has all of them."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        lines = [" ".join(part for part in (finding.message, finding.fix) if part) for finding in errors]
        raise InvalidJobError("\n".join(lines), findings=errors)


def send(ready: Prepared, store: Store, *, on_event: Listener = ignore) -> None:
    """Bring a job to the volume. Only the `submitted` event, written last, makes it one that runs.

    job.json goes first: it names every asset, so that no clean-up takes one away meanwhile.
    """
    layout = JobLayout(ready.plan.job_id)
    _check_space(ready, store)
    if not store.put(_job_json(ready), layout.job_json, if_absent=True):
        raise StoreError(f"The volume has a job {ready.plan.job_id} already. Submit again: a new id is drawn.")
    for name, content in own_scripts().items():
        store.put(content, layout.scripts / name)
    _send_assets(ready.pack, store, on_event)
    publish_plan(ready.plan, store)


def _send_assets(packed: JobPack, store: Store, on_event: Listener) -> None:
    by_hash = {entry.sha256: entry for entry in packed.files}
    missing = sorted(by_hash.keys() - store.present({sha: entry.size for sha, entry in by_hash.items()}))
    total = sum(by_hash[sha].size for sha in missing)
    on_event(Stage("uploading", f"{len(missing)} of {counted(len(by_hash), 'file')} to send"))
    done = 0
    for sha in missing:
        entry = by_hash[sha]
        store.put(entry.source, asset(sha), sha256=sha)
        done += entry.size
        on_event(Transfer("upload", entry.path, done, total))


def _check_space(ready: Prepared, store: Store) -> None:
    free = store.free_space()
    if free is not None and free < ready.pack.size:
        raise StoreError(
            f"The farm's volume has {free / 2**20:,.0f} MiB free, the scene needs {ready.pack.size / 2**20:,.0f} MiB. Free some space: cloud-farm delete --older-than 30d"
        )


def _job_json(ready: Prepared) -> bytes:
    # The artist's own folders stay at home; the name template is what further revisions need.
    template = str(ready.plan.document["settings"]["template"])
    job = dataclasses.replace(ready.job, scene_file=PurePosixPath(ready.pack.scene).name, landing=template)
    data = {
        "schema": SCHEMA,
        "id": ready.plan.job_id,
        "owner": history.user_name(),
        "host": socket.gethostname(),
        "created": history.now_text(),
        "tool": VERSION,
        "blender": {"version": ready.blender.version, "hash": ready.blender.build_hash},
        "farm": ready.profile.name,
        "job": to_json(job),
        "pack": ready.pack.to_json(),
    }
    return json.dumps(data, indent=1, ensure_ascii=False).encode()


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

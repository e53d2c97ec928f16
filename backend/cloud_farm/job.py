"""What a render needs from the user, and what comes back: frozen data with a JSON form."""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .assets import Asset
from .choices import DEVICES, STILL_FORMATS
from .errors import InvalidJobError, SchemaError
from .json_data import from_json, load_json, to_json
from .layout import sha256_json, slugify

SCHEMA = 1


@dataclass(frozen=True)
class Finding:
    """Something that the artist should know, with a stable code.

    Attributes:
        code: Stable name, e.g. `file_missing`; codes are only ever added.
        severity: `error` (refused), `warning` (renders, perhaps not as meant) or `info`.
        message: What is wrong, in one sentence.
        datablock: Blender's name of what it is about, e.g. `Image 'wood.png'`.
        path: The file that it is about, as the scene writes it.
        fix: What to do, in one sentence.
    """

    code: str
    severity: str
    message: str
    datablock: str = ""
    path: str = ""
    fix: str = ""


@dataclass(frozen=True)
class RenderJob:
    """Everything that a render needs from the user.

    Attributes:
        scene_file: The .blend on this computer (or, `on_volume`, relative to the volume's root).
        frames: As the artist wrote them; `scene` takes range and step of the file.
        cameras: Names; empty leaves the choice, markers included, to the scene.
        chunk_size: Frames that one Blender renders in a row; None lets the plan choose.
        percentage: Resolution percentage, None as in the scene.
        persistent_data: Blender keeps the scene between the frames of a chunk, also where the scene doesn't ask for it.
        landing: Blender output path (`//`, `#`): folder and name template; empty takes the scene's.
        frame_seconds: Longest time for one frame, seconds; None has no limit.
        retries: How often a frame that fails is tried in all.
        allowed_missing: Paths, bare names or globs of files that may be absent.
        extra: Fields of a newer version, kept as they are.
    """

    scene_file: str
    schema: int = SCHEMA
    name: str = ""
    on_volume: bool = False
    scene: str | None = None
    cameras: tuple[str, ...] = ()
    view_layers: tuple[str, ...] = ()
    frames: str = "scene"
    chunk_size: int | None = None
    engine: str | None = None
    file_format: str | None = None
    landing: str = ""
    percentage: int | None = None
    samples: int | None = None
    device: str = "auto"
    device_with_cpu: bool = False
    seed: int | None = None
    persistent_data: bool = False
    retries: int = 3
    frame_seconds: float | None = None
    cost_cap: float | None = None
    priority: int = 50
    comment: str = ""
    tags: tuple[str, ...] = ()
    allowed_missing: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise InvalidJobError(problem)

    @property
    def title(self) -> str:
        """What people call the job."""
        return self.name or Path(self.scene_file).stem


def _problems(job: RenderJob) -> list[str]:
    checks = (
        (bool(job.scene_file), "The job names no scene file."),
        (
            job.chunk_size is None or job.chunk_size >= 1,
            f"The chunk size must be at least 1, not {job.chunk_size}.",
        ),
        (
            job.percentage is None or 1 <= job.percentage <= 32767,
            f"The resolution percentage must be 1 or more, not {job.percentage}.",
        ),
        (job.samples is None or job.samples >= 1, f"The samples must be at least 1, not {job.samples}."),
        (job.device in DEVICES, f"There is no device '{job.device}'. Choose one of {', '.join(DEVICES)}."),
        (job.retries >= 1, f"A frame is tried at least once; retries can't be {job.retries}."),
        (
            job.frame_seconds is None or job.frame_seconds > 0,
            "The time limit of a frame must be more than 0 seconds.",
        ),
        (job.cost_cap is None or job.cost_cap > 0, "The cost cap must be more than 0."),
        (job.seed is None or -(2**31) <= job.seed < 2**31, f"The seed {job.seed} does not fit in 32 bits."),
        (0 <= job.priority <= 100, f"The priority goes from 0 to 100, not {job.priority}."),
        (
            job.file_format is None or job.file_format in STILL_FORMATS,
            f"'{job.file_format}' is not a format for frames. Choose one of {', '.join(STILL_FORMATS)}.",
        ),
    )
    return [message for good, message in checks if not good]


@dataclass(frozen=True)
class PackedFile:
    """One file of a pack.

    Attributes:
        path: POSIX path inside the scene tree, relative.
        source: Where its bytes are on this computer; not part of the JSON form.
        size: Bytes.
        mode: Permission bits.
        parts: What is sent in its place: a recipe, then the pieces (`delta.py`); of an uncompressed .blend.
    """

    path: str
    source: Path
    size: int
    sha256: str
    mode: int = 0o644
    parts: tuple[Asset, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the manifest entry."""
        entry: dict[str, Any] = {
            "path": self.path,
            "size": self.size,
            "sha256": self.sha256,
            "mode": self.mode,
        }
        return {**entry, "parts": [part.sha256 for part in self.parts]} if self.parts else entry

    def assets(self) -> tuple[Asset, ...]:
        """Return what the volume needs for it."""
        return self.parts or (Asset(self.sha256, self.size, self.path, self.source),)


@dataclass(frozen=True)
class SceneInfo:
    """What one scene of the file says about its rendering.

    Attributes:
        fps: Frames a second, base taken in.
        marker_cameras: (frame, camera) of each marker that binds one.
        resolution: (width, height) in pixels, percentage and border crop taken in.
        output: The scene's own output path, as written.
        views: Names of the stereo views; empty without multiview.
        file_outputs: File Output nodes that write something.
    """

    name: str
    frame_start: int
    frame_end: int
    frame_step: int
    fps: float
    engine: str
    cameras: tuple[str, ...]
    active_camera: str | None
    marker_cameras: tuple[tuple[int, str], ...]
    view_layers: tuple[str, ...]
    resolution: tuple[int, int]
    output: str
    file_format: str
    is_movie: bool
    has_sound: bool = False
    views: tuple[str, ...] = ()
    use_compositor: bool = False
    file_outputs: int = 0


@dataclass(frozen=True)
class SceneFacts:
    """What a Blender read in the file.

    Attributes:
        blender: Version that saved the file, `4.5.92`: major, minor and the format's own count. A file does not tell the patch.
    """

    blender: str
    scenes: tuple[SceneInfo, ...]
    active_scene: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """(major, minor) of that version; empty if it makes no sense."""
        parts = self.blender.split(".")[:2]
        return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()

    def scene(self, name: str | None) -> SceneInfo:
        """Return a scene by name, the active one for None.

        Raises:
            InvalidJobError: No such scene; the message lists those that exist.
        """
        wanted = name or self.active_scene
        for info in self.scenes:
            if info.name == wanted:
                return info
        raise InvalidJobError(
            f"The file has no scene '{wanted}'. It has: {', '.join(repr(s.name) for s in self.scenes)}."
        )


@dataclass(frozen=True)
class JobPack:
    """A scene file with all that it needs.

    Attributes:
        scene: Path of the scene file inside the scene tree.
        files: Every file of the tree, ordered by path.
    """

    scene: str
    files: tuple[PackedFile, ...]
    facts: SceneFacts
    findings: tuple[Finding, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)

    def assets(self) -> dict[str, Asset]:
        """Return what the volume needs, by sha256; what several files share is there once."""
        return {asset.sha256: asset for entry in self.files for asset in entry.assets()}

    def manifest(self) -> dict[str, Any]:
        """Return what is hashed: the scene's path and every file's entry."""
        return {
            "scene": self.scene,
            "files": [entry.to_json() for entry in sorted(self.files, key=lambda f: f.path)],
        }

    @property
    def manifest_sha256(self) -> str:
        """Hash of the canonical manifest."""
        return sha256_json(self.manifest())

    def to_json(self) -> dict[str, Any]:
        """Return the `pack` part of job.json."""
        return {
            **self.manifest(),
            "facts": to_json(self.facts),
            "findings": to_json(self.findings),
            "manifest_sha256": self.manifest_sha256,
        }


@dataclass(frozen=True)
class FileRecord:
    """One file of a frame; `path` is relative to the frame's block folder and to the landing folder."""

    path: str
    role: str
    bytes: int
    sha256: str
    layer: str | None = None
    view: str | None = None


@dataclass(frozen=True)
class FrameRecord:
    """Proof of one finished frame, as the machine that rendered it wrote it (contract §2).

    Attributes:
        seconds: From the start of the render until its files were checked.
        resolution: (width, height) of the main file in pixels.
        peak_memory: Largest memory of that Blender so far, bytes.
    """

    schema: int
    frame: int
    camera: str | None
    files: tuple[FileRecord, ...]
    render_hash: str
    seconds: float
    host: str
    attempt: str
    blender: str
    device: str | None = None
    device_name: str | None = None
    samples: int | None = None
    resolution: tuple[int, int] | None = None
    image: str | None = None
    peak_memory: int | None = None
    findings: tuple[Finding, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def main(self) -> FileRecord:
        """The file that a viewer shows."""
        return next((f for f in self.files if f.role == "main"), self.files[0])


@dataclass(frozen=True)
class PackSummary:
    """The `pack` part of a job.json, as data (no sources)."""

    scene: str
    files: tuple[Mapping[str, Any], ...]
    facts: SceneFacts
    manifest_sha256: str
    findings: tuple[Finding, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class JobDocument:
    """A job.json: what was asked for, written once."""

    schema: int
    id: str
    owner: str
    host: str
    created: str
    tool: str
    blender: Mapping[str, Any]
    farm: str
    job: RenderJob
    pack: PackSummary
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)


def parse_record(raw: bytes, *, where: str) -> FrameRecord:
    """Read a record; SchemaError names what is wrong."""
    record = from_json(FrameRecord, load_json(raw, where=where), where=where)
    if not record.files:
        raise SchemaError(f"{where} names no file. It is damaged or was edited by hand.", path=where)
    return record


def parse_job(raw: bytes, *, where: str) -> JobDocument:
    """Read a job.json; SchemaError names what is wrong."""
    return from_json(JobDocument, load_json(raw, where=where), where=where)


def new_job_id(title: str, *, today: datetime.date | None = None) -> str:
    """Draw a job id: `<slug>-<yyyymmdd>-<6 random>`, the day in UTC."""
    today = today or datetime.datetime.now(datetime.UTC).date()
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    tail = "".join(secrets.choice(alphabet) for _ in range(6))
    return f"{slugify(title)}-{today:%Y%m%d}-{tail}"


def name_template(landing: str, title: str) -> str:
    """Return the last part of a Blender output path as a template with a frame number."""
    last = re.split(r"[/\\]", landing)[-1] if landing else ""
    last = last or f"{slugify(title)}_"
    return last if "#" in last else f"{last}####"

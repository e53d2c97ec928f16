"""Where things lie on the farm's volume (contract §1). Everything is relative to the volume's root.

`inside_blender/volume.py` has the same rules for the machines that render; a test holds the two together.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

ROOT = PurePosixPath("cloud-farm")
JOBS = ROOT / "jobs"
ASSETS = ROOT / "assets"
TRASH = ROOT / "trash"
BLOCK = 500
"""Frames in one folder: a listing stays small, and only folders that changed are listed again."""

PART = ".part"
"""How the names of unfinished files end; nobody else's do."""

RENDER_FOLDERS = ("frames", "records", "markers", "attempts", "logs")
"""What an attempt at a chunk writes of its job; all else may be read-only for it."""

_JOB_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}-\d{8}-[a-z0-9]{6}")


def slugify(text: str, *, limit: int = 40) -> str:
    """Make a lower-case ASCII name of letters, digits and single dashes; `x` if nothing remains."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:limit].strip("-") or "x"


def camera_slug(camera: str | None) -> str:
    """Name a camera in file names: readable, and different for each camera; `scene` when the scene decides."""
    if not camera:
        return "scene"
    return f"{slugify(camera)}-{hashlib.sha256(camera.encode()).hexdigest()[:6]}"


def frame_text(frame: int) -> str:
    """Write a frame with six digits, its sign kept."""
    return f"{'-' if frame < 0 else ''}{abs(frame):06d}"


def block_of(frame: int) -> str:
    """Name the block folder that a frame lies in."""
    return str(frame // BLOCK)


def is_job_id(text: str) -> bool:
    """Tell whether `text` has the form of a job id; nothing else may become part of a path."""
    return _JOB_ID.fullmatch(text) is not None


def asset(sha256: str) -> PurePosixPath:
    """Where the bytes with this hash lie."""
    return ASSETS / sha256[:2] / sha256


@dataclass(frozen=True)
class JobLayout:
    """The paths of one job."""

    job_id: str

    @property
    def folder(self) -> PurePosixPath:
        """The job's folder."""
        return JOBS / self.job_id

    @property
    def job_json(self) -> PurePosixPath:
        """What was asked for; written once, before any upload."""
        return self.folder / "job.json"

    @property
    def scripts(self) -> PurePosixPath:
        """The scripts of `inside_blender/` as they were at submit."""
        return self.folder / "scripts"

    @property
    def events(self) -> PurePosixPath:
        """The folder of numbered events."""
        return self.folder / "events"

    @property
    def stop(self) -> PurePosixPath:
        """Present: stop between frames."""
        return self.folder / "control" / "stop"

    @property
    def scene(self) -> PurePosixPath:
        """The scene tree."""
        return self.folder / "scene"

    @property
    def scene_ready(self) -> PurePosixPath:
        """Present when the scene tree is whole; holds the manifest's hash."""
        return self.folder / "scene.ready"

    @property
    def attempts(self) -> PurePosixPath:
        """The folder of attempts' starts and ends."""
        return self.folder / "attempts"

    @property
    def logs(self) -> PurePosixPath:
        """The folder of logs, one file an attempt."""
        return self.folder / "logs"

    @property
    def plans(self) -> PurePosixPath:
        """The folder of the revisions' plans."""
        return self.folder / "plans"

    def plan(self, revision: int) -> PurePosixPath:
        """The resolved settings and chunks of a revision."""
        return self.plans / f"{revision}.json"

    def records(self, revision: int) -> PurePosixPath:
        """The folder of a revision's record blocks."""
        return self.folder / "records" / f"r{revision}"

    def record(self, revision: int, camera: str | None, frame: int) -> PurePosixPath:
        """The record of one frame."""
        return self.records(revision) / block_of(frame) / f"{camera_slug(camera)}.{frame_text(frame)}.json"

    def frames(self, revision: int, frame: int) -> PurePosixPath:
        """The folder in which a frame's files lie."""
        return self.folder / "frames" / f"r{revision}" / block_of(frame)


def canonical_json(data: Any) -> bytes:
    """Write JSON in the one form that is hashed."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256_json(data: Any) -> str:
    """Hash JSON data by its canonical form."""
    return hashlib.sha256(canonical_json(data)).hexdigest()

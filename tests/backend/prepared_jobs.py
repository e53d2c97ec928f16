"""Jobs that are packed and planned without a Blender: what is sent is real, what is in it is not."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from pathlib import Path

from cloud_farm.assets import Asset
from cloud_farm.blender import BlenderInfo
from cloud_farm.job import JobPack, PackedFile, RenderJob, SceneFacts, SceneInfo, new_job_id
from cloud_farm.plan import Toolchain, plan
from cloud_farm.profile import FarmProfile, Gpu
from cloud_farm.submission import Prepared
from cloud_farm.toolchain import own_scripts

SCENE = SceneInfo("Scene", 1, 4, 1, 24.0, "CYCLES", ("Cam",), "Cam", (), ("ViewLayer",), (640, 360), "//out/x_", "PNG", False)  # fmt: skip


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_files(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    """Write files; returns their places by name."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def make_assets(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Asset]:
    """Write files and describe them as a pack does."""
    places = make_files(folder, contents)
    found = (Asset(sha256(data), len(data), name, places[name]) for name, data in contents.items())
    return {item.sha256: item for item in found}


def prepare(
    folder: Path,
    contents: Mapping[str, bytes],
    *,
    scene: SceneInfo = SCENE,
    frames: str = "scene",
    chunk_size: int | None = None,
) -> Prepared:
    """Pack files, the first of which is the scene, and plan a job with them."""
    places = make_files(folder, contents)
    packed = tuple(PackedFile(name, places[name], len(data), sha256(data)) for name, data in contents.items())
    pack = JobPack(packed[0].path, packed, SceneFacts("4.5.15", (scene,), scene.name))
    job = RenderJob(packed[0].path, frames=frames, chunk_size=chunk_size)
    profile = FarmProfile("test", gpu=Gpu(device="cpu"))
    scripts = {name: sha256(content) for name, content in own_scripts().items()}
    job_id = new_job_id(job.title, today=datetime.date(2026, 11, 23))
    planned = plan(job, pack, profile, job_id, tools=Toolchain("4.5.15", ("python",), ("blender",), scripts))
    return Prepared(job, pack, planned, profile, BlenderInfo("4.5.15", "cafe", ()), folder / "frames")

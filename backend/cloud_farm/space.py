"""Whether the volume has room for what a job sends, and for the frames that it will make there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from statistics import mean
from typing import Any

from .errors import NotFoundError, SchemaError, StoreFullError
from .job import Finding, FrameRecord, JobPack, SceneInfo, parse_record
from .layout import JOBS, JobLayout, is_job_id
from .plan import RenderPlan
from .stores import Store

_MIB = 2**20
_PIXEL_BYTES = {
    "PNG": 4.0, "JPEG": 1.0, "OPEN_EXR": 8.0, "OPEN_EXR_MULTILAYER": 32.0, "TIFF": 8.0, "WEBP": 1.0, "BMP": 4.0,
    "TARGA": 4.0, "TARGA_RAW": 4.0, "HDR": 4.0, "DPX": 4.0, "CINEON": 4.0, "JPEG2000": 2.0, "IRIS": 4.0,
}  # fmt: skip
"""Channels times depth of a pixel in Blender's usual settings, as noise leaves it after compression; passes guessed."""
_SUFFIXES = {
    "PNG": "png", "JPEG": "jpg", "OPEN_EXR": "exr", "OPEN_EXR_MULTILAYER": "exr", "TIFF": "tif", "WEBP": "webp",
    "BMP": "bmp", "TARGA": "tga", "TARGA_RAW": "tga", "HDR": "hdr", "DPX": "dpx", "CINEON": "cin", "JPEG2000": "jp2",
    "IRIS": "rgb",
}  # fmt: skip
_CERTAIN = 8.0
"""With this much more room than guessed nobody looks for better figures."""
_EARLIER_JOBS, _EARLIER_FRAMES = 3, 4


def refuse_full(free: int, needed: int) -> None:
    """Refuse an upload that can't fit.

    Args:
        free: Bytes free on the volume.
        needed: Bytes that are to be sent.

    Raises:
        StoreFullError: It does not fit.
    """
    if needed > free:
        raise StoreFullError(
            f"The farm's volume has {free / _MIB:,.0f} MiB free, the scene needs {needed / _MIB:,.0f} MiB more."
            " Free some space: cloud-farm delete --older-than 30d"
        )


def output_finding(
    pack: JobPack, planned: RenderPlan, scene: SceneInfo, store: Store, *, free: float
) -> Finding | None:
    """Warn if what the job will make probably does not fit.

    Args:
        free: Bytes that will be free once everything is sent.
    """
    settings = planned.document["settings"]
    joined = sum(entry.size for entry in pack.files if entry.parts)  # laid out whole beside their pieces
    guess = joined + planned.frame_count * frame_bytes(scene, settings)
    if guess * _CERTAIN <= free:
        return None
    seen = _earlier_frame_bytes(store, planned, scene)
    need, source = guess, "a guess by resolution and format"
    if seen is not None:
        need, source = joined + planned.frame_count * seen, "as large as frames of this scene were before"
    if need <= free:
        return None
    return Finding(
        "output_may_not_fit",
        "warning",
        f"The farm's volume will have {free / _MIB:,.0f} MiB free, the frames will take about {need / _MIB:,.0f} MiB ({source}).",
        fix="Free some space: cloud-farm delete --older-than 30d. Or render fewer frames, or to a smaller format.",
    )


def frame_bytes(scene: SceneInfo, settings: Mapping[str, Any]) -> float:
    """Guess the size of one frame, all its files taken together.

    Args:
        settings: Those of the plan.
    """
    main = _PIXEL_BYTES.get(_format(scene, settings), 8.0) * max(1, len(scene.views))
    return _pixels(scene, settings) * (main + scene.file_outputs * _PIXEL_BYTES["OPEN_EXR"])


def _pixels(scene: SceneInfo, settings: Mapping[str, Any]) -> float:
    width, height = scene.resolution
    return width * height * ((settings["percentage"] or 100) / 100) ** 2


def _format(scene: SceneInfo, settings: Mapping[str, Any]) -> str:
    return str(settings["format"] or scene.file_format)


def _earlier_frame_bytes(store: Store, planned: RenderPlan, scene: SceneInfo) -> float | None:
    """Return how large frames of this scene were before, scaled to the resolution wanted now; None if there are none."""
    settings = planned.document["settings"]
    pixels = _pixels(scene, settings)
    suffix = _SUFFIXES.get(_format(scene, settings), "")
    for job_id in _earlier_jobs(store, planned.job_id):
        sizes = [
            sum(item.bytes for item in record.files) * pixels / (record.resolution[0] * record.resolution[1])
            for record in _some_records(store, job_id)
            if record.resolution and all(record.resolution) and record.main.path.lower().endswith(suffix)
        ]
        if sizes:
            return mean(sizes)
    return None


def _earlier_jobs(store: Store, job_id: str) -> list[str]:
    """Return the last jobs of the same name; the id begins with it."""
    title = job_id.rsplit("-", 2)[0]
    entries = sorted(store.list(JOBS), key=lambda entry: entry.mtime, reverse=True)
    same = [e.name for e in entries if is_job_id(e.name) and e.name != job_id and e.name.rsplit("-", 2)[0] == title]
    return same[:_EARLIER_JOBS]


def _some_records(store: Store, job_id: str) -> Iterator[FrameRecord]:
    """Yield a few records of a job's first revision."""
    folder = JobLayout(job_id).records(1)
    blocks = [entry.name for entry in store.list(folder) if entry.is_dir]
    for block in blocks[:1]:
        names = sorted(store.names(folder / block, ending=".json"))
        for name in names[:: max(1, len(names) // _EARLIER_FRAMES)][:_EARLIER_FRAMES]:
            yield from _record(store, folder / block / name)


def _record(store: Store, path: PurePosixPath) -> Iterator[FrameRecord]:
    try:
        yield parse_record(store.read(path), where=str(path))
    except (NotFoundError, SchemaError):
        return  # it only serves a guess

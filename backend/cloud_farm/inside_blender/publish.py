"""How a frame gets its final name: parts, claim, renames, record (contract §3). First wins, on every shared file system.

Two attempts may publish one frame at once, and an old pod may come back long after another finished it. The claim, a hard
link of the record's part, decides who wins; it names the attempt, so anybody can finish what a dead winner began.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import volume

Record = dict[str, Any]
_TORN_SECONDS = 5.0
"""A claim that can't be read may still be in the making where links do not exist; only an older one is torn."""


def publish(paths: volume.JobPaths, record: Record, files: list[tuple[Path, str]]) -> Record:
    """Publish a verified frame unless somebody did.

    Args:
        record: The whole record; `files` of it describe the final names.
        files: (finished file on this machine, its name below the block folder).

    Returns:
        The record that holds: this one, or that of the attempt that was first.

    Raises:
        OSError: The volume can't be written; nothing got a final name.
    """
    slug, frame = volume.camera_slug(record["camera"]), int(record["frame"])
    try:
        parts = _write_parts(paths, record, files)
        volume.reach("part", frame)
        won = volume.link_exclusive(parts[-1], paths.claim(slug, frame))
    except OSError:
        remove_parts(paths, record)
        raise
    volume.reach("claim", frame)
    if won:
        return _finish(paths, record)
    remove_parts(paths, record)
    winner = finished_record(paths, slug, frame, record["render_hash"])
    return winner if winner is not None else publish(paths, record, files)


def finished_record(paths: volume.JobPaths, slug: str, frame: int, render_hash: str) -> Record | None:
    """Return the frame's record if record, files and render hash agree, else None and the way is free.

    A claim without a record is finished from its parts; what is broken goes to the trash.
    """
    found = _read(paths.record(slug, frame))
    if found is not None and found.get("render_hash") == render_hash and _files_agree(paths, found):
        return found
    if paths.record(slug, frame).exists():
        volume.to_trash(paths, paths.record(slug, frame), _tag())
        volume.to_trash(paths, paths.claim(slug, frame), _tag())
        return None
    return _finish_claim(paths, slug, frame, render_hash)


def remove_parts(paths: volume.JobPaths, record: Record) -> None:
    """Remove what an attempt wrote for a frame and did not publish; its own files only."""
    for part in _parts(paths, record):
        part.unlink(missing_ok=True)


def remove_parts_of(paths: volume.JobPaths, attempt: str, frames: list[int], slug: str) -> None:
    """Remove an ended attempt's unpublished parts, but none of a frame that it holds the claim of."""
    for frame in frames:
        claim = _read(paths.claim(slug, frame))
        if claim is not None and claim.get("attempt") == attempt:
            continue
        for folder in (paths.frames(frame), paths.record(slug, frame).parent):
            for part in folder.glob(f"**/*.{attempt}.part"):
                part.unlink(missing_ok=True)


def _write_parts(paths: volume.JobPaths, record: Record, files: list[tuple[Path, str]]) -> list[Path]:
    parts = _parts(paths, record)
    for source, name in files:
        _copy(source, _file_part(paths, record, name))
    volume.write_file(parts[-1], json.dumps(record, indent=1, ensure_ascii=False).encode())
    return parts


def _copy(source: Path, part: Path) -> None:
    """Copy to the volume, every write, fsync and close checked: a full disk must not look like success."""
    part.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as reader, open(part, "wb") as writer:
        while block := reader.read(1 << 20):
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    if part.stat().st_size != source.stat().st_size:
        raise OSError(f"{part} is shorter than what was written to it")


def _finish(paths: volume.JobPaths, record: Record) -> Record:
    """Rename a winner's parts, the record last. Several may do this at once: each rename has one winner."""
    slug, frame = volume.camera_slug(record["camera"]), int(record["frame"])
    for index, item in enumerate(record["files"]):
        if index == 1:
            volume.reach("between_files", frame)
        _rename(_file_part(paths, record, item["path"]), paths.frames(frame) / item["path"], int(item["bytes"]))
    volume.reach("before_record", frame)
    final = paths.record(slug, frame)
    try:
        os.replace(_record_part(paths, record), final)
    except FileNotFoundError:
        if not final.exists():
            raise
    return record


def _rename(part: Path, final: Path, size: int) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(part, final)
    except FileNotFoundError:
        if not (final.is_file() and final.stat().st_size == size):
            raise


def _finish_claim(paths: volume.JobPaths, slug: str, frame: int, render_hash: str) -> Record | None:
    claim = paths.claim(slug, frame)
    record = _read(claim)
    if record is None or record.get("render_hash") != render_hash:
        if claim.exists() and (record is not None or _is_old(claim, _TORN_SECONDS)):
            volume.to_trash(paths, claim, _tag())
        return None
    try:
        if not _record_part(paths, record).exists() and not paths.record(slug, frame).exists():
            volume.write_file(_record_part(paths, record), claim.read_bytes())
        _finish(paths, record)
    except FileNotFoundError:
        if not _is_old(claim, max(_TORN_SECONDS, paths.visibility_s)):
            time.sleep(0.5)  # a network file system may not show the winner's parts here yet
            return finished_record(paths, slug, frame, render_hash)
        # The parts are gone: nobody can finish this frame, so it is rendered again.
        volume.to_trash(paths, claim, _tag())
        remove_parts(paths, record)
        return None
    if _files_agree(paths, record, deep=True):
        return record
    volume.to_trash(paths, paths.record(slug, frame), _tag())
    volume.to_trash(paths, claim, _tag())
    return None


def _files_agree(paths: volume.JobPaths, record: Record, *, deep: bool = False) -> bool:
    folder = paths.frames(int(record["frame"]))
    for item in record["files"]:
        path = folder / item["path"]
        try:
            if path.stat().st_size != item["bytes"] or (deep and volume.sha256_file(path) != item["sha256"]):
                return False
        except OSError:
            return False
    return bool(record["files"])


def _read(path: Path) -> Record | None:
    """Read a record or claim; None if it is absent or makes no sense."""
    try:
        record = volume.read_json(path)
        _ = [(str(item["path"]), int(item["bytes"]), str(item["sha256"])) for item in record["files"]]
        _ = (int(record["frame"]), str(record["attempt"]), str(record["render_hash"]), record["camera"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record


def _is_old(path: Path, seconds: float) -> bool:
    """Tell by change time: a hard link makes a claim at that moment, whenever its content was written."""
    try:
        return time.time() - path.stat().st_ctime > seconds
    except OSError:
        return False


def _parts(paths: volume.JobPaths, record: Record) -> list[Path]:
    return [*(_file_part(paths, record, item["path"]) for item in record["files"]), _record_part(paths, record)]


def _file_part(paths: volume.JobPaths, record: Record, name: str) -> Path:
    final = paths.frames(int(record["frame"])) / name
    return final.with_name(f"{final.name}.{record['attempt']}.part")


def _record_part(paths: volume.JobPaths, record: Record) -> Path:
    final = paths.record(volume.camera_slug(record["camera"]), int(record["frame"]))
    return final.with_name(f"{final.name}.{record['attempt']}.part")


def _tag() -> str:
    return os.urandom(4).hex()

"""How a frame gets its final name: parts, claim, renames, record (contract §3). First wins, on every shared file system.

Two attempts may publish one frame at once, and an old pod may come back long after another finished it. The claim, a hard
link of the record's part, decides who wins; it holds the whole record, so anybody can finish what a dead winner began.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import volume

Record = dict[str, Any]
_TORN_SECONDS = 3.0
"""Where links do not exist a claim that can't be read may still be in the making; only one that stays so is torn."""
_LOSER_SECONDS = 60.0
"""Longest wait for a claim that is there (the link was refused) but not seen: caches of network file systems."""


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
        _write_parts(paths, record, files)
        volume.reach("part", frame)
        winner = _claim_or_find(paths, record, slug, frame)
    except OSError:
        if not _holds_claim(paths, record):
            remove_parts(paths, record)
        raise
    if winner is None:
        volume.reach("claim", frame)
        return _finish(paths, record)
    remove_parts(paths, record)
    return winner


def finished_record(paths: volume.JobPaths, slug: str, frame: int, render_hash: str) -> Record | None:
    """Return the frame's record if record, files and render hash agree, else None and the way is free.

    A claim without a record is finished from its parts; what is broken goes to the trash.
    """
    path = paths.record(slug, frame)
    content = _content(path)
    if content is None:
        return _finish_claim(paths, slug, frame, render_hash)
    record = _parse(content, slug, frame)
    if record is not None and record["render_hash"] == render_hash and _files_agree(paths, record):
        return record
    volume.discard(paths, path, content)
    claim = paths.claim(slug, frame)
    claimed = _content(claim)
    if claimed is not None and (record is None or _same_attempt(_parse(claimed, slug, frame), record)):
        volume.discard(paths, claim, claimed)
    return None


def remove_parts(paths: volume.JobPaths, record: Record) -> None:
    """Remove what an attempt wrote for a frame and did not publish; its own files only."""
    for part in _parts(paths, record):
        part.unlink(missing_ok=True)


def remove_parts_of(paths: volume.JobPaths, attempt: str, frames: list[int], slug: str) -> None:
    """Remove an ended attempt's unpublished parts, but none of a frame that it holds the claim of."""
    held: set[Path] = set()
    for frame in frames:
        claim = _read(paths.claim(slug, frame), slug, frame)
        if claim is not None and claim["attempt"] == attempt and not paths.record(slug, frame).exists():
            held.update(_parts(paths, claim))
    _remove_matching(paths, frames, slug, f"*.{attempt}.part", keep=held)


def sweep(paths: volume.JobPaths, chunk: str, frames: list[int], slug: str) -> None:
    """Remove what killed attempts at a chunk left beside its frames. Only once every frame of it has a record."""
    _remove_matching(paths, frames, slug, f"*.{chunk}.{'[0-9a-f]' * 8}.part", keep=set())


def _claim_or_find(paths: volume.JobPaths, record: Record, slug: str, frame: int) -> Record | None:
    """Take the claim (None), or return the record of the attempt that was first."""
    deadline = time.monotonic() + max(_LOSER_SECONDS, 2 * paths.visibility_s)
    while True:
        if volume.link_exclusive(_record_part(paths, record), paths.claim(slug, frame)):
            return None
        if _holds_claim(paths, record):
            return None  # taken by a request of ours whose answer was lost
        winner = finished_record(paths, slug, frame, record["render_hash"])
        if winner is not None:
            return winner
        if time.monotonic() > deadline:
            name = paths.claim(slug, frame)
            raise OSError(errno.EBUSY, "Another attempt holds the claim, but it can't be read", str(name))
        time.sleep(0.1)


def _holds_claim(paths: volume.JobPaths, record: Record) -> bool:
    slug, frame = volume.camera_slug(record["camera"]), int(record["frame"])
    return _same_attempt(_read(paths.claim(slug, frame), slug, frame), record)


def _same_attempt(one: Record | None, other: Record) -> bool:
    return one is not None and one["attempt"] == other["attempt"]


def _write_parts(paths: volume.JobPaths, record: Record, files: list[tuple[Path, str]]) -> None:
    sources = {name: source for source, name in files}
    for item in record["files"]:
        _copy(sources[item["path"]], _file_part(paths, record, item["path"]), item)
    volume.write_file(_record_part(paths, record), json.dumps(record, indent=1, ensure_ascii=False).encode())


def _copy(source: Path, part: Path, item: dict[str, Any]) -> None:
    """Copy to the volume, every write, fsync and close checked: a full disk must not look like success."""
    volume.make_folder(part.parent)
    digest = hashlib.sha256()
    with open(source, "rb") as reader, open(part, "wb") as writer:
        while block := reader.read(1 << 20):
            digest.update(block)
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    if digest.hexdigest() != item["sha256"]:
        raise OSError(errno.EIO, "The rendered file changed after it was checked", str(source))
    if part.stat().st_size != item["bytes"]:
        raise OSError(errno.EIO, "The file is shorter than what was written to it", str(part))


def _finish(paths: volume.JobPaths, record: Record) -> Record:
    """Rename a winner's parts, the record last. Others may do the same at once: each rename happens once."""
    slug, frame = volume.camera_slug(record["camera"]), int(record["frame"])
    _rename_files(paths, record)
    volume.reach("before_record", frame)
    final = paths.record(slug, frame)
    try:
        os.replace(_record_part(paths, record), final)
    except FileNotFoundError:
        if not final.exists():
            raise
    # What is there now holds: if we slept between claim and here, others may have finished the frame in another way.
    return _read(final, slug, frame) or record


def _rename_files(paths: volume.JobPaths, record: Record) -> None:
    for index, item in enumerate(record["files"]):
        if index == 1:
            volume.reach("between_files", int(record["frame"]))
        final = paths.frames(int(record["frame"])) / item["path"]
        try:
            os.replace(_file_part(paths, record, item["path"]), final)
        except FileNotFoundError:
            if not (final.is_file() and final.stat().st_size == item["bytes"]):
                raise


def _finish_claim(paths: volume.JobPaths, slug: str, frame: int, render_hash: str) -> Record | None:
    """Finish what somebody claimed and did not record; None if there is no claim, or nothing to finish it from."""
    claim = paths.claim(slug, frame)
    content, record = _settled_claim(claim, slug, frame)
    if content is None:
        return None
    if record is not None and record["render_hash"] == render_hash and _finish_files(paths, record):
        final = paths.record(slug, frame)
        try:
            os.replace(_record_part(paths, record), final)  # needs no space on a full volume
        except FileNotFoundError:
            if not final.exists():
                volume.publish_bytes(final, content)  # the claim is the record
        return _read(final, slug, frame) or record
    volume.discard(paths, claim, content)
    if record is not None:
        remove_parts(paths, record)
    return None


def _settled_claim(claim: Path, slug: str, frame: int) -> tuple[bytes | None, Record | None]:
    """Read a claim, with patience for one that is being written."""
    deadline = time.monotonic() + _TORN_SECONDS
    while True:
        content = _content(claim)
        record = None if content is None else _parse(content, slug, frame)
        if content is None or record is not None or time.monotonic() > deadline:
            return content, record
        time.sleep(0.1)


def _finish_files(paths: volume.JobPaths, record: Record) -> bool:
    """Rename a dead winner's parts and check every byte; False if parts are gone for longer than caches explain."""
    deadline = time.monotonic() + paths.visibility_s
    while True:
        try:
            _rename_files(paths, record)
            return _files_agree(paths, record, deep=True)
        except FileNotFoundError:
            if time.monotonic() > deadline:
                return False
        _look(paths.frames(int(record["frame"])))
        time.sleep(0.2)


def _files_agree(paths: volume.JobPaths, record: Record, *, deep: bool = False) -> bool:
    """Compare the files with the record: existence and size, `deep` every byte. Waits as long as caches may hide a file."""
    folder = paths.frames(int(record["frame"]))
    deadline = time.monotonic() + paths.visibility_s
    for item in record["files"]:
        path = folder / item["path"]
        while not _has_size(path, item["bytes"]):
            if time.monotonic() > deadline:
                return False
            _look(path.parent)
            time.sleep(0.2)
        if deep and volume.sha256_file(path) != item["sha256"]:
            return False
    return True


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _look(folder: Path) -> None:
    """List a folder: makes network file systems ask the server about names that they remember as absent."""
    try:
        os.listdir(folder)
    except OSError:
        return


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _read(path: Path, slug: str, frame: int) -> Record | None:
    content = _content(path)
    return None if content is None else _parse(content, slug, frame)


def _parse(content: bytes, slug: str, frame: int) -> Record | None:
    """Read a record or claim; None if it makes no sense, is about another frame, or names files elsewhere."""
    try:
        record = json.loads(content)
        items = [(item["path"], item["bytes"], item["sha256"]) for item in record["files"]]
        fits = record["frame"] == frame and volume.camera_slug(record["camera"]) == slug
        named = isinstance(record["render_hash"], str) and "/" not in record["attempt"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    typed = all(isinstance(p, str) and isinstance(b, int) and isinstance(s, str) for p, b, s in items)
    if not (items and fits and named and typed and volume.is_inside(record["attempt"])):
        return None
    return record if all(volume.is_inside(path) for path, _, _ in items) else None


def _parts(paths: volume.JobPaths, record: Record) -> list[Path]:
    return [*(_file_part(paths, record, item["path"]) for item in record["files"]), _record_part(paths, record)]


def _file_part(paths: volume.JobPaths, record: Record, name: str) -> Path:
    final = paths.frames(int(record["frame"])) / name
    return final.with_name(f"{final.name}.{record['attempt']}.part")


def _record_part(paths: volume.JobPaths, record: Record) -> Path:
    final = paths.record(volume.camera_slug(record["camera"]), int(record["frame"]))
    return final.with_name(f"{final.name}.{record['attempt']}.part")


def _remove_matching(paths: volume.JobPaths, frames: list[int], slug: str, pattern: str, *, keep: set[Path]) -> None:
    folders = {folder for frame in frames for folder in (paths.frames(frame), paths.record(slug, frame).parent)}
    for folder in folders:
        for part in folder.rglob(pattern):
            if part not in keep:
                part.unlink(missing_ok=True)

"""Makes a job's scene tree of its assets, once per job: built aside, every file hashed, then renamed. Needs no bpy.

Files are hard links of their assets where the volume has links, else copies. A link costs no space and no time on one
node's disk, NFS, CephFS and MooseFS alike; assets are read-only and chunks only read the tree, so neither can spoil the other.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import volume


class BadScene(Exception):
    """The tree can't be made from what the job says; holds for every host."""


def main(argv: list[str]) -> int:
    """Prepare the scene; returns an exit code of the contract."""
    options = _arguments(argv)
    paths = volume.JobPaths(options.root, options.job, options.revision)
    try:
        prepare(paths, options.attempt)
    except BadScene as error:
        volume.emit("fatal", code=volume.NEVER, cause=volume.CAUSE_HASH, message=str(error))
        return volume.NEVER
    except OSError as error:
        volume.emit(
            "fatal", code=volume.OUTPUT, cause=None, message=f"The scene can't be laid out on the volume: {error}"
        )
        return volume.OUTPUT
    return volume.OK


def prepare(paths: volume.JobPaths, attempt: str) -> None:
    """Make or verify the tree, then mark it ready. Several attempts at once, and killed ones, do no harm.

    Raises:
        BadScene: An asset is missing or not what the manifest promises, or a path leads out of the tree.
        OSError: The volume can't be written.
    """
    manifest = read_manifest(paths)
    if is_ready(paths, manifest["manifest_sha256"]):
        volume.emit("prepared", files=len(manifest["files"]), new=False)
        return
    if not (paths.scene.is_dir() and _tree_agrees(paths.scene, manifest["files"])):
        _build(paths, manifest["files"], attempt)
    _mark_ready(paths, manifest["manifest_sha256"], attempt)
    volume.emit("prepared", files=len(manifest["files"]), new=True)


def read_manifest(paths: volume.JobPaths) -> dict[str, Any]:
    """Read the pack manifest of job.json; its hash and every path are checked."""
    try:
        pack = volume.read_json(paths.job_json)["pack"]
        entries = [
            {key: f[key] for key in ("path", "size", "sha256", "mode", "parts") if key in f} for f in pack["files"]
        ]
        plain = {"scene": pack["scene"], "files": sorted(entries, key=lambda entry: str(entry["path"]))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadScene(f"job.json can't be read: {error!r}. Submit the job again.") from error
    found = hashlib.sha256(volume.canonical_json(plain)).hexdigest()
    if found != pack.get("manifest_sha256"):
        raise BadScene("The file list in job.json is not the one that was submitted. Submit the job again.")
    for entry in entries:
        check_path(str(entry["path"]))
    return {**plain, "manifest_sha256": found}


def check_path(path: str) -> None:
    """Refuse a path that is not plainly inside the tree."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") or "\\" in part or any(ord(c) < 32 for c in part) for part in parts):
        raise BadScene(f"The file list names {path!r}, which is not inside the scene. Submit the job again.")


def is_ready(paths: volume.JobPaths, manifest_sha256: str) -> bool:
    """Tell whether the tree is marked as made from this manifest."""
    try:
        return paths.scene_ready.read_text(encoding="ascii").strip() == manifest_sha256 and paths.scene.is_dir()
    except (OSError, ValueError):
        return False


def _build(paths: volume.JobPaths, files: list[dict[str, Any]], attempt: str) -> None:
    aside = paths.job_dir / f"scene.{attempt}.part"
    for entry in files:
        _lay_out(paths, entry, aside / PurePosixPath(entry["path"]))
    aside.mkdir(parents=True, exist_ok=True)
    volume.reach("prepare")
    if paths.scene.exists() and not _tree_agrees(paths.scene, files):
        volume.to_trash(paths, paths.scene, attempt)
    try:
        os.rename(aside, paths.scene)
    except OSError:
        # Another attempt was first: what it made must be right, ours is not needed.
        if not _tree_agrees(paths.scene, files):
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _lay_out(paths: volume.JobPaths, entry: dict[str, Any], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    pieces = [paths.assets / sha[:2] / sha for sha in entry.get("parts") or [entry["sha256"]]]
    try:
        if len(pieces) == 1:
            _link_or_copy(pieces[0], target, int(entry.get("mode", 0o644)))
        else:
            _join(pieces, target)
    except FileNotFoundError as error:
        raise BadScene(
            f"{entry['path']} is not on the volume (asset {error.filename}). Submit the job again."
        ) from error
    if not _agrees(target, entry):
        raise BadScene(
            f"{entry['path']} on the volume is not the file that was sent: its hash differs. Submit the job again."
        )


def _link_or_copy(asset: Path, target: Path, mode: int) -> None:
    executable = mode & 0o111
    if not executable:
        try:
            os.link(asset, target)
            return
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
    _join([asset], target)
    os.chmod(target, 0o444 | executable)


def _join(pieces: list[Path], target: Path) -> None:
    with open(target, "wb") as writer:
        for piece in pieces:
            with open(piece, "rb") as reader:
                shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _agrees(path: Path, entry: dict[str, Any]) -> bool:
    try:
        return path.stat().st_size == int(entry["size"]) and volume.sha256_file(path) == entry["sha256"]
    except OSError:
        return False


def _tree_agrees(folder: Path, files: list[dict[str, Any]]) -> bool:
    return all(_agrees(folder / PurePosixPath(entry["path"]), entry) for entry in files)


def _mark_ready(paths: volume.JobPaths, manifest_sha256: str, attempt: str) -> None:
    part = paths.scene_ready.with_name(f"scene.ready.{attempt}.part")
    volume.write_file(part, manifest_sha256.encode("ascii"))
    os.replace(part, paths.scene_ready)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prepare_job")
    parser.add_argument("--root", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--revision", type=int, required=True)
    parser.add_argument("--attempt", required=True)
    return parser.parse_args(argv)


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    sys.exit(main(arguments))

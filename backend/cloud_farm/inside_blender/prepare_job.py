"""Makes a job's scene tree of its assets, once per job: built aside, every file hashed, then renamed. Needs no bpy.

Files are hard links of their assets where the volume has links, else copies; large .blend files that came in pieces are put
together (`assemble.py`). The folders that chunks write to are made here too. A link costs no space and no time on one
node's disk, NFS, CephFS and MooseFS alike; assets are read-only and chunks only read the tree, so neither can spoil the other.
What a killed attempt leaves (`scene.<attempt>.part`) is never touched by others, who can't know whether it still works; it
goes with the job.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import assemble
import volume


_SHA256 = re.compile(r"[0-9a-f]{64}")


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
        message = f"The scene can't be laid out on the volume: {error}. Is it full, or not writable for this user?"
        volume.emit("fatal", code=volume.OUTPUT, cause=None, message=message)
        return volume.OUTPUT
    return volume.OK


def prepare(paths: volume.JobPaths, attempt: str) -> None:
    """Make or verify the tree, then mark it ready. Several attempts at once, and killed ones, do no harm.

    Raises:
        BadScene: An asset is missing or not what the manifest promises, or a path leads out of the tree.
        OSError: The volume can't be written.
    """
    manifest = read_manifest(paths)
    # Pods that render mount each of them by itself, so they must be there, and with the right group.
    for name in volume.RENDER_FOLDERS:
        volume.make_folder(paths.job_dir / name)
    if is_ready(paths, manifest["manifest_sha256"]):
        volume.emit("prepared", files=len(manifest["files"]), new=False)
        return
    if not (paths.scene.is_dir() and _tree_agrees(paths.scene, manifest["files"])):
        _build(paths, manifest["files"], attempt)
    _mark_ready(paths, manifest["manifest_sha256"])
    volume.emit("prepared", files=len(manifest["files"]), new=True)


def read_manifest(paths: volume.JobPaths) -> dict[str, Any]:
    """Read the pack manifest of job.json; its hash, every path and every hash in it are checked.

    Raises:
        BadScene: It is unreadable, was changed, or names something outside the tree.
    """
    try:
        pack = volume.read_json(paths.job_json)["pack"]
        entries = [
            {key: f[key] for key in ("path", "size", "sha256", "mode", "parts") if key in f} for f in pack["files"]
        ]
        plain = {"scene": pack["scene"], "files": sorted(entries, key=lambda entry: str(entry["path"]))}
        found = hashlib.sha256(volume.canonical_json(plain)).hexdigest()
        promised = pack.get("manifest_sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadScene(f"job.json can't be read: {error!r}. Submit the job again.") from error
    if found != promised:
        raise BadScene("The file list in job.json is not the one that was submitted. Submit the job again.")
    for entry in entries:
        check_entry(entry)
    _check_tree([str(entry["path"]) for entry in entries])
    return {**plain, "manifest_sha256": found}


def check_entry(entry: dict[str, Any]) -> None:
    """Refuse an entry whose path is not plainly inside the tree, or whose asset is not named by hashes."""
    path, hashes = entry.get("path"), [entry.get("sha256"), *(entry.get("parts") or ())]
    if not isinstance(path, str) or not volume.is_inside(path):
        raise BadScene(f"The file list names {path!r}, which is not inside the scene. Submit the job again.")
    if not all(isinstance(text, str) and _SHA256.fullmatch(text) for text in hashes):
        raise BadScene(f"The file list gives {path} no proper hash. Submit the job again.")
    if not (isinstance(entry.get("size"), int) and isinstance(entry.get("mode", 0), int)):
        raise BadScene(f"The file list gives {path} no proper size or mode. Submit the job again.")


def _check_tree(paths: list[str]) -> None:
    """Refuse a list with a name twice, or with one that is file and folder at once."""
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    clash = [path for path, count in Counter(paths).items() if count > 1 or path in folders]
    if clash:
        raise BadScene(f"The file list names {clash[0]} twice, or as file and folder. Submit the job again.")


def remove_aside(paths: volume.JobPaths, attempt: str) -> None:
    """Remove an ended attempt's unfinished tree; only links and copies lie there."""
    shutil.rmtree(_aside(paths, attempt), ignore_errors=True)


def _aside(paths: volume.JobPaths, attempt: str) -> Path:
    return paths.job_dir / f"scene.{attempt}.part"


def is_ready(paths: volume.JobPaths, manifest_sha256: str) -> bool:
    """Tell whether the tree is marked as made from this manifest."""
    try:
        return paths.scene_ready.read_text(encoding="ascii").strip() == manifest_sha256 and paths.scene.is_dir()
    except (OSError, ValueError):
        return False


def _build(paths: volume.JobPaths, files: list[dict[str, Any]], attempt: str) -> None:
    aside = _aside(paths, attempt)
    try:
        volume.make_folder(aside)
        for entry in files:
            _lay_out(paths, entry, aside / PurePosixPath(entry["path"]))
        volume.reach("prepare")
        _replace_broken(paths, files, attempt)
        try:
            os.rename(aside, paths.scene)
        except OSError:
            # Another attempt was first: what it made must be right, ours is not needed.
            if not _tree_agrees(paths.scene, files):
                raise
    finally:
        remove_aside(paths, attempt)


def _replace_broken(paths: volume.JobPaths, files: list[dict[str, Any]], attempt: str) -> None:
    """Move a tree that is wrong to the trash; not the right one that another attempt put there while we looked."""
    try:
        before = paths.scene.stat().st_ino
        if not _tree_agrees(paths.scene, files) and paths.scene.stat().st_ino == before:
            volume.to_trash(paths, paths.scene, attempt)
    except FileNotFoundError:
        return


def _lay_out(paths: volume.JobPaths, entry: dict[str, Any], target: Path) -> None:
    volume.make_folder(target.parent)
    assets = [paths.assets / sha[:2] / sha for sha in entry.get("parts") or [entry["sha256"]]]
    for asset in assets:
        if not asset.is_file():
            message = f"{entry['path']} is not on the volume (asset {asset.name} is missing). Submit the job again."
            raise BadScene(message)
    executable = int(entry.get("mode", 0o644)) & 0o111
    in_pieces = bool(entry.get("parts"))
    if in_pieces or executable or not _link(assets[0], target):
        if in_pieces:
            _assemble(assets, entry, target)
        else:
            _copy(assets[0], target)
        os.chmod(target, 0o444 | executable)
    if not _agrees(target, entry):
        raise BadScene(
            f"{entry['path']} on the volume is not the file that was sent: its hash differs. Submit the job again."
        )


def _assemble(parts: list[Path], entry: dict[str, Any], target: Path) -> None:
    try:
        assemble.assemble(parts, entry["size"], target)
    except assemble.BadPieces as error:
        raise BadScene(
            f"{entry['path']} can't be put together on the volume: {error}. Submit the job again."
        ) from error


def _link(asset: Path, target: Path) -> bool:
    """Link where that is possible; False where the volume has no links or the asset's owner does not allow one."""
    try:
        os.link(asset, target)
    except OSError:
        return False
    return True


def _copy(asset: Path, target: Path) -> None:
    with open(asset, "rb") as reader, open(target, "wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _agrees(path: Path, entry: dict[str, Any]) -> bool:
    """Compare size and every byte; a symbolic link is never a file of ours."""
    try:
        if path.is_symlink():
            return False
        return path.stat().st_size == int(entry["size"]) and volume.sha256_file(path) == entry["sha256"]
    except OSError:
        return False


def _tree_agrees(folder: Path, files: list[dict[str, Any]]) -> bool:
    return all(_agrees(folder / PurePosixPath(entry["path"]), entry) for entry in files)


def _mark_ready(paths: volume.JobPaths, manifest_sha256: str) -> None:
    volume.publish_bytes(paths.scene_ready, manifest_sha256.encode("ascii"))


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

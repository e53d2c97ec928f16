"""From a scene file to a pack: every file that the render needs, with hashes, and what the artist should know.

The artist's files are only read. What leaves is a copy: files with unchanged paths as they are, .blend files whose paths
must change written anew. The scene's own bytes are packed, so zstd and gzip files stay what they are, unless they are sent in
pieces: then the farm gets the uncompressed file.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from .blend_file import check_whole, read_header
from .blender import Launcher, probe, run_script
from .errors import PackingError
from .events import CancelToken, Listener, Stage, ignore
from .hashing import packed_files
from .job import Finding, JobPack, SceneFacts
from .json_data import from_json
from .tracing import TracedFile, choose_project, linked_files, trace_scene

__all__ = ["linked_files", "pack"]

_READ_SECONDS = 1800.0
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


def pack(
    scene_file: Path,
    launcher: Launcher,
    *,
    workdir: Path,
    scene: str | None = None,
    project: Path | None = None,
    allowed_missing: Sequence[str] = (),
    pieces_from: int | None = None,
    on_event: Listener = ignore,
    cancel: CancelToken | None = None,
) -> JobPack:
    """Pack a scene file with all that it links.

    Args:
        workdir: Where rewritten and unpacked .blend files are put; must live until the pack is sent.
        scene: The scene that will be rendered; named ones must exist.
        project: Folder whose layout is kept; None chooses one.
        allowed_missing: Stored paths, bare names or globs of files that may be absent.
        pieces_from: .blend files of so many bytes on are sent in pieces, where that pays; None: none is.

    Returns:
        The pack; its findings may hold errors, which the caller refuses.

    Raises:
        PackingError: Not a whole .blend, from a newer Blender, or a file changed meanwhile.
        BlenderError: The background Blender failed.
        Cancelled: `cancel` was set.
    """
    scene_file = scene_file.absolute()
    _check_file(scene_file, launcher)
    on_event(Stage("reading", f"Reading {scene_file.name}"))
    arguments = ["--scene-file", str(scene_file)]
    answer = run_script(launcher, "pack_scene.py", arguments, timeout=_READ_SECONDS, cancel=cancel)
    if "error" in answer:
        raise PackingError(f"Blender can't open {scene_file}: {answer['error']}")
    facts = from_json(SceneFacts, answer["facts"], where=str(scene_file))
    facts.scene(scene)
    unused = frozenset(answer["images_on_show"])
    project = project or choose_project(scene_file, linked_files(scene_file, unused_images=unused))
    traced, found = trace_scene(scene_file, project, workdir, unused_images=unused)
    traced, extra = _with_known(traced, answer["files"], project)
    findings = [from_json(Finding, item, where=str(scene_file)) for item in answer["findings"]]
    findings += [*found, *extra, *_missing(answer["files"], allowed_missing), *_name_findings(traced)]
    on_event(Stage("hashing", f"Hashing {len(traced)} files"))
    main = scene_file.relative_to(project).as_posix()
    files = packed_files(traced, workdir=workdir, pieces_from=pieces_from, cancel=cancel)
    return JobPack(main, files, facts, tuple(dict.fromkeys(findings)))


def _check_file(scene_file: Path, launcher: Launcher) -> None:
    if not scene_file.is_file():
        raise PackingError(f"There is no file {scene_file}.")
    header = read_header(scene_file)
    info = probe(launcher)
    if header.version > info.numbers[:2]:
        raise PackingError(
            f"{scene_file} was saved by Blender {header.text}, but the Blender here is {info.version}, which can't read it."
            " Name a newer one with --blender."
        )
    check_whole(scene_file, header)


def _with_known(
    traced: list[TracedFile], files: Iterable[Any], project: Path
) -> tuple[list[TracedFile], list[Finding]]:
    """Add files that Blender knows and the tracer missed, where their relative path keeps working; else say so."""
    have = {item.source.resolve() for item in traced} | {(project / item.path).resolve() for item in traced}
    added: dict[str, TracedFile] = {}
    findings = []
    for item in files:
        path = Path(item["path"])
        if not item["present"] or not path.is_file() or path.resolve() in have:
            continue
        if item["stored"].startswith("//") and project in path.parents:
            relative = path.relative_to(project).as_posix()
            added[relative] = TracedFile(path, relative)
        else:
            message = (
                f"{item['datablock']} reads {item['stored']}, which could not be packed; the farm will not have it."
            )
            fix = "Make the path relative (File > External Data), or pack the file into the .blend."
            findings.append(Finding("dependency_not_packed", "error", message, item["datablock"], item["stored"], fix))
    return sorted([*traced, *added.values()], key=lambda item: item.path), findings


def _missing(files: Iterable[Any], allowed: Sequence[str]) -> list[Finding]:
    found = []
    for item in files:
        if item["present"]:
            continue
        stored = str(item["stored"])
        name = stored.replace("\\", "/").rpartition("/")[2]
        may = any(fnmatch.fnmatch(stored, pattern) or fnmatch.fnmatch(name, pattern) for pattern in allowed)
        fix = "" if may else f"Bring it back, or allow it to be absent: --allow-missing '{name}'"
        message = f"{item['datablock']} needs {stored}, which is not there."
        found.append(Finding("file_missing", "warning" if may else "error", message, item["datablock"], stored, fix))
    return found


def _name_findings(traced: Sequence[TracedFile]) -> list[Finding]:
    findings = []
    lower: dict[str, str] = {}
    for item in traced:
        other = lower.setdefault(item.path.lower(), item.path)
        if other != item.path:
            message = f"{other} and {item.path} differ only in upper and lower case; on some systems they are one file."
            findings.append(Finding("case_collision", "warning", message, path=item.path))
        if _UNSAFE.search(item.path) or any(part in ("", ".", "..") for part in PurePosixPath(item.path).parts):
            message = f"The file name {item.path!r} has characters that the farm can't store."
            findings.append(Finding("unsafe_name", "error", message, path=item.path, fix="Rename the file."))
    return findings

"""What a scene file links, and how its copy in the scene tree must name it. The one place that uses blender-asset-tracer.

BAT plans the tree (its `strategise`) and writes those .blend files anew whose paths must change; nothing else is copied.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blender_asset_tracer import blendfile, pack, trace
from blender_asset_tracer.pack import PathAction
from blender_asset_tracer.trace import expanders

from .errors import PackingError
from .job import Finding

_MOST_LEVELS_UP = 3
_TARGET = Path("/scene-tree")
"""Stands for the scene tree's root while BAT plans; nothing is ever written there."""


@dataclass(frozen=True)
class TracedFile:
    """A file of the scene tree: where its bytes are, and its path in the tree."""

    source: Path
    path: str


def linked_files(scene: Path, *, unused_images: Set[str] = frozenset()) -> tuple[Path, ...]:
    """Return every file that the scene and its libraries name, whether it is there or not.

    Args:
        unused_images: Names of the scene file's images that are not looked at.

    Raises:
        PackingError: The file's structure can't be read.
    """
    with _bat(scene):
        found = (usage for usage in trace.deps(scene) if not _is_unused(usage, scene, unused_images))
        return tuple(sorted({_absolute(usage.abspath) for usage in found}))


def trace_scene(
    scene: Path, project: Path, workdir: Path, *, unused_images: Set[str] = frozenset()
) -> tuple[list[TracedFile], list[Finding]]:
    """Plan the scene tree.

    Args:
        project: What lies below it keeps its relative place; other files move to `_outside_project/`.
        workdir: Where .blend files with changed paths are written.
        unused_images: Names of the scene file's images that need not be there.

    Raises:
        PackingError: The file's structure can't be read.
    """
    with _bat(scene):
        packer = _Planner(scene, project, workdir, unused_images)
        try:
            return packer.plan(), packer.findings
        finally:
            packer.close()


def choose_project(scene: Path, linked: tuple[Path, ...]) -> Path:
    """Return the folder that holds the scene and what it links, if that is a folder of this project.

    A common folder that is far up, the home folder, or above it would drag the artist's whole disk layout along: then the
    scene's own folder is the project, and the rest moves to `_outside_project/`.
    """
    own = scene.parent
    home = Path.home()
    levels = (own, *list(own.parents)[:_MOST_LEVELS_UP])
    for folder in levels:
        if folder == Path(folder.anchor) or folder == home or folder in home.parents:
            return own
        if all(folder in path.parents for path in linked if path.exists()):
            return folder
    return own


class _Planner(pack.Packer):  # type: ignore[misc]
    """BAT's packer, made to say what it would copy instead of copying."""

    def __init__(self, scene: Path, project: Path, workdir: Path, unused_images: Set[str]) -> None:
        super().__init__(scene, project, str(_TARGET))
        self._unused_images = unused_images
        self._rewrite_in = workdir
        self._found: dict[str, TracedFile] = {}
        self.findings: list[Finding] = []

    def plan(self) -> list[TracedFile]:
        self.strategise()
        self._rewrite_paths()
        for path, action in self._actions.items():
            self._copy_asset_and_deps(path, action)
        return sorted(self._found.values(), key=lambda item: item.path)

    def _visit_asset(self, asset_path: Path, usage: Any) -> None:
        if _is_unused(usage, self.blendfile, self._unused_images):
            return
        # Blender writes "//../../../../", which is "/", for caches without a folder: never walk the project's parents.
        if asset_path.is_dir() and (asset_path == self.project or asset_path in self.project.parents):
            message = f"{usage.block_name.decode('utf-8', 'replace')} names the folder {usage.asset_path}, which holds the whole project; it was not packed."
            self.findings.append(Finding("folder_not_packed", "warning", message, path=str(usage.asset_path)))
            return
        super()._visit_asset(asset_path, usage)

    def _find_new_paths(self) -> None:
        for path in self._new_location_paths:
            action = self._actions[path]
            if self._path_in_project(path):
                action.new_path = self._target_path / path.relative_to(self.project)
            else:
                folder = hashlib.sha256(str(path.parent).encode("utf-8", "surrogateescape")).hexdigest()[:8]
                action.new_path = self._target_path / "_outside_project" / folder / path.name

    def _copy_asset_and_deps(self, asset_path: Path, action: Any) -> None:
        if action.path_action == PathAction.KEEP_PATH and action.new_path is None:
            return
        super()._copy_asset_and_deps(asset_path, action)

    def _send_to_target(self, asset_path: Path, target: Any, may_move: bool = False) -> None:
        if asset_path.is_file():
            path = Path(target).relative_to(_TARGET).as_posix()
            self._found[path] = TracedFile(Path(asset_path), path)


class _bat:  # noqa: N801 - reads as a function
    """Sets BAT up for one use, and turns its errors into ours."""

    def __init__(self, scene: Path) -> None:
        self._scene = scene

    def __enter__(self) -> None:
        logging.getLogger("blender_asset_tracer").setLevel(logging.ERROR)
        # Real files point to blocks that are not in them; that is no reason to pack nothing.
        blendfile.set_strict_pointer_mode(False)
        expanders._expand_generic_nodetree_id = _expand_node_trees

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        blendfile.close_all_cached()
        if isinstance(error, (blendfile.exceptions.BlendFileError, AssertionError, KeyError, ValueError, EOFError)):
            raise PackingError(f"{self._scene} can't be searched for the files that it links: {error}") from error


def _expand_node_trees(block: Any) -> Iterator[Any]:
    """Replace BAT 1.23's own, which from 5.0 on looks at `compositing_node_group` of every block, materials too.

    Textures of linked libraries' materials would then be missing from the pack without a word.
    """
    for key in (b"nodetree", b"compositing_node_group"):
        try:
            tree = block.get_pointer(key, None)
        except KeyError:
            tree = None
        if tree is not None:
            yield from expanders._expand_generic_nodetree(tree)


def _is_unused(usage: Any, scene: Path, unused_images: Set[str]) -> bool:
    name = usage.block_name.decode("utf-8", "replace")
    return name.startswith("IM") and name[2:] in unused_images and usage.block.bfile.filepath == scene


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path))

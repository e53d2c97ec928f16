"""A scene that is on the volume already (`--on-volume`): brought here with what it links, then packed like a local one."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from .errors import InvalidJobError, PackingError
from .landing import safe_relative
from .packing import linked_files
from .stores import Store

_ROUNDS = 20
"""Libraries that link libraries: each round brings one level more."""


def mirror_scene(store: Store, path: PurePosixPath, folder: Path) -> Path:
    """Copy a .blend and every file that it links, from the same places on the volume to the same places in `folder`.

    What is not on the volume stays missing; packing lists it.

    Raises:
        InvalidJobError: The path is not a .blend on the volume.
    """
    safe_relative(str(path))
    entry = store.stat(path)
    if entry is None or entry.is_dir:
        raise InvalidJobError(
            f"The farm's volume has no file {path}. Paths after --on-volume start at the volume's root."
        )
    scene = folder / path
    _bring(store, path, scene)
    asked = {path}
    for _ in range(_ROUNDS):
        wanted = _missing_inside(scene, folder) - asked
        if not wanted:
            return scene
        asked |= wanted
        for relative in sorted(wanted):
            if store.stat(relative) is not None:
                _bring(store, relative, folder / relative)
    raise PackingError(f"{path} links libraries more than {_ROUNDS} deep; that is a loop or a mistake.")


def _missing_inside(scene: Path, folder: Path) -> set[PurePosixPath]:
    """Files that the scene wants, that would lie in the mirror and are not there yet."""
    root = folder.resolve()
    wanted = set()
    for target in linked_files(scene):
        resolved = target.resolve()
        if root in resolved.parents and not resolved.exists():
            wanted.add(PurePosixPath(resolved.relative_to(root).as_posix()))
    return wanted


def _bring(store: Store, path: PurePosixPath, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    store.get(path, target)

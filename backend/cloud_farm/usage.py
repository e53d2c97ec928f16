"""How much room things take on a volume, by few requests."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from .layout import ASSETS, JOBS, ROOT, TRASH
from .stores import Store, StoreEntry

_KINDS = {ASSETS: "assets", TRASH: "trash"}
_TREES_AT_ONCE = 2
"""A server puts a whole tree together in its memory before it answers."""


@dataclass(frozen=True)
class Usage:
    """What one thing takes.

    Attributes:
        kind: job, assets, trash or other.
        size: Bytes; of a job without its scene tree.
        scene_size: Bytes of a job's scene tree: links of assets, or copies where the volume has no links.
    """

    path: PurePosixPath
    kind: str
    files: int
    size: int
    scene_size: int = 0


def volume_usage(store: Store) -> tuple[Usage, ...]:
    """Measure every job, the assets, the trash and whatever else lies beside them; the largest first."""
    jobs = [(JOBS, entry) for entry in store.list(JOBS)]
    others = [(ROOT, entry) for entry in store.list(ROOT) if ROOT / entry.name != JOBS]
    return _measured(store, [*jobs, *others])


def folder_usage(store: Store, folder: PurePosixPath) -> tuple[Usage, ...]:
    """Measure everything that lies directly in a folder, unfinished uploads too; the largest first."""
    return _measured(store, [(folder, entry) for entry in store.list(folder, unfinished=True)])


def _measured(store: Store, things: Iterable[tuple[PurePosixPath, StoreEntry]]) -> tuple[Usage, ...]:
    def measure(thing: tuple[PurePosixPath, StoreEntry]) -> Usage:
        folder, entry = thing
        path = folder / entry.name
        return _summed(path, store.walk(path) if entry.is_dir else [(path, entry)])

    with ThreadPoolExecutor(min(_TREES_AT_ONCE, store.connections)) as pool:
        found = pool.map(measure, things)
    return tuple(sorted(found, key=lambda usage: (-usage.size, usage.path)))


def _summed(path: PurePosixPath, found: Iterable[tuple[PurePosixPath, StoreEntry]]) -> Usage:
    files = size = scene_size = 0
    for place, entry in found:
        if entry.is_dir:
            continue
        files += 1
        if path.parent == JOBS and path / "scene" in place.parents:
            scene_size += entry.size
        else:
            size += entry.size
    return Usage(path, _KINDS.get(path, "job" if path.parent == JOBS else "other"), files, size, scene_size)

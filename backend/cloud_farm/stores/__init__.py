"""The store: the door to the farm's shared volume, for the side that submits and fetches.

A store moves whole files by path. It never publishes frames (the machines that render write the volume themselves).
All paths are relative to the volume's root. `STORES` is the only place that names implementations.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import ProfileError

if TYPE_CHECKING:
    from ..profile import FarmProfile


Progress = Callable[[int], None]
"""Told how many bytes went on (after a break it may be fewer than nothing); may wait, and may raise to end the transfer."""


def silent(_count: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class StoreEntry:
    """One entry of a folder.

    Attributes:
        name: The last part of the path.
        size: Bytes; 0 for folders.
        mtime: Seconds since 1970 by the volume's clock.
        is_dir: Whether it is a folder.
    """

    name: str
    size: int
    mtime: float
    is_dir: bool


class Store(Protocol):
    """What every store does. Errors are `StoreError`s; an absent path is `NotFoundError` unless stated.

    Attributes:
        connections: How many transfers at a time pay.
    """

    connections: int

    def list(self, folder: PurePosixPath) -> tuple[StoreEntry, ...]:
        """List a folder in order of names; unfinished uploads are not shown. An absent folder is empty."""

    def stat(self, path: PurePosixPath) -> StoreEntry | None:
        """Describe a path, None if it is absent."""

    def read(self, path: PurePosixPath, *, start: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file from `start`; fewer than `length` at its end."""

    def get(self, path: PurePosixPath, target: Path, *, sha256: str | None = None, progress: Progress = silent) -> None:
        """Copy a file to this computer: a part beside `target`, verified, renamed over it.

        Raises:
            HashMismatchError: The bytes are not those of `sha256`; `target` is untouched.
        """

    def put(
        self, source: Path | bytes, path: PurePosixPath, *, sha256: str | None = None, if_absent: bool = False,
        progress: Progress = silent,
    ) -> bool:  # fmt: skip
        """Publish a file under its final name at once, whole and verified.

        Returns:
            False when `if_absent` is set and the path was there first (it is left untouched), else True.

        Raises:
            HashMismatchError: `source` does not have that hash (it changed meanwhile); nothing is published.
        """

    def present(self, assets: Mapping[str, int]) -> frozenset[str]:
        """Tell which assets the volume has in their right size, by as few listings as it takes.

        Args:
            assets: sha256 to bytes.
        """

    def move(self, source: PurePosixPath, target: PurePosixPath) -> None:
        """Rename within the volume; an existing target is an error."""

    def trash(self, path: PurePosixPath, *, job_id: str) -> None:
        """Move a file or folder to today's trash; absent is fine."""

    def free_space(self) -> int | None:
        """Bytes free on the volume, None where the store can't tell."""

    def server_time(self) -> float:
        """Seconds since 1970 by the volume's clock."""


class StoreKind(NamedTuple):
    """A registered store: what people read, and where it is made."""

    label: str
    description: str
    module: str


STORES: dict[str, StoreKind] = {
    "folder": StoreKind("Folder", "a folder of this computer or a mounted share", "folder"),
    "filebrowser": StoreKind("FileBrowser", "the web door to a cluster's shared volume", "filebrowser"),
}


def open_store(profile: FarmProfile) -> Store:
    """Open the store that the profile names.

    Raises:
        ProfileError: No store of that name exists.
    """
    kind = STORES.get(profile.store)
    if kind is None:
        raise ProfileError(
            f"Farm '{profile.name}' names the store '{profile.store}', which this version doesn't have. It has: {', '.join(STORES)}."
        )
    module = importlib.import_module(f".{kind.module}", __name__)
    store: Store = module.open_store(profile)
    return store

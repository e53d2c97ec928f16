"""The store: the door to the farm's shared volume, for the side that submits and fetches.

A store moves whole files by path. It never publishes frames (the machines that render write the volume themselves).
All paths are relative to the volume's root. `STORES` is the only place that names implementations.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class StoreDescription:
    """What a store is, as far as it tells.

    Attributes:
        program: `FileBrowser 2.63.23`, without a number where the server doesn't tell; `folder`.
        advice: What to do about a version that works but is not the best; empty if nothing.
        place: Its address, or the folder.
        encrypted: Whether TLS protects the way; None where nothing goes through a server.
        request_limit: Bytes of the largest request that a proxy in front lets through; as many as we would ever send where
            nothing limits it, None where that can't be told.
    """

    program: str
    place: str
    advice: str = ""
    encrypted: bool | None = None
    request_limit: int | None = None


class Tail(NamedTuple):
    """The end of a growing file.

    Attributes:
        size: Where it ends.
    """

    content: bytes
    size: int


class Store(Protocol):
    """What every store does. Errors are `StoreError`s; an absent path is `NotFoundError` unless stated.

    Attributes:
        connections: How many transfers at a time pay.
        poll_seconds: How often a look for changes pays.
        volume: Names the volume among all that this user has.
    """

    connections: int
    poll_seconds: float
    volume: str

    def describe(self) -> StoreDescription:
        """Say what this store is; asks the server, if there is one."""

    def list(self, folder: PurePosixPath, *, unfinished: bool = False) -> tuple[StoreEntry, ...]:
        """List a folder in order of names; unfinished uploads only if asked for. An absent folder is empty."""

    def names(self, folder: PurePosixPath, *, ending: str) -> tuple[str, ...]:
        """Return the names of files in a flat folder that end so, in no order: a `list` at a tenth of its bytes.

        An absent folder is empty.
        """

    def walk(self, folder: PurePosixPath) -> Iterator[tuple[PurePosixPath, StoreEntry]]:
        """Yield path and entry of all that lies below a folder, unfinished uploads too, by as few requests as it takes.

        For sums: links are not followed, and what can't be read is left out without a word.
        """

    def stat(self, path: PurePosixPath) -> StoreEntry | None:
        """Describe a path, None if it is absent."""

    def read(self, path: PurePosixPath, *, start: int = 0, length: int | None = None) -> bytes:
        """Read bytes of a file from `start`; fewer than `length` at its end."""

    def tail(self, path: PurePosixPath, *, known: int, most: int) -> Tail:
        """Read what a growing file has beyond its first `known` bytes; at most its last `most` bytes."""

    def sha256(self, path: PurePosixPath) -> str:
        """Hash a file where it lies."""

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

        What is kept by its hash (below `assets`) is replaced without a look: it is the same, or it was damaged.

        Returns:
            False when `if_absent` is set and the path was there first (it is left untouched), else True.

        Raises:
            HashMismatchError: `source` does not have that hash (it changed meanwhile); nothing is published.
        """

    def move(self, source: PurePosixPath, target: PurePosixPath) -> None:
        """Rename within the volume; an existing target is an error."""

    def trash(self, path: PurePosixPath, *, job_id: str) -> PurePosixPath | None:
        """Move a file or folder to today's trash; returns where it lies there, None if it was absent."""

    def empty_trash(self, name: str) -> None:
        """Delete one entry of the trash (a day) for good, with all that is in it; absent is fine.

        Nothing else that has a name of its own is ever deleted.
        """

    def free_space(self) -> int | None:
        """Bytes free on the volume, None where the store can't tell."""

    def server_time(self) -> float:
        """Seconds since 1970 by the volume's clock."""


class StoreKind(NamedTuple):
    """A registered store: what people read, and where it is made.

    Attributes:
        is_far: Bytes go over a line, so sending fewer pays; else copying once pays.
    """

    label: str
    description: str
    module: str
    is_far: bool


STORES: dict[str, StoreKind] = {
    "folder": StoreKind("Folder", "a folder of this computer or a mounted share", "folder", False),
    "filebrowser": StoreKind("FileBrowser", "the web door to a cluster's shared volume", "filebrowser", True),
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

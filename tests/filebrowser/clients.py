"""Clients of a FileBrowser for tests: stores in this process that don't wait long, and processes that can be killed."""

from __future__ import annotations

import hashlib
import os
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from cloud_farm.profile import FarmProfile, Volume
from cloud_farm.stores.filebrowser import FileBrowserStore
from cloud_farm.stores.filebrowser_connection import Connection
from cloud_farm.stores.filebrowser_settings import read_settings

from ..rigs.filebrowser_server import BOT, FileBrowserServer, User

MIB = 1 << 20
FOLDER = PurePosixPath("jobs/shot")
BIG = FOLDER / "big.bin"
_HURRY = 20


@dataclass(frozen=True)
class Door:
    """How a test reaches its own folder of a volume, and looks behind the door.

    Attributes:
        url: Where clients connect.
        root: The folder on the server's disk.
        prefix: The same folder as the server names it.
        secrets: A folder for password files.
    """

    url: str
    root: Path
    prefix: str
    secrets: Path
    user: User | None = BOT
    settings: Mapping[str, Any] = field(default_factory=dict)

    def at(self, url: str, **settings: Any) -> Door:
        """The same folder by another way."""
        return replace(self, url=url, settings={**self.settings, **settings})

    def as_user(self, user: User | None) -> Door:
        """The same folder for somebody else; None gives no password."""
        return replace(self, user=user)

    @property
    def profile(self) -> FarmProfile:
        """A farm behind this door."""
        login: dict[str, Any] = {}
        if self.user is not None:
            password = self.secrets / f"{self.user.name} {hashlib.sha256(self.user.password.encode()).hexdigest()[:8]}"
            password.write_text(self.user.password)
            login = {"user": self.user.name, "password": {"file": str(password)}}
        return FarmProfile(
            "farm",
            store="filebrowser",
            volume=Volume(store_prefix=self.prefix),
            filebrowser={"url": self.url, **login, **self.settings},
        )

    def connect(self, sleep: Callable[[float], None] | None = None) -> Connection:
        """Open a connection whose waits are short unless `sleep` says otherwise."""
        return Connection(read_settings(self.profile), sleep=sleep or _hurried)

    def open(self, sleep: Callable[[float], None] | None = None) -> FileBrowserStore:
        """Open a store whose waits are short unless `sleep` says otherwise."""
        return FileBrowserStore(self.connect(sleep), PurePosixPath(self.prefix))

    def on_disk(self, path: PurePosixPath = BIG) -> Path:
        """Where the server keeps a path of the volume."""
        return self.root / path

    def litter(self) -> list[str]:
        """Names of all files on the server's disk that are unfinished."""
        return sorted(path.name for path in self.root.rglob("*") if path.name.endswith(".part"))

    def files(self) -> list[str]:
        """All files on the server's disk, as paths of the volume."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())


def door_to(server: FileBrowserServer, tmp_path: Path) -> Door:
    """Make an empty folder on a server and the way to it."""
    name = uuid.uuid4().hex
    return Door(server.url, server.root / name, name, tmp_path)


def _hurried(seconds: float) -> None:
    time.sleep(seconds / _HURRY)


def content(size: int, seed: int = 1) -> bytes:
    """Bytes in which no two places are alike."""
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_file(path: Path, size: int, seed: int = 1) -> Path:
    path.write_bytes(content(size, seed))
    return path


def until(condition: Callable[[], object], what: str, *, seconds: float = 60.0) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.005)


def environment() -> dict[str, str]:
    """What a client process needs of ours, as it is now."""
    return dict(os.environ)

"""Clients of a FileBrowser for tests: stores in this process that don't wait long, and processes that can be killed."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection as PipeEnd
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from cloud_farm.profile import FarmProfile, Volume
from cloud_farm.stores import filebrowser_publish
from cloud_farm.stores.filebrowser import FileBrowserStore
from cloud_farm.stores.filebrowser_connection import Connection
from cloud_farm.stores.filebrowser_settings import read_settings

from ..rigs.filebrowser_server import BOT, FileBrowserServer, User

MIB = 1 << 20
FOLDER = PurePosixPath("jobs/shot")
BIG = FOLDER / "big.bin"
PATIENCE = 120.0
Result = TypeVar("Result")
_HURRY = 20
# Clients are forked from a process that has everything imported and no threads: many can be killed in a second.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["cloud_farm.stores.filebrowser"])


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
            login = {"user": self.user.name, "password": {"file": str(self._password(self.user))}}
        return FarmProfile(
            "farm",
            store="filebrowser",
            volume=Volume(store_prefix=self.prefix),
            filebrowser={"url": self.url, **login, **self.settings},
        )

    def _password(self, user: User) -> Path:
        """Keep a password in a file; processes that start together write it at the same time."""
        path = self.secrets / f"password {sha256(user.password.encode())[:8]}"
        part = path.with_name(uuid.uuid4().hex)
        part.write_text(user.password)
        part.replace(path)
        return path

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


def background(action: Callable[[], Result]) -> Future[Result]:
    """Do something in a thread of its own; `result(seconds)` waits for it."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(action)
    pool.shutdown(wait=False)
    return future


class Client:
    """A put in a process of its own, to be killed, or waited for.

    Args:
        hurry: Whether it waits as little as stores of this process do, instead of as long as a user's; also for the claim
            of a client that may be dead.
    """

    def __init__(
        self,
        door: Door,
        source: Path | bytes,
        path: PurePosixPath = BIG,
        *,
        if_absent: bool = False,
        hurry: bool = False,
    ) -> None:
        self._pipe, theirs = _FORKS.Pipe(duplex=False)
        call = (door, source, path, if_absent, hurry)
        self._process = _FORKS.Process(target=_put, args=(*call, dict(os.environ), theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """End it as a lost machine would, wherever it is."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def result(self, seconds: float = PATIENCE) -> bool:
        """Wait for what its put returned."""
        assert self._pipe.poll(seconds), "it does not end"
        told = self._pipe.recv()
        self._process.join()
        self._pipe.close()
        assert isinstance(told, bool), told
        return told


def _put(
    door: Door,
    source: Path | bytes,
    path: PurePosixPath,
    if_absent: bool,
    hurry: bool,
    environ: dict[str, str],
    pipe: PipeEnd,
) -> None:
    os.environ.clear()
    os.environ.update(environ)
    if hurry:
        filebrowser_publish._PATIENCE_SECONDS = 1.0
    store = door.open(None if hurry else time.sleep)
    try:
        pipe.send(store.put(source, path, if_absent=if_absent))
    except BaseException:
        pipe.send(traceback.format_exc())
        raise

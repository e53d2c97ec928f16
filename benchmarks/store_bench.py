"""What the benchmarks of the FileBrowser store share: a real server, a line to it that is as long as wanted, curl as the anchor."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import requests
from cloud_farm.profile import FarmProfile, Volume
from cloud_farm.stores import Store, open_store

from tests.rigs.fault_proxy import FaultProxy
from tests.rigs.filebrowser_server import BOT, FileBrowserServer

_SPAWN = multiprocessing.get_context("spawn")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Traffic:
    """What passed a line since it was made."""

    requests: int
    bytes_up: int
    bytes_down: int

    def since(self, before: Traffic) -> Traffic:
        """What passed after `before`."""
        return Traffic(
            self.requests - before.requests, self.bytes_up - before.bytes_up, self.bytes_down - before.bytes_down
        )


class Line:
    """A delaying proxy in a process of its own, so that it takes no time from who is measured."""

    def __init__(self, backend: str, *, latency_s: float = 0.0, bytes_per_second: float = 0.0) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_carry, args=(backend, latency_s, bytes_per_second, theirs), daemon=True)
        self._process.start()
        self.url: str = self._pipe.recv()

    def traffic(self) -> Traffic:
        """Count what passed so far."""
        self._pipe.send("count")
        return Traffic(*self._pipe.recv())

    def close(self) -> None:
        """End the proxy."""
        self._pipe.send("end")
        self._process.join(10)


def _carry(backend: str, latency_s: float, bytes_per_second: float, pipe: Connection) -> None:
    with FaultProxy(backend) as proxy:
        proxy.latency_s, proxy.bytes_per_second = latency_s, bytes_per_second
        pipe.send(proxy.url)
        while pipe.recv() == "count":
            pipe.send((len(proxy.requests), proxy.bytes_up, proxy.bytes_down))


class Bench:
    """A FileBrowser on a folder of this disk, and who talks to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._password = folder / "password"
        self._password.write_text(BOT.password)
        self.server = FileBrowserServer(folder / "volume")

    def __enter__(self) -> Bench:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    @contextlib.contextmanager
    def line(self, *, latency_s: float = 0.0, bytes_per_second: float = 0.0) -> Iterator[Line]:
        """Yield a line to the server."""
        line = Line(self.server.url, latency_s=latency_s, bytes_per_second=bytes_per_second)
        try:
            yield line
        finally:
            line.close()

    def profile(self, url: str = "", **volume: Any) -> FarmProfile:
        """Describe the farm behind an address; straight to the server without one."""
        login = {"url": url or self.server.url, "user": BOT.name, "password": {"file": str(self._password)}}
        return FarmProfile("bench", store="filebrowser", volume=Volume(**volume), filebrowser=login)

    def store(self, url: str = "") -> Store:
        """Open the store behind an address, logged in."""
        store = open_store(self.profile(url))
        store.free_space()
        return store

    def token(self) -> str:
        """Log curl in."""
        answer = requests.post(
            f"{self.server.url}/api/login",
            json={"username": BOT.name, "password": BOT.password},
            timeout=30,
            verify=False,
        )
        return answer.text


def curl(*words: str, output: Path = Path(os.devnull)) -> None:
    """Run curl; an answer that is an error ends the benchmark."""
    subprocess.run(["curl", "-sS", "--fail", "--noproxy", "*", "-o", str(output), *words], check=True)


HASHERS = (("sha256sum",), ("openssl", "dgst", "-sha256", "-r"))
"""Tools that everybody has; OpenSSL uses the processor's instructions for it."""


def sha256(tool: Sequence[str], path: Path) -> str:
    """Hash a file by one of the `HASHERS`."""
    return subprocess.run([*tool, str(path)], check=True, capture_output=True, text=True).stdout.split()[0]


def seconds(action: Callable[[], object]) -> float:
    """Time one call."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def random_file(path: Path, size: int) -> Path:
    """Make a file that nothing can make smaller."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        for start in range(0, size, _BLOCK):
            stream.write(os.urandom(min(_BLOCK, size - start)))
    return path


def settle() -> None:
    """Let the disk finish what the run before left, so that the next one does not pay for it."""
    os.sync()


def arguments(**numbers: int) -> argparse.Namespace:
    """Read the command line: numbers with their defaults, and on which disk to work."""
    parser = argparse.ArgumentParser()
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help="on which disk (default: the system's folder for temporary files)")
    return parser.parse_args()


@contextlib.contextmanager
def bench(folder: Path | None = None) -> Iterator[Bench]:
    """Yield a server in a folder that is removed afterwards, and say which machine this is."""
    version = importlib.metadata.version("requests")
    print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}, requests {version}")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        os.environ["CLOUD_FARM_HOME"] = str(Path(name) / "home")
        os.environ["NO_PROXY"] = "*"
        with Bench(Path(name)) as made:
            yield made

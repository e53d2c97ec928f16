"""Who takes the contract suites: every store and every engine, on every kind of volume. A new one adds a line here.

A suite knows only its subject. A store's profiles and an engine's two profiles may be different machines' views of one volume.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.blender import find_blender, run_script
from cloud_farm.engines import Engine, open_engine
from cloud_farm.profile import FarmProfile, Gpu, Limits, Volume
from cloud_farm.stores import Store, open_store

from ..cluster.farm import Cluster
from ..cluster.places import NODE
from ..rigs.filebrowser_server import BOT, FileBrowserServer
from ..rigs.network_volume import NetworkVolume
from .argo_farm import ArgoFarm

_STUB = Path(__file__).with_name("stub_blender.py")
WORKERS = 2


@dataclass(frozen=True)
class StoreSubject:
    """A store with an empty volume.

    Attributes:
        profiles: The same volume, as seen from one machine or several. Profiles can be sent to other processes.
        visibility_s: How long a change may take to be seen by another machine.
    """

    profiles: tuple[FarmProfile, ...]
    visibility_s: float = 0.0

    def open(self, machine: int = 0) -> Store:
        """Open it as another program, on any of the machines, would."""
        return open_store(self.profiles[machine % len(self.profiles)])


@dataclass(frozen=True)
class EngineSubject:
    """An engine with an empty volume.

    Attributes:
        here: The profile of who submits and looks.
        there: The profile that plans are made with: where the renderers see the volume.
        supervisor: The Python of those who render.
        blender: Makes the argv prefix of a stub Blender that behaves as it is told, for a job by its id.
        processes: Lists what still runs of a job, by its id.
        scene: Makes a small scene by the renderers' real Blender, in a folder.
        patience: How much longer than local processes it may take.
        frame_s: How long a frame takes in whose middle something is to happen, seconds.
        host: The one machine that renders, as records name it: a pretended one may "succeed", too.
    """

    here: FarmProfile
    there: FarmProfile
    supervisor: tuple[str, ...]
    blender: Callable[[dict[str, Any], str], tuple[str, ...]]
    processes: Callable[[str], list[str]]
    scene: Callable[[Path], Path]
    host: str
    patience: float = 1.0
    frame_s: float = 0.4

    def engine(self) -> Engine:
        """Open it as another program would."""
        return open_engine(self.there)

    def store(self) -> Store:
        """Open the store of the same volume."""
        return open_store(self.here)


def folder_profile(root: Path, name: str = "folder", *, visibility_s: float = 0.0) -> FarmProfile:
    """Describe a local farm whose volume is `root`."""
    return FarmProfile(
        name,
        volume=Volume(mount_path=str(root)),
        gpu=Gpu(device="cpu"),
        limits=Limits(workers=WORKERS),
        visibility_s=visibility_s,
    )


def demo_scene(folder: Path) -> Path:
    """Make the example scene by the Blender of this computer."""
    run_script(find_blender(), "demo_scene.py", ["--output", str(folder / "demo.blend")], timeout=120)
    return folder / "demo.blend"


def stub_blender(behaviour: dict[str, Any], _job_id: str) -> tuple[str, ...]:
    """Return the argv prefix of a stub on this computer."""
    return (sys.executable, str(_STUB), "--stub", json.dumps(behaviour))


def local_processes(job_id: str) -> list[str]:
    """List the processes of this computer that have the job's id in their command line, as `pid command`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if any(job_id in word for word in words):
            found.append(f"{folder.name} {' '.join(words)}")
    return found


def local_subject(here: FarmProfile, there: FarmProfile) -> EngineSubject:
    """Describe the engine of this computer."""
    host = socket.gethostname()
    return EngineSubject(here, there, (sys.executable,), stub_blender, local_processes, demo_scene, host)


def _plain_store(request: pytest.FixtureRequest) -> StoreSubject:
    root = Path(request.getfixturevalue("tmp_path")) / "volume"
    return StoreSubject((folder_profile(root),))


def _network_store(request: pytest.FixtureRequest) -> StoreSubject:
    roots = _network_roots(request)
    return StoreSubject(tuple(folder_profile(root) for root in roots), visibility_s=1.0)


def _local_engine(request: pytest.FixtureRequest) -> EngineSubject:
    profile = folder_profile(Path(request.getfixturevalue("tmp_path")) / "volume")
    return local_subject(profile, profile)


def _local_engine_on_network(request: pytest.FixtureRequest) -> EngineSubject:
    near, far = (folder_profile(root, visibility_s=1.0) for root in _network_roots(request))
    return local_subject(near, far)


def _network_roots(request: pytest.FixtureRequest) -> tuple[Path, ...]:
    volume: NetworkVolume = request.getfixturevalue("network_volume")
    name = uuid.uuid4().hex
    (volume.mounts[0] / name).mkdir()
    _seen_by_all(volume, name)
    return tuple(mount / name for mount in volume.mounts)


def _seen_by_all(volume: NetworkVolume, name: str) -> None:
    deadline = time.monotonic() + 10
    while not all((mount / name).is_dir() for mount in volume.mounts):
        assert time.monotonic() < deadline, "one mount does not show what the other made"
        time.sleep(0.05)


def filebrowser_profile(server: FileBrowserServer, prefix: str, password: Path) -> FarmProfile:
    """Describe a farm whose volume is a folder that a FileBrowser serves."""
    login = {"url": server.url, "user": BOT.name, "password": {"file": str(password)}}
    return FarmProfile("filebrowser", store="filebrowser", volume=Volume(store_prefix=prefix), filebrowser=login)


def _filebrowser_store(request: pytest.FixtureRequest) -> StoreSubject:
    server: FileBrowserServer = request.getfixturevalue("filebrowser")
    return StoreSubject((_served(server, request, uuid.uuid4().hex),))


def _filebrowser_store_on_network(request: pytest.FixtureRequest) -> StoreSubject:
    """FileBrowser serves one mount of the network volume, the renderers see another."""
    far = _network_roots(request)[1]
    server: FileBrowserServer = request.getfixturevalue("filebrowser_on_network")
    return StoreSubject((_served(server, request, far.name), folder_profile(far)), visibility_s=1.0)


def _served(server: FileBrowserServer, request: pytest.FixtureRequest, prefix: str) -> FarmProfile:
    password = Path(request.getfixturevalue("tmp_path")) / "password"
    password.write_text(BOT.password)
    return filebrowser_profile(server, prefix, password)


def _argo_engine(request: pytest.FixtureRequest) -> EngineSubject:
    cluster: Cluster = request.getfixturevalue("cluster")
    farm = ArgoFarm(cluster, Path(request.getfixturevalue("tmp_path")), workers=WORKERS)
    return EngineSubject(
        farm.profile, farm.profile, (), farm.blender, farm.processes, farm.scene, NODE, patience=4.0, frame_s=4.0
    )


STORE_SUBJECTS = [
    pytest.param(_plain_store, id="folder"),
    pytest.param(_network_store, id="folder-network", marks=pytest.mark.network_volume),
    pytest.param(_filebrowser_store, id="filebrowser"),
    pytest.param(_filebrowser_store_on_network, id="filebrowser-network", marks=pytest.mark.network_volume),
]
ENGINE_SUBJECTS = [
    pytest.param(_local_engine, id="local"),
    pytest.param(_local_engine_on_network, id="local-network", marks=pytest.mark.network_volume),
    pytest.param(_argo_engine, id="argo", marks=pytest.mark.cluster),
]

"""Clears away what a cluster leaves on the machine, also one that was killed: containers, mounts, network, cgroups."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import places
from .containerd import containerd, remove_containers
from .services import Services

_STOP_ORDER = [
    "kwok",
    "workflow-controller",
    "kube-proxy",
    "kubelet",
    "scheduler",
    "controller-manager",
    "apiserver",
    "etcd",
]

_FIREWALL = "KUBE-FIREWALL"  # the chain that kube-proxy's own clean-up leaves


def clear(services: Services, *, kube_proxy: Path | None) -> None:
    """Stop everything of ours and undo what it did to this machine; images, and logs until the next start, stay.

    Args:
        kube_proxy: The program that knows how to remove its own rules; without it they stay.
    """
    for name in _STOP_ORDER:
        services.stop(name)
    if places.CONTAINERD.exists() or "containerd" in services.names():
        _clear_containers(services)
    _unmount_below(places.RUN, places.CONTAINERD)
    _clear_network(kube_proxy)
    _remove_cgroups()
    for folder in (places.RUN, places.CONTAINERD):
        shutil.rmtree(folder, ignore_errors=True)


def _clear_containers(services: Services) -> None:
    """Remove containers by the runtime that knows them; it is started again if it died."""
    if services.pid("containerd") is None:
        services.start(containerd())
    for container in remove_containers():
        for result in (places.CNI / "results").glob(f"*-{container}-*"):
            result.unlink(missing_ok=True)
    services.stop("containerd")
    for shim in _shims():
        with contextlib.suppress(ProcessLookupError):
            os.kill(shim, signal.SIGKILL)


def _shims() -> Iterator[int]:
    """Yield the helper processes that containerd left, one a container."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"containerd-shim-runc-v2") and str(places.CONTAINERD_SOCKET).encode() in words:
                yield int(folder.name)


def _unmount_below(*folders: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted(mounts, reverse=True):  # what is mounted inside comes first
        if any(folder in (Path(mount), *Path(mount).parents) for folder in folders):
            _quietly("umount", "-l", mount)


def _clear_network(kube_proxy: Path | None) -> None:
    for link in Path(f"/sys/class/net/{places.BRIDGE}/brif").glob("*"):
        _quietly("ip", "link", "del", link.name)
    _quietly("ip", "link", "del", places.BRIDGE)
    _quietly("ip", "addr", "del", f"{places.API_ADDRESS}/32", "dev", "lo")
    shutil.rmtree(places.CNI / "networks" / places.CNI_NAME, ignore_errors=True)
    if kube_proxy is not None:
        _quietly(str(kube_proxy), "--cleanup")
    for program in ("iptables", "ip6tables"):
        for words in (("-D", "INPUT", "-j"), ("-D", "OUTPUT", "-j"), ("-F",), ("-X",)):
            _quietly(program, *words, _FIREWALL)


def _remove_cgroups() -> None:
    """Remove the groups of pods; only empty ones can be removed, so those of others are safe."""
    hierarchies = [
        Path("/sys/fs/cgroup"),
        *(path for path in Path("/sys/fs/cgroup").iterdir() if not path.is_symlink()),
    ]
    for hierarchy in hierarchies:
        for name in ("kubepods", "k8s.io"):
            for folder, _, _ in os.walk(hierarchy / name, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


def _quietly(*command: str) -> None:
    """Run a command whose failure means that there is nothing to clear away."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, env=environment)

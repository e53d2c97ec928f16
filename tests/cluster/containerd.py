"""The node's container runtime: a containerd with a socket, a store and a network of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from ..rigs.processes import program
from . import places
from .services import Component

PAUSE = "docker.io/local/pause:1"
_CNI_PLUGINS = "/usr/lib/cni"

# restrict_oom_score_adj: without it each sandbox dies of "can't get final child's PID from pipe: EOF" where the score can't
# be lowered. A partial file is completed with containerd's defaults.
_CONFIG = f"""
version = 2
root = "{places.IMAGES}"
state = "{places.CONTAINERD}/state"
[grpc]
  address = "{places.CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI_PLUGINS}"
    conf_dir = "{places.CONTAINERD}/cni"
"""
_NETWORK = {
    "cniVersion": "0.4.0",
    "name": places.CNI_NAME,
    "plugins": [
        {
            "type": "bridge",
            "bridge": places.BRIDGE,
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": places.PODS_NET}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}


def containerd() -> Component:
    """Return the runtime; its files are written.

    Raises:
        RigUnavailable: It is not installed.
    """
    network = places.CONTAINERD / "cni" / f"10-{places.CNI_NAME}.conflist"
    network.parent.mkdir(parents=True, exist_ok=True)
    network.write_text(json.dumps(_NETWORK), encoding="utf-8")
    config = places.CONTAINERD / "containerd.toml"
    config.write_text(_CONFIG, encoding="utf-8")
    command = (program("containerd", package="containerd"), "--config", str(config))
    return Component("containerd", command, ready=lambda: ctr("version").returncode == 0)


def ctr(*words: str) -> subprocess.CompletedProcess[str]:
    """Ask the runtime something; whether it worked is in the return code."""
    return subprocess.run(
        ctr_command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120
    )


def ctr_command(*words: str) -> Sequence[str]:
    """Return the command that talks to our runtime, in the namespace of Kubernetes."""
    return (program("ctr", package="containerd"), "-a", str(places.CONTAINERD_SOCKET), "-n", "k8s.io", *words)


def digests() -> dict[str, str]:
    """Return all images by name with their digests."""
    rows = [line.split() for line in ctr("images", "ls").stdout.splitlines()[1:]]
    return {row[0]: row[2] for row in rows}


def remove_containers() -> list[str]:
    """Kill and forget every container and return their ids; images stay."""
    for task in ctr("tasks", "ls", "-q").stdout.split():
        ctr("tasks", "kill", "-a", "-s", "KILL", task)
    for task in ctr("tasks", "ls", "-q").stdout.split():
        ctr("tasks", "rm", "-f", task)
    removed = ctr("containers", "ls", "-q").stdout.split()
    for container in removed:
        ctr("containers", "rm", container)
    return removed

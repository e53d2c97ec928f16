"""The real node: a kubelet whose pods really run, and the proxy that gives services their addresses."""

from __future__ import annotations

from pathlib import Path

import yaml

from . import places
from .api import KubeApi, wait_until
from .control_plane import answers
from .pki import Credentials
from .services import Component

GPU = "nvidia.com/gpu"
MODEL_LABEL = "gpu.nvidia.com/model"
MODEL = "Quadro_RTX_4000"
_HEALTH_PORT = 10248
_PROXY_HEALTH = f"{places.LOOPBACK}:10256"
_KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "cgroupDriver": "cgroupfs",
    "failSwapOn": False,
    "containerRuntimeEndpoint": f"unix://{places.CONTAINERD_SOCKET}",
    # The API server asks it for logs without a certificate.
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    "healthzBindAddress": places.LOOPBACK,
    "healthzPort": _HEALTH_PORT,
    "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    "imageGCHighThresholdPercent": 100,  # what it removes nobody could pull again
    "imageGCLowThresholdPercent": 99,
    "enforceNodeAllocatable": [],
    "makeIPTablesUtilChains": False,
}


def kubelet(program: Path, credentials: Credentials) -> Component:
    """Return the kubelet; its configuration is written."""
    config = places.RUN / "kubelet.yaml"
    config.write_text(yaml.safe_dump(_KUBELET), encoding="utf-8")
    return Component(
        "kubelet",
        (
            str(program),
            *("--kubeconfig", str(credentials.kubeconfigs["admin"]), "--config", str(config)),
            *("--root-dir", str(places.KUBELET), "--cert-dir", str(places.KUBELET / "pki")),
            *("--hostname-override", places.NODE, "--node-ip", places.API_ADDRESS),
            *("--node-labels", f"{MODEL_LABEL}={MODEL}"),
        ),
        ready=lambda: answers(f"http://{places.LOOPBACK}:{_HEALTH_PORT}/healthz"),
        lives=20,  # containerd answers before its CRI part does: a kubelet that comes too early dies
    )


def kube_proxy(program: Path, credentials: Credentials) -> Component:
    """Return what makes the addresses and node ports of services work."""
    return Component(
        "kube-proxy",
        (
            str(program),
            *("--kubeconfig", str(credentials.kubeconfigs["admin"]), "--proxy-mode", "iptables"),
            *("--hostname-override", places.NODE, "--cluster-cidr", places.PODS_NET),
            *("--conntrack-max-per-core", "0"),  # else it wants to write settings of the kernel
            *("--healthz-bind-address", _PROXY_HEALTH, "--metrics-bind-address", f"{places.LOOPBACK}:10249"),
        ),
        ready=lambda: answers(f"http://{_PROXY_HEALTH}/livez"),
    )


def give_gpus(api: KubeApi, count: int) -> None:
    """Let the node claim GPUs that it does not have: plans that ask for one are scheduled there and render on the CPU.

    A kubelet that starts takes them away again.
    """
    wait_until(lambda: is_ready(api, places.NODE), f"{places.NODE} is ready")
    amount = {GPU: str(count)}
    api.patch("Node", places.NODE, {"status": {"capacity": amount, "allocatable": amount}}, subresource="status")


def is_ready(api: KubeApi, node: str) -> bool:
    """Tell whether the control plane takes a node for alive."""
    if not api.exists("Node", node):
        return False
    conditions = api.get("Node", node)["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

"""The control plane: etcd, API server, controller manager and scheduler, started by hand."""

from __future__ import annotations

import contextlib
from pathlib import Path

import requests

from . import places
from .api import ApiRefused, KubeApi
from .pki import Credentials
from .services import Component


def etcd(program: Path) -> Component:
    """Return the database; its data is forgotten with the cluster, so it may skip waiting for the disk."""
    peer = f"http://{places.LOOPBACK}:2380"
    return Component(
        "etcd",
        (
            str(program),
            *("--data-dir", str(places.RUN / "etcd"), "--name", "default"),
            *("--listen-client-urls", places.ETCD, "--advertise-client-urls", places.ETCD),
            *(
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                f"default={peer}",
            ),
            *("--quota-backend-bytes", str(4 << 30), "--auto-compaction-mode", "periodic"),
            *("--auto-compaction-retention", "5m", "--unsafe-no-fsync", "--log-level", "warn"),
        ),
        ready=lambda: answers(f"{places.ETCD}/health"),
    )


def apiserver(program: Path, credentials: Credentials, api: KubeApi) -> Component:
    """Return the API server; it listens on the address of the service `kubernetes` alone, so the port 443 is free elsewhere."""
    certificate, key = credentials.server
    accounts = str(credentials.service_accounts)

    def ready() -> bool:
        with contextlib.suppress(requests.RequestException, ApiRefused):
            return bool(api.request("GET", "readyz", timeout=5) == "ok")
        return False

    return Component(
        "apiserver",
        (
            str(program),
            *("--etcd-servers", places.ETCD, "--bind-address", places.API_ADDRESS, "--secure-port", "443"),
            *("--tls-cert-file", str(certificate), "--tls-private-key-file", str(key)),
            *("--client-ca-file", str(credentials.ca), "--token-auth-file", str(credentials.tokens)),
            *("--service-account-key-file", accounts, "--service-account-signing-key-file", accounts),
            *("--service-account-issuer", "https://kubernetes.default.svc", "--authorization-mode", "Node,RBAC"),
            *("--service-cluster-ip-range", places.SERVICES_NET, "--endpoint-reconciler-type", "none"),
            *("--kubelet-preferred-address-types", "InternalIP", "--allow-privileged", "--event-ttl", "10m"),
        ),
        ready=ready,
        patience=90,
    )


def controller_manager(program: Path, credentials: Credentials) -> Component:
    """Return the controllers of Kubernetes: tokens and accounts, garbage, lost nodes."""
    return Component(
        "controller-manager",
        (
            str(program),
            *("--kubeconfig", str(credentials.kubeconfigs["admin"]), "--root-ca-file", str(credentials.ca)),
            *("--service-account-private-key-file", str(credentials.service_accounts)),
            *("--leader-elect=false", "--secure-port", "0", "--node-monitor-grace-period", "40s"),
        ),
        ready=lambda: True,  # it has no port; what it makes is waited for
    )


def scheduler(program: Path, credentials: Credentials) -> Component:
    """Return the real scheduler: it counts GPUs, and says why a pod has no node."""
    kubeconfig = str(credentials.kubeconfigs["admin"])
    return Component(
        "scheduler",
        (str(program), "--kubeconfig", kubeconfig, "--leader-elect=false", "--secure-port", "0"),
        ready=lambda: True,
    )


def answers(url: str) -> bool:
    """Tell whether a server on this machine answers with success."""
    with requests.Session() as session:
        session.trust_env = False
        with contextlib.suppress(requests.RequestException):
            return session.get(url, timeout=2).ok
    return False

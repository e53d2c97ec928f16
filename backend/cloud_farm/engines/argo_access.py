"""How a cluster is reached: the `kubernetes` part of a farm's profile that is about the way there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..authorities import authorities_file
from ..errors import ProfileError
from ..profile import FarmProfile, named_file
from ..secrets import resolve


@dataclass(frozen=True)
class ClusterAccess:
    """Where a cluster's API is and who we are there.

    Attributes:
        kubeconfig: File; empty takes KUBECONFIG or ~/.kube/config, and inside a cluster the pod's own service account.
        context: Of the kubeconfig; empty takes its current one.
        server: Address, in place of a kubeconfig.
        token: Bearer token for `server`.
        ca_file: Certificates to trust for `server`, in place of the system's; `ca` in the profile has them in itself.
    """

    kubeconfig: str = ""
    context: str = ""
    server: str = ""
    token: str = field(default="", repr=False)
    ca_file: str = ""


def read_access(profile: FarmProfile, *, environ: Mapping[str, str] | None = None) -> ClusterAccess:
    """Read how a farm's cluster is reached and look the token up.

    Raises:
        ProfileError: Something is missing or contradicts, or the token is not where the profile says.
    """
    data, where = profile.kubernetes, f"Farm profile '{profile.name}': kubernetes"
    server = _server(data.get("server"), where)
    by_file = [key for key in ("kubeconfig", "context") if data.get(key)]
    by_address = [key for key in ("token", "ca_file", "ca") if data.get(key)]
    if server and by_file:
        raise ProfileError(f"{where} has both server and {by_file[0]}. Name one way to the cluster.")
    if by_address and not server:
        raise ProfileError(f"{where}.{by_address[0]} needs kubernetes.server beside it; a kubeconfig has its own.")
    if server and not data.get("token"):
        raise ProfileError(f"{where}.server needs a token: {{env: NAME}}, {{file: PATH}} or {{keyring: NAME}}.")
    return ClusterAccess(
        kubeconfig=named_file(data.get("kubeconfig"), f"{where}.kubeconfig"),
        context=str(data.get("context") or ""),
        server=server,
        token=resolve(data["token"], what=f"{where}.token", environ=environ) if server else "",
        ca_file=authorities_file(data, where),
    )


def _server(value: Any, where: str) -> str:
    server = str(value or "").rstrip("/")
    try:
        parts = urlsplit(server)
        good = not server or (
            parts.scheme == "https" and bool(parts.hostname) and not parts.username and not parts.query
        )
    except ValueError:
        good = False
    if not good:
        raise ProfileError(f"{where}.server should look like https://cluster.example.com:6443, not '{server}'.")
    return server

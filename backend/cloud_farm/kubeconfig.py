"""What of a kubeconfig somebody on another computer could use: where the cluster is and whom to trust, never who we are."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .authorities import certificates_in, certificates_of
from .errors import ProfileError
from .profile import read_profile_file

_SAID_BY_PROFILES = {"server", "certificate-authority", "certificate-authority-data"}
_MEANS_NOTHING = {"extensions", "disable-compression"}
_OWN_TO_A_COMPUTER = {"exec", "auth-provider"}


@dataclass(frozen=True)
class KubeContext:
    """One context of a kubeconfig.

    Attributes:
        name: Of the context.
        namespace: Empty where it names none.
        server: Address of the cluster; empty where a profile can't say all that it takes to reach it, or where the login is a
            program of this computer: then everybody needs a kubeconfig.
        ca: The cluster's authority, PEM; empty trusts the system's.
    """

    name: str
    namespace: str = ""
    server: str = ""
    ca: str = ""


def read_context(kubernetes: Mapping[str, Any]) -> KubeContext | None:
    """Return the context that the `kubernetes` part of a profile means; None if no kubeconfig here has it.

    Raises:
        ProfileError: A kubeconfig or a file that it names can't be read.
    """
    configs = list(_configs(kubernetes))
    current = (str(data["current-context"]) for _, data in configs if data.get("current-context"))
    name = str(kubernetes.get("context") or next(current, ""))
    _, context = _entry(configs, "context", name)
    if not context:
        return None
    home, cluster = _entry(configs, "cluster", context.get("cluster"))
    _, user = _entry(configs, "user", context.get("user"))
    found = KubeContext(name, str(context.get("namespace") or ""))
    said = {key for key, value in cluster.items() if value} <= _SAID_BY_PROFILES | _MEANS_NOTHING
    server = str(cluster.get("server") or "")
    if not said or not server.startswith("https://") or _OWN_TO_A_COMPUTER & user.keys():
        return found
    return KubeContext(name, found.namespace, server, _authority(cluster, home))


def _configs(kubernetes: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the kubeconfigs that count, with their paths, as kubectl finds them."""
    named = str(kubernetes.get("kubeconfig") or "")
    paths = [named] if named else (os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)
    for path in (Path(text).expanduser() for text in paths if text):
        if path.is_file():
            yield path, read_profile_file(path, what="kubeconfig")


def _entry(configs: list[tuple[Path, dict[str, Any]]], kind: str, name: Any) -> tuple[Path, dict[str, Any]]:
    """Return the first entry of that name, with the folder of its file; an empty one if there is none."""
    for path, data in configs:
        for item in data.get(f"{kind}s") or ():
            if isinstance(item, dict) and item.get("name") == name and isinstance(item.get(kind), dict):
                return path.parent, item[kind]
    return Path(), {}


def _authority(cluster: Mapping[str, Any], home: Path) -> str:
    if data := cluster.get("certificate-authority-data"):
        try:
            return certificates_in(base64.b64decode(str(data), validate=True).decode(), "The kubeconfig's cluster")
        except ValueError as error:
            raise ProfileError(f"The kubeconfig's certificate-authority-data can't be read: {error}.") from error
    if path := cluster.get("certificate-authority"):
        return certificates_of(home / Path(str(path)).expanduser(), "The kubeconfig's certificate-authority")
    return ""

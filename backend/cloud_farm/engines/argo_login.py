"""A client of a cluster's API, logged in by a kubeconfig, by a token, or as the pod that we run in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, kube_config, load_incluster_config

from ..errors import ProfileError
from .argo_access import ClusterAccess
from .argo_exec import login_by_command

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LONGEST_WAIT = 30


class _BusyRetry(urllib3.Retry):
    """Waits as long as the server says, within reason; a limit of its own came with urllib3 2.6, and Blender 4.2 has 1.26."""

    def get_retry_after(self, response: Any) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, _LONGEST_WAIT)


_BUSY_RETRIES = _BusyRetry(
    total=4, connect=0, read=0, redirect=0, other=0, allowed_methods=None, status_forcelist=(), raise_on_status=False
)
"""A server that has too much to do says when to come again, having done nothing (429 or 503 with Retry-After); all else is not
repeated here."""


def connect(access: ClusterAccess) -> tuple[ApiClient, str]:
    """Make a client; returns it with the namespace that its configuration names.

    Raises:
        ProfileError: The kubeconfig can't be read, or says nothing of the way.
        EngineLoginError: The command by which the kubeconfig logs in failed.
    """
    configuration = Configuration()
    configuration.retries = _BUSY_RETRIES
    try:
        if access.server:
            configuration.host = access.server
            configuration.ssl_ca_cert = access.ca_file or None
            configuration.api_key = {"authorization": f"Bearer {access.token}"}
            return ApiClient(configuration), ""
        if not access.kubeconfig and not _has_kubeconfig() and SERVICE_ACCOUNT.is_dir():
            load_incluster_config(client_configuration=configuration)
            return ApiClient(configuration), (SERVICE_ACCOUNT / "namespace").read_text(encoding="ascii").strip()
        namespace = _load_kubeconfig(access, configuration)
        return ApiClient(configuration), namespace
    except (ConfigException, OSError, ValueError) as error:
        raise ProfileError(
            f"The way to the cluster can't be read: {error}. Name a kubeconfig and context in the farm's profile (kubernetes.kubeconfig,"
            " kubernetes.context), or server, token and ca_file."
        ) from error


def _has_kubeconfig() -> bool:
    return bool(os.environ.get("KUBECONFIG")) or (Path.home() / ".kube" / "config").exists()


def _load_kubeconfig(access: ClusterAccess, configuration: Configuration) -> str:
    """Take address and login from a kubeconfig; returns the namespace of its context."""
    content = kube_config.KubeConfigMerger(access.kubeconfig or kube_config.KUBE_CONFIG_DEFAULT_LOCATION).config
    loader = kube_config.KubeConfigLoader(content, active_context=access.context or None, config_base_path=None)
    context = loader.current_context["context"]
    users = content["users"] if content.safe_get("users") else None
    item = users.get_with_name(context.get("user"), safe=True) if users else None
    user = (item.value.get("user") or {}) if item else {}
    if item and "exec" in user:
        cluster = content["clusters"].get_with_name(context["cluster"])
        # Kubernetes' library would only log that the command failed, and go on as nobody.
        user |= login_by_command(user.pop("exec"), _folder(item), cluster.value.get("cluster") or {}, _folder(cluster))
    loader.load_and_set(configuration)
    return str(context.get("namespace") or "")


def _folder(entry: kube_config.ConfigNode) -> Path:
    """Where the kubeconfig lies that has this entry: there may be several."""
    return Path(entry.path or "").parent

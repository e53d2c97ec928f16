"""The components of the cluster by name, in the order in which they start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from . import argo, control_plane, kwok, node
from .api import KubeApi
from .argo import ArgoFlavour, ControllerSettings
from .binaries import ETCD, KUBE
from .containerd import containerd
from .pki import Credentials
from .services import Component


class Site(Protocol):
    """What of the cluster its components must know."""

    flavour: ArgoFlavour
    controller: ControllerSettings
    credentials: Credentials

    @property
    def api(self) -> KubeApi: ...


def _etcd(_site: Site) -> Component:
    return control_plane.etcd(ETCD.folder / "etcd")


def _apiserver(site: Site) -> Component:
    return control_plane.apiserver(KUBE.folder / "kube-apiserver", site.credentials, site.api)


def _workflow_controller(site: Site) -> Component:
    return argo.workflow_controller(site.flavour, site.credentials, site.controller)


def _of_kubernetes(make: Callable[..., Component], program: str) -> Callable[[Site], Component]:
    return lambda site: make(KUBE.folder / program, site.credentials)


KUBERNETES: dict[str, Callable[[Site], Component]] = {
    "etcd": _etcd,
    "apiserver": _apiserver,
    "controller-manager": _of_kubernetes(control_plane.controller_manager, "kube-controller-manager"),
    "scheduler": _of_kubernetes(control_plane.scheduler, "kube-scheduler"),
    "containerd": lambda _site: containerd(),
    "kubelet": _of_kubernetes(node.kubelet, "kubelet"),
    "kube-proxy": _of_kubernetes(node.kube_proxy, "kube-proxy"),
}
LATER: dict[str, Callable[[Site], Component]] = {
    "workflow-controller": _workflow_controller,
    "kwok": lambda site: kwok.kwok(site.credentials),
}


def component(name: str, site: Site) -> Component:
    """Return what starts a component."""
    return {**KUBERNETES, **LATER}[name](site)

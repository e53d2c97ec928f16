"""The whole cluster: up, down, and what a test may do to it."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import signal
import string
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..rigs.processes import RigUnavailable, program
from . import argo, images, kwok, node, places
from .api import KubeApi, wait_until
from .argo import ArgoFlavour, ControllerSettings
from .binaries import FAMILIES, KUBE, build
from .components import KUBERNETES, LATER, component
from .containerd import containerd
from .control_plane import answers
from .kwok import FakeNodes
from .leftovers import clear
from .pki import Credentials, make_credentials
from .services import Services

PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "openssl": "openssl",
    "debootstrap": "debootstrap",
    "gcc": "gcc libc6-dev",
}
_MANIFESTS = Path(__file__).parent / "manifests"
_GPUS = 2
_BOT = "bot"


def require_programs() -> None:
    """Look for what the cluster needs of this machine.

    Raises:
        RigUnavailable: Not root, or a program is missing.
    """
    if os.geteuid() != 0:
        raise RigUnavailable("the cluster needs root")
    for name, package in PROGRAMS.items():
        program(name, package=package)
    if not Path("/usr/lib/cni/bridge").exists():
        raise RigUnavailable("the cluster needs the CNI plugins: apt-get install containernetworking-plugins")


def build_programs() -> None:
    """Build what is not in the cache yet."""
    for family in FAMILIES:
        build(family)


def make_images() -> None:
    """Make the images that are not there yet, by a runtime that is started for it if the cluster is down."""
    services = Services(places.SERVICES)
    places.SERVICES.mkdir(parents=True, exist_ok=True)
    starts = services.pid("containerd") is None
    if starts:
        services.start(containerd())
    try:
        images.make_images()
    finally:
        if starts:
            services.stop("containerd")


@dataclass(frozen=True)
class Login:
    """Who may use FileBrowser."""

    user: str
    password: str


class Cluster:
    """A running cluster of this machine.

    Attributes:
        flavour: The Argo that runs.
        controller: How Argo's controller is set up.
        credentials: Kubeconfigs and tokens of its users: admin, artist, stranger.
        api: The API server as the admin sees it.
        namespace: Where Workflows are.
        volume: The shared volume as a folder of this machine.
        filebrowser_url: Where FileBrowser answers, through its node port.
        node: The name of the real node.
        services: The processes.
    """

    namespace = places.NAMESPACE
    volume = places.VOLUME
    filebrowser_url = places.FILEBROWSER_URL
    node = places.NODE

    def __init__(self, flavour: ArgoFlavour) -> None:
        self.flavour = flavour
        self.services = Services(places.SERVICES)
        self.credentials = Credentials.below(places.RUN / "pki")
        self.controller = ControllerSettings()

    # -- up and down ---------------------------------------------------------------------------------------------------

    @classmethod
    def up(cls, flavour: ArgoFlavour | None = None) -> Cluster:
        """Start everything, once whatever an earlier run left is cleared away; programs and images must be there.

        Raises:
            RuntimeError: Something does not start; the message has the end of its log.
        """
        cluster = cls(flavour or ArgoFlavour())
        cluster.down()
        try:
            cluster._start()
        except BaseException:
            cluster.down()
            raise
        return cluster

    def down(self) -> None:
        """Stop everything and forget its state; images and programs stay."""
        proxy = KUBE.folder / "kube-proxy"
        clear(self.services, kube_proxy=proxy if proxy.exists() else None)

    def _start(self) -> None:
        for folder in (places.RUN, places.SERVICES, places.VOLUME):
            folder.mkdir(parents=True, exist_ok=True)
        for log in places.SERVICES.glob("*.log"):
            log.unlink()
        os.chown(places.VOLUME, 0, places.GID)
        places.VOLUME.chmod(0o2775)  # what is made below belongs to the group too
        self.credentials = make_credentials(places.RUN / "pki")
        subprocess.run(["ip", "addr", "add", f"{places.API_ADDRESS}/32", "dev", "lo"], check=True, capture_output=True)
        for name in KUBERNETES:
            self.start(name)
            if name == "apiserver":
                self._apply("api_server", address=places.API_ADDRESS)
        self._furnish()
        argo.install_definitions(self.api, self.flavour)
        for name in LATER:
            self.start(name)
        self.wait_for_filebrowser()
        self.services.check()

    def _furnish(self) -> None:
        self._apply("namespace", namespace=self.namespace, volume=str(self.volume))
        self._apply(
            "filebrowser",
            user=_BOT,
            password=secrets.token_hex(12),
            node=self.node,
            uid=str(places.FILEBROWSER_UID),
            gid=str(places.GID),
            image=images.FILEBROWSER,
            port=str(places.FILEBROWSER_PORT),
        )

    def _apply(self, manifest: str, **values: str) -> None:
        text = (_MANIFESTS / f"{manifest}.yaml").read_text(encoding="utf-8")
        self.api.apply_text(string.Template(text).substitute(values))

    # -- who and what --------------------------------------------------------------------------------------------------

    @functools.cached_property
    def api(self) -> KubeApi:
        """The API server as the admin sees it."""
        return self.api_as("admin")

    def api_as(self, user: str) -> KubeApi:
        """Return the API server as a user sees it: admin, artist, stranger."""
        token = self.credentials.token(user)
        return KubeApi(places.API_SERVER, self.credentials.ca, token=token, namespace=self.namespace)

    def kubeconfig(self, user: str = "artist") -> Path:
        """Return the kubeconfig of admin, artist, artist-certificate or stranger."""
        return self.credentials.kubeconfigs[user]

    @property
    def filebrowser_login(self) -> Login:
        """The bot user; a restarted pod has the same one."""
        secret = self.api.get("Secret", "filebrowser-bot")
        return Login(**{key.removeprefix("BOT_").lower(): _decoded(text) for key, text in secret["data"].items()})

    @property
    def blender_image(self) -> str:
        """The image with Debian's Blender, by digest; the node has it."""
        return images.by_digest(images.BLENDER)

    @property
    def shell_image(self) -> str:
        """A small image with a shell."""
        return images.FILEBROWSER

    # -- components ----------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a component and wait until it is ready: etcd, apiserver, kubelet, workflow-controller …

        Raises:
            RuntimeError: It does not start; the message has the end of its log.
        """
        self.services.start(component(name, self))
        if name == "kubelet":
            node.give_gpus(self.api, _GPUS)

    def stop(self, name: str, sign: signal.Signals = signal.SIGTERM) -> None:
        """Stop a component, politely or with SIGKILL."""
        self.services.stop(name, sign)

    def restart(self, name: str, sign: signal.Signals = signal.SIGKILL) -> None:
        """Stop a component and start it again."""
        self.stop(name, sign)
        self.start(name)

    @contextlib.contextmanager
    def without(self, *names: str, sign: signal.Signals = signal.SIGTERM) -> Iterator[None]:
        """Run a block while components are down; afterwards they run again, whatever happened."""
        try:
            for name in names:
                self.stop(name, sign)
            yield
        finally:
            for name in reversed(names):
                self.start(name)

    # -- Argo, nodes, pods ---------------------------------------------------------------------------------------------

    def use_argo(self, flavour: ArgoFlavour, controller: ControllerSettings | None = None) -> None:
        """Run another Argo, or the same one set up in another way; every Workflow is deleted."""
        self.stop("workflow-controller")
        for kind in ("Workflow", "WorkflowTemplate", "WorkflowTaskResult"):
            self.api.delete_all(kind)
        self.api.delete_all("Pod", labels="workflows.argoproj.io/workflow")
        argo.install_definitions(self.api, flavour)
        self.flavour, self.controller = flavour, controller or ControllerSettings()
        self.start("workflow-controller")

    def add_nodes(self, nodes: FakeNodes) -> list[str]:
        """Add pretended nodes and return their names."""
        return kwok.add_nodes(self.api, nodes)

    def remove_nodes(self) -> None:
        """Remove all pretended nodes."""
        kwok.remove_nodes(self.api)

    def log(self, pod: str, *, container: str = "main") -> str:
        """Return what a container of a pod printed."""
        text: str = self.api.request("GET", f"{self.api.path('Pod', pod)}/log", params={"container": container})
        return text

    def wait_for_filebrowser(self) -> None:
        """Wait until FileBrowser answers through its node port."""

        def is_there() -> bool:
            self.services.check()  # who waits for the last one wants to hear of the first that died
            return answers(f"{self.filebrowser_url}/health")

        wait_until(is_there, "FileBrowser answers", patience=120)

    def wait_for_workflow(self, name: str, *, patience: float = 120.0) -> Any:
        """Wait until a Workflow has ended and return it."""
        ended = {"Succeeded", "Failed", "Error"}

        def has_ended() -> bool:
            return self.api.get("Workflow", name).get("status", {}).get("phase") in ended

        wait_until(has_ended, f"Workflow {name} ends", patience=patience)
        return self.api.get("Workflow", name)


def _decoded(text: str) -> str:
    return b64decode(text).decode()

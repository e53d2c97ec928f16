"""The cluster for tests, by hand.

    python -m tests.cluster build              build all programs into the cache (about 15 minutes from nothing)
    python -m tests.cluster images             make the images of the pods
    python -m tests.cluster up [--argo V] [--crds full|minimal] [--nodes N]
    python -m tests.cluster status             what runs, and its memory
    python -m tests.cluster down

Needs root, Go and the Debian packages that it names. Test runs with --cluster use a cluster that is up, else start their own.
"""

from __future__ import annotations

import argparse
import sys
import time

from ..rigs.processes import RigUnavailable
from . import places
from .argo import FLAVOURS, ArgoFlavour
from .binaries import FAMILIES, build
from .farm import Cluster, build_programs, make_images, require_programs
from .kwok import FakeNodes
from .session import claimed, guard_until_closed, up_by_hand

_PATIENCE = 5.0


def main(arguments: list[str]) -> int:
    """Carry out one command."""
    options = _parser().parse_args(arguments)
    commands = {
        "build": _build,
        "images": _images,
        "up": lambda: _up(ArgoFlavour(options.argo, options.crds), options.nodes),
        "down": _down,
        "status": _status,
        "guard": guard_until_closed,
    }
    try:
        commands[options.command]()
    except (RigUnavailable, RuntimeError, TimeoutError) as error:
        _say(f"{error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("build", "images", "up", "down", "status", "guard"))
    parser.add_argument(
        "--argo", choices=sorted({flavour.version for flavour in FLAVOURS}), default=FLAVOURS[0].version
    )
    parser.add_argument("--crds", choices=("full", "minimal"), default="full")
    parser.add_argument("--nodes", type=int, default=0, help="pretended nodes with 8 GPUs each")
    return parser


def _build() -> None:
    for family in FAMILIES:
        begin = time.monotonic()
        folder = build(family)
        _say(f"{folder.name}: {time.monotonic() - begin:.0f} s")


def _images() -> None:
    require_programs()
    build_programs()
    begin = time.monotonic()
    with claimed(_PATIENCE):
        make_images()
    _say(f"images: {time.monotonic() - begin:.0f} s")


def _up(flavour: ArgoFlavour, nodes: int) -> None:
    require_programs()
    build_programs()
    with claimed(_PATIENCE):
        make_images()
        begin = time.monotonic()
        cluster = up_by_hand(flavour)
        if nodes:
            cluster.add_nodes(FakeNodes(nodes))
    login = cluster.filebrowser_login
    _say(f"up with Argo {flavour} after {time.monotonic() - begin:.0f} s")
    _say(f"KUBECONFIG={cluster.kubeconfig('admin')}")
    _say(
        f"FileBrowser: {cluster.filebrowser_url}, user {login.user}, password {login.password}; volume: {cluster.volume}"
    )


def _down() -> None:
    begin = time.monotonic()
    with claimed(_PATIENCE):
        Cluster(ArgoFlavour()).down()
    _say(f"down after {time.monotonic() - begin:.0f} s")


def _status() -> None:
    services = Cluster(ArgoFlavour()).services
    for name in services.names():
        pid = services.pid(name)
        _say(
            f"{name:22} {f'pid {pid}, {services.memory(name) >> 20} MiB' if pid else f'died, see {services.log(name)}'}"
        )
    _say(f"{len(services.names())} services; logs are in {places.SERVICES}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

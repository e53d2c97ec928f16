"""The programs of a Kubernetes with Argo and kwok, built from their Go modules once and kept in the user's cache folder.

One go.mod a product family (in `go/`), so that their Kubernetes libraries don't mix; a build that was cut off goes on from
Go's own caches. From nothing it takes about a quarter of an hour on two cores.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..rigs.go_build import cache_folder, make_once, module_folder, pinned, run_go, writable_copy

_GO = Path(__file__).parent / "go"
_RECIPE = "3"  # raise it when the way to build changes: cached programs are then built anew
_BUILD_SECONDS = 3600.0
_KUBE_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")


@dataclass(frozen=True)
class Family:
    """Programs that one Go module has.

    Attributes:
        name: Its folder below `go/`.
        module: What its go.mod requires.
        packages: What to build; a package's last part is the program's name.
        rename: The program's name where that is another.
        labels: Variables to set at link time.
        source: Build inside a copy of the module, once this has mended it; for modules that don't build as dependencies.
        data: Copies out of the module's folder what else the rig needs.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    rename: str = ""
    labels: tuple[str, ...] = ()
    source: Callable[[Path], None] | None = None
    data: Callable[[Path, Path], None] | None = None

    @property
    def go_mod(self) -> Path:
        """The file that pins the version."""
        return _GO / self.name / "go.mod"

    @property
    def version(self) -> str:
        """Without the v."""
        return pinned(self.go_mod, self.module)

    @property
    def folder(self) -> Path:
        """Where the programs are once they are built."""
        recipe = hashlib.sha256(f"{_RECIPE} {self.go_mod.read_text(encoding='utf-8')}".encode()).hexdigest()[:8]
        return cache_folder() / "cluster" / f"{self.name}-{self.version}-{recipe}"


def build(family: Family) -> Path:
    """Return the folder with a family's programs; they are built if they aren't there. Parallel calls build once.

    Raises:
        RigUnavailable: There is no Go, or the module proxy does not hand out the module.
        RuntimeError: It does not compile.
    """
    return make_once(family.folder, lambda: _build(family), patience=_BUILD_SECONDS)


def _build(family: Family) -> None:
    parent = family.folder.parent
    # Beside the finished folder, so that it can be renamed into place; and go.sum stays out of the checkout.
    with tempfile.TemporaryDirectory(dir=parent, prefix="build-") as name:
        work = Path(name)
        made = work / "made"
        made.mkdir()
        shutil.copyfile(family.go_mod, work / "go.mod")
        module = module_folder(work, family.module, family.version, patience=_BUILD_SECONDS)
        if family.source is None:
            _compile(family, work, made)
        else:
            copy = work / "source"
            writable_copy(module, copy)
            family.source(copy)
            _compile(family, copy, made, mod="readonly")  # with its own go.mod and go.sum
        if family.rename:
            next(made.iterdir()).rename(made / family.rename)
        if family.data is not None:
            family.data(module, made)
        os.replace(made, family.folder)


def _compile(family: Family, folder: Path, made: Path, *, mod: str = "mod") -> None:
    labels = " ".join(f"-X {label.format(version=family.version)}" for label in family.labels)
    words = ("build", "-trimpath", "-ldflags", f"-s -w {labels}", "-o", f"{made}/", *family.packages)
    done = run_go(folder, *words, mod=mod, patience=_BUILD_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{family.name} {family.version} does not compile: {done.stderr[-2000:]}")


# -- what each family needs besides -------------------------------------------------------------------------------------


def _mend_argo(source: Path) -> None:
    """Make again what a module's archive can't carry: a symbolic link, and the web pages that the server embeds."""
    for signals in source.glob("workflow/executor/os*specific/signal_darwin.go"):
        shutil.copyfile(signals, signals.with_name("signal_linux.go"))
    page = source / "ui" / "dist" / "app" / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()


def _argo_crds(module: Path, made: Path) -> None:
    """Write the resource definitions as JSON: as YAML the largest is over the API server's 3 MiB for one request."""
    for path in module.glob("manifests/base/crds/*/argoproj*.yaml"):
        target = made / "crds" / path.parent.name / f"{path.stem}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        target.write_text(json.dumps(yaml.load(path.read_text(encoding="utf-8"), Loader=loader)), encoding="utf-8")


def _kwok_stages(module: Path, made: Path) -> None:
    shutil.copytree(module / "kustomize" / "stage", made / "stage", copy_function=shutil.copyfile)


_ARGO = "github.com/argoproj/argo-workflows/v3"


def _argo(minor: str) -> Family:
    return Family(
        f"argo-{minor}",
        _ARGO,
        ("./cmd/workflow-controller", "./cmd/argoexec", "./cmd/argo"),
        labels=(f"{_ARGO}.version=v{{version}}", f"{_ARGO}.gitTag=v{{version}}"),
        source=_mend_argo,
        data=_argo_crds,
    )


ETCD = Family("etcd", "go.etcd.io/etcd/server/v3", ("go.etcd.io/etcd/server/v3",), rename="etcd")
KUBE = Family(
    "kube",
    "k8s.io/kubernetes",
    tuple(f"k8s.io/kubernetes/cmd/{program}" for program in _KUBE_PROGRAMS),
    labels=(
        "k8s.io/component-base/version.gitVersion=v{version}",
        "k8s.io/component-base/version.gitMajor=1",
        "k8s.io/component-base/version.gitMinor=34",
        "k8s.io/client-go/pkg/version.gitVersion=v{version}",
    ),
)
KWOK = Family("kwok", "sigs.k8s.io/kwok", ("sigs.k8s.io/kwok/cmd/kwok",), data=_kwok_stages)
ARGO = {family.version: family for family in (_argo("3.7"), _argo("3.6"))}
FAMILIES = (ETCD, KUBE, KWOK, *ARGO.values())

"""The container images of the cluster, made here and given to containerd: no registry takes part."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..rigs.filebrowser_build import PINNED, filebrowser_program
from ..rigs.processes import program
from . import places
from .argo import ArgoFlavour
from .binaries import ARGO
from .containerd import PAUSE, ctr, ctr_command, digests
from .debian_root import PACKAGES, SUITE, make_blender_root

_IMPORT_SECONDS = 600.0
_PAUSE_SOURCE = """
#include <signal.h>
#include <unistd.h>
static void stop(int sign) { _exit(0); }
int main(void) { signal(SIGINT, stop); signal(SIGTERM, stop); for (;;) pause(); }
"""


@dataclass(frozen=True)
class Image:
    """One image.

    Attributes:
        reference: Its name with a tag; what changes the contents changes the tag.
        fill: Fills the folder that becomes the image's only layer.
        config: What the image says about running it.
    """

    reference: str
    fill: Callable[[Path], None]
    config: dict[str, Any]


def all_images() -> list[Image]:
    """Return all that the cluster needs."""
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    executors = [
        Image(
            ArgoFlavour(version).executor_image,
            partial(_fill_argoexec, family.folder),
            {"Entrypoint": ["argoexec"], "Env": ["PATH=/bin"]},
        )
        for version, family in ARGO.items()
    ]
    return [
        Image(PAUSE, _fill_pause, {"Entrypoint": ["/pause"]}),
        *executors,
        Image(FILEBROWSER, _fill_filebrowser, {"Cmd": ["filebrowser"], "Env": ["PATH=/bin"]}),
        Image(BLENDER, make_blender_root, {"Cmd": ["blender"], "Env": [path]}),
    ]


def _recipe(*words: str) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:8]


FILEBROWSER = f"docker.io/local/filebrowser:v{PINNED}"  # with a shell and a busybox, as the real one has
BLENDER = f"docker.io/local/blender:4.3.2-{_recipe('1', SUITE, *PACKAGES)}"


def make_images() -> None:
    """Make what containerd, which runs, does not have yet."""
    there = digests()
    for image in all_images():
        if image.reference not in there:
            _make(image)


def by_digest(reference: str) -> str:
    """Return an image's name with its digest instead of the tag; containerd knows it by this name too."""
    digest = digests()[reference]
    name = f"{reference.rpartition(':')[0]}@{digest}"
    if name not in digests():
        ctr("images", "tag", reference, name)
    return name


def _make(image: Image) -> None:
    with tempfile.TemporaryDirectory(dir=places.ROOT, prefix="image-") as name:
        folder = Path(name)
        root, layer = folder / "root", folder / "layer.tar"
        root.mkdir()
        root.chmod(0o755)
        image.fill(root)
        outside = [f"--exclude=./{place}/*" for place in ("proc", "sys", "dev")]
        subprocess.run(
            ["tar", "-C", str(root), "--numeric-owner", *outside, "-cf", str(layer), "."],
            check=True,
            capture_output=True,
        )
        shutil.rmtree(root)
        _import(image, layer)


def _import(image: Image, layer: Path) -> None:
    """Stream a docker-archive of one layer to containerd."""
    with open(layer, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image.reference], "Layers": ["layer.tar"]}]
    with tempfile.TemporaryFile() as errors:
        command = ctr_command("images", "import", "-")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=process.stdin, mode="w|") as archive:
            _add_json(archive, "config.json", config)
            _add_json(archive, "manifest.json", manifest)
            archive.add(layer, "layer.tar")
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        if process.wait(timeout=_IMPORT_SECONDS):
            errors.seek(0)
            raise RuntimeError(f"{image.reference} can't be imported: {errors.read()[-1000:].decode(errors='replace')}")


def _add_json(archive: tarfile.TarFile, name: str, data: Any) -> None:
    text = json.dumps(data).encode()
    info = tarfile.TarInfo(name)
    info.size = len(text)
    archive.addfile(info, io.BytesIO(text))


# -- what is in them ----------------------------------------------------------------------------------------------------


def _fill_pause(root: Path) -> None:
    compiler = program("gcc", package="gcc libc6-dev")
    subprocess.run(
        [compiler, "-O2", "-static", "-x", "c", "-o", str(root / "pause"), "-"],
        input=_PAUSE_SOURCE.encode(),
        check=True,
        capture_output=True,
    )


def _fill_argoexec(programs: Path, root: Path) -> None:
    for name in ("bin", "etc", "tmp"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    shutil.copy(programs / "argoexec", root / "bin" / "argoexec")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n", encoding="utf-8")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n", encoding="utf-8")


def _fill_filebrowser(root: Path) -> None:
    for name in ("bin", "tmp", "srv", "database"):
        (root / name).mkdir()
    shutil.copy(filebrowser_program(), root / "bin" / "filebrowser")
    _unpack_busybox(root)


def _unpack_busybox(root: Path) -> None:
    """Take a static busybox out of Debian's package, without installing it, and link its commands."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["apt-get", "download", "-qq", "busybox-static"], cwd=name, check=True, capture_output=True)
        package = next(Path(name).glob("busybox-static*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(package), name], check=True, capture_output=True)
        found = next(path for path in Path(name).rglob("busybox") if path.is_file() and path.parent.name == "bin")
        shutil.copy(found, root / "bin" / "busybox")
    for command in ("sh", "cat", "echo", "sleep", "ls", "mkdir", "rm", "touch", "id", "env"):
        (root / "bin" / command).symlink_to("busybox")

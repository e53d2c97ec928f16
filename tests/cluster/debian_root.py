"""A Debian root file system with a Blender in it: for the image of the pods that render, and for Blenders with a window."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..rigs.processes import program

SUITE = "trixie"  # has Blender 4.3.2
# The last three: what Blender's own builds bring along and Debian's package doesn't ask for.
PACKAGES = (
    "blender",
    "libegl1",
    "libegl-mesa0",
    "libgl1-mesa-dri",
    "python3-numpy",
    "python3-requests",
    "python3-zstandard",
)
_MINUTES = 20
_UNNEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man")


def make_blender_root(root: Path, *, suite: str = SUITE, packages: Sequence[str] = PACKAGES) -> None:
    """Fill a folder; takes about three minutes and 1.3 GB.

    Raises:
        RigUnavailable: There is no debootstrap.
        RuntimeError: Debian's mirror does not answer, or Blender does not start.
    """
    debootstrap = program("debootstrap", package="debootstrap")
    run(debootstrap, "--variant=minbase", suite, str(root), *_mirror())
    _write(root / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)  # no package starts a service
    _write(root / "etc/dpkg/dpkg.cfg.d/fast", "force-unsafe-io\npath-exclude=/usr/share/doc/*\n")
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    for settings in Path("/etc/apt/apt.conf.d").glob("*proxy*"):
        shutil.copyfile(settings, root / "etc/apt/apt.conf.d" / settings.name)
    with mounted(root):
        run("chroot", str(root), "apt-get", "-o", "Acquire::Check-Valid-Until=false", "update")
        run("chroot", str(root), "apt-get", "install", "-y", "--no-install-recommends", *packages)
        run("chroot", str(root), "blender", "--version")
    for name in _UNNEEDED:
        shutil.rmtree(root / name, ignore_errors=True)


@contextlib.contextmanager
def mounted(root: Path) -> Iterator[None]:
    """Give the programs inside what they expect of a running system."""
    mounts = [("-t", "proc", "proc", str(root / "proc")), ("--bind", "/dev", str(root / "dev"))]
    try:
        for words in mounts:
            run("mount", *words)
        yield
    finally:
        for words in mounts:
            subprocess.run(["umount", words[-1]], check=False, capture_output=True)


def _mirror() -> list[str]:
    """Return the mirror that this machine uses; none leaves the choice to debootstrap."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()[:1]


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def run(*command: str) -> None:
    """Run a program to its end.

    Raises:
        RuntimeError: It failed; with its last words.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": path, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_MINUTES * 60,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])}: {done.stdout[-1500:]}")

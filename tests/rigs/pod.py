"""A container of a Workflow without Kubernetes: its command, variables, mounts and dropped rights, in a mount namespace of its own.

What a kubelet would do is done with `mount`; the image is this machine's own root. Needs Linux and root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NODE, _CORES = "node-1", "1"
_OWN = ("/dev", "/cloud-farm-scratch")


def why_not() -> str:
    """Say in one sentence why there can be no such container here; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a container's mounts need Linux and root"
    if not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        return "a container's mounts need unshare and setpriv: apt-get install util-linux"
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "this machine allows no mount namespaces"


class Pod:
    """One container; each has a scratch disk of its own.

    Attributes:
        last_words: What it left where Kubernetes looks for them.
    """

    def __init__(self, base: Path, claim: Path, *, path: str) -> None:
        self._base = base
        self._claim = claim
        self._path = path
        self.last_words = ""

    def run(self, container: Mapping[str, Any]) -> tuple[int, str]:
        """Run a container, filled in, to its end: (exit code, what it printed)."""
        root, scratch, words = (self._base / name for name in ("root", "scratch", "words"))
        shutil.rmtree(scratch, ignore_errors=True)
        root.mkdir(parents=True, exist_ok=True)
        scratch.mkdir()
        words.write_text("")
        lines = [*_image(root), *_devices(root, words)]
        for mount in container["volumeMounts"]:
            lines += self._mounted(root, scratch, mount)
        limits = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        inside = ["chroot", str(root), "setpriv", *limits, "env", "-i", *self._variables(container)]
        lines.append(f"cd / && exec {shlex.join([*inside, *container['command'], *container['args']])}")
        script = "set -e\n" + "\n".join(lines)
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        self.last_words = words.read_text()
        return done.returncode, done.stdout

    def _mounted(self, root: Path, scratch: Path, mount: Mapping[str, Any]) -> list[str]:
        target = shlex.quote(f"{root}{mount['mountPath']}")
        if mount["name"] == "shm":
            return [f"mkdir -p {target}", f"mount -t tmpfs tmpfs {target}"]
        source = {"farm": self._claim, "scratch": scratch}[mount["name"]] / mount.get("subPath", "")
        # As a kubelet does: a folder of the volume that is not there is made, one of the container only outside other mounts.
        lines = [f"mkdir -p {shlex.quote(str(source))} {target}", f"mount --bind {shlex.quote(str(source))} {target}"]
        return [*lines, f"mount -o remount,bind,ro {target}"] if mount.get("readOnly") else lines

    def _variables(self, container: Mapping[str, Any]) -> list[str]:
        known = {"fieldRef": _NODE, "resourceFieldRef": _CORES}
        values = {
            item["name"]: item["value"] if "value" in item else known[next(iter(item["valueFrom"]))]
            for item in container["env"]
        }
        return [f"{name}={value}" for name, value in {"PATH": self._path, **values}.items()]


def _image(root: Path) -> list[str]:
    """A root with this machine's folders, in which further ones can be mounted without a trace outside."""
    quoted = shlex.quote(str(root))
    return [
        f"mount -t tmpfs tmpfs {quoted}",
        f'for top in /*; do case "$top" in {"|".join(_OWN)}) continue;; esac',
        f'  if [ -L "$top" ]; then cp -a "$top" {quoted}"$top"',
        f'  elif [ -d "$top" ]; then mkdir {quoted}"$top"; mount --rbind "$top" {quoted}"$top"; fi',
        "done",
    ]


def _devices(root: Path, words: Path) -> list[str]:
    folder = root / "dev"
    lines = [f"mkdir {shlex.quote(str(folder))}"]
    for name, source in {
        **{n: Path("/dev") / n for n in ("null", "zero", "random", "urandom")},
        "termination-log": words,
    }.items():
        target = shlex.quote(str(folder / name))
        lines += [f"touch {target}", f"mount --bind {shlex.quote(str(source))} {target}"]
    return lines

"""Programs built from Go modules once and kept in the user's cache folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from cloud_farm.platform import FileLock

from .processes import RigUnavailable, program


def cache_folder() -> Path:
    """Where programs built for tests are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloud-farm-tests"


def pinned(go_mod: Path, module: str) -> str:
    """Return the version of `module` that a go.mod requires, without the v."""
    found = re.search(rf"{re.escape(module)} v([\d.]+)", go_mod.read_text(encoding="utf-8"))
    assert found is not None, f"{go_mod} does not require {module}"
    return found[1]


def go_program() -> str:
    """Find the Go compiler.

    Raises:
        RigUnavailable: There is none.
    """
    return program("go", package="golang-go, or from go.dev")


def make_once(made: Path, make: Callable[[], None], *, patience: float) -> Path:
    """Return `made`; where it isn't there yet `make` makes it. Parallel calls make it once.

    Raises:
        RuntimeError: Another process makes it and is not done after `patience` seconds.
    """
    if made.exists():
        return made
    lock = FileLock(made.parent / f"{made.name}.lock")
    if not lock.acquire(patience=patience):
        raise RuntimeError(f"somebody else makes {made.name} and does not finish")
    try:
        if not made.exists():
            make()
    finally:
        lock.release()
    return made


def run_go(folder: Path, *arguments: str, patience: float, mod: str = "mod") -> subprocess.CompletedProcess[str]:
    """Run the Go tool in a folder, with nothing of the user's settings but the proxy and the caches."""
    ours = {"CGO_ENABLED": "0", "GOFLAGS": f"-mod={mod}", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    frugal = {"GOGC": "400"}  # a compiler that collects less garbage takes a fifth less time
    environment = {**frugal, **os.environ, **ours}
    return subprocess.run(
        [go_program(), *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience,
    )


def module_folder(folder: Path, module: str, version: str, *, patience: float) -> Path:
    """Download a module and return its read-only folder in the module cache.

    Raises:
        RigUnavailable: The module proxy does not hand it out.
    """
    done = run_go(folder, "mod", "download", "-json", f"{module}@v{version}", patience=patience)
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        answer = {"Error": done.stderr}
    if "Dir" not in answer:
        why = " ".join(str(answer.get("Error")).split())
        raise RigUnavailable(f"{module} {version} is not to be had: {why[-300:]}")
    return Path(answer["Dir"])


def writable_copy(module: Path, target: Path) -> None:
    """Copy a module out of the read-only cache."""
    # Without copying modes: what is below must be writable and removable.
    shutil.copytree(module, target, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*/")):
        path.chmod(0o755)

"""A FileBrowser of a chosen version, built from its Go module once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from cloud_farm.platform import FileLock

from .processes import RigUnavailable, program

MODULE = "github.com/filebrowser/filebrowser/v2"
_GO_MOD = Path(__file__).parent / "filebrowser" / "go.mod"
_BUILD_SECONDS = 540.0  # a first build on a small machine compiles some hundred packages
_RECIPE = "1"  # raise it when the way to build changes: cached programs are then built anew


def _pinned() -> str:
    found = re.search(rf"{re.escape(MODULE)} v([\d.]+)", _GO_MOD.read_text(encoding="utf-8"))
    assert found is not None, f"{_GO_MOD} does not require {MODULE}"
    return found[1]


PINNED = _pinned()


def cache_folder() -> Path:
    """Where programs built for tests are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloud-farm-tests"


def filebrowser_program(version: str = PINNED, *, says: str = "") -> Path:
    """Return the program; it is built if it isn't there. Parallel calls build once.

    Args:
        version: A release of the module, without the v.
        says: The version that it shall claim to be, for tests of a version gate where the module proxy has no old release.

    Raises:
        RigUnavailable: There is no Go, or the module proxy does not hand out this version.
        RuntimeError: It does not compile.
    """
    says = says or version
    recipe = hashlib.sha256(f"{_RECIPE} {version} {says}".encode()).hexdigest()[:8]
    built = cache_folder() / f"filebrowser-{says}-{recipe}"
    if built.exists():
        return built
    go = program("go", package="golang-go, or from go.dev")
    lock = FileLock(built.parent / f"{built.name}.lock")
    if not lock.acquire(patience=_BUILD_SECONDS):
        raise RuntimeError(f"somebody else builds {built.name} and does not finish")
    try:
        if not built.exists():
            _build(go, version, says, built)
    finally:
        lock.release()
    return built


def _build(go: str, version: str, says: str, built: Path) -> None:
    # Below the cache folder, so that the finished program can be renamed into place; and go.sum stays out of the checkout.
    with tempfile.TemporaryDirectory(dir=built.parent, prefix="build-") as name:
        folder = Path(name)
        text = _GO_MOD.read_text(encoding="utf-8")
        (folder / "go.mod").write_text(text.replace(f"{MODULE} v{PINNED}", f"{MODULE} v{version}"), encoding="utf-8")
        _source(go, version, folder)
        _go(go, folder, "mod", "edit", f"-replace={MODULE}=./source")
        label = f"-X {MODULE}/version.Version={says}"
        done = _go(go, folder, "build", "-mod=mod", "-trimpath", "-o", "made", "-ldflags", label, MODULE)
        if done.returncode:
            raise RuntimeError(f"FileBrowser {version} does not compile: {done.stderr[-1000:]}")
        os.replace(folder / "made", built)


def _source(go: str, version: str, folder: Path) -> None:
    """Lay out the module's source, with the page of a release: without it `GET /` is a 404 and shows no version."""
    done = _go(go, folder, "mod", "download", "-json", f"{MODULE}@v{version}")
    try:
        module = json.loads(done.stdout)
    except json.JSONDecodeError:
        module = {"Error": done.stderr}
    if "Dir" not in module:
        why = " ".join(str(module.get("Error")).split())
        raise RigUnavailable(f"FileBrowser {version} is not to be had: {why[-300:]}")
    source = folder / "source"
    # Without copying modes: the module cache is read-only, and what is below must be writable and removable.
    shutil.copytree(module["Dir"], source, copy_function=shutil.copyfile)
    for path in (source, *source.rglob("*/")):
        path.chmod(0o755)
    page = source / "frontend" / "dist" / "public" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "frontend" / "public" / "index.html", page)


def _go(go: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return subprocess.run(
        [go, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_SECONDS,
    )

"""A FileBrowser of a chosen version, built from its Go module once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from .go_build import cache_folder, go_program, make_once, module_folder, pinned, run_go, writable_copy

MODULE = "github.com/filebrowser/filebrowser/v2"
_GO_MOD = Path(__file__).parent / "filebrowser" / "go.mod"
_BUILD_SECONDS = 540.0  # a first build on a small machine compiles some hundred packages
_RECIPE = "1"  # raise it when the way to build changes: cached programs are then built anew

PINNED = pinned(_GO_MOD, MODULE)


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
    go_program()  # says that it is missing before anything is made
    return make_once(built, lambda: _build(version, says, built), patience=_BUILD_SECONDS)


def _build(version: str, says: str, built: Path) -> None:
    # Below the cache folder, so that the finished program can be renamed into place; and go.sum stays out of the checkout.
    with tempfile.TemporaryDirectory(dir=built.parent, prefix="build-") as name:
        folder = Path(name)
        text = _GO_MOD.read_text(encoding="utf-8")
        (folder / "go.mod").write_text(text.replace(f"{MODULE} v{PINNED}", f"{MODULE} v{version}"), encoding="utf-8")
        _source(version, folder)
        run_go(folder, "mod", "edit", f"-replace={MODULE}=./source", patience=_BUILD_SECONDS)
        label = f"-X {MODULE}/version.Version={says}"
        words = ("build", "-trimpath", "-o", "made", "-ldflags", label, MODULE)
        done = run_go(folder, *words, patience=_BUILD_SECONDS)
        if done.returncode:
            raise RuntimeError(f"FileBrowser {version} does not compile: {done.stderr[-1000:]}")
        os.replace(folder / "made", built)


def _source(version: str, folder: Path) -> None:
    """Lay out the module's source, with the page of a release: without it `GET /` is a 404 and shows no version."""
    source = folder / "source"
    writable_copy(module_folder(folder, MODULE, version, patience=_BUILD_SECONDS), source)
    page = source / "frontend" / "dist" / "public" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "frontend" / "public" / "index.html", page)

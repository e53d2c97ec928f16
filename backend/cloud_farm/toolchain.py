"""What plans are carried out with: the Blender of this computer, or the one in a farm's image."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Mapping
from functools import cache

from .blender import SCRIPTS, BlenderInfo, Launcher
from .images import FarmImage, choose_image
from .plan import Toolchain
from .profile import FarmProfile

_UNHANDLED = "10"


def own_scripts() -> dict[str, bytes]:
    """Return the scripts that run inside Blender, by name."""
    return {path.name: path.read_bytes() for path in sorted(SCRIPTS.glob("*.py"))}


def script_hashes(scripts: Mapping[str, bytes]) -> dict[str, str]:
    """Return name to sha256 of each script."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in scripts.items()}


def toolchain_for(
    profile: FarmProfile, launcher: Launcher, info: BlenderInfo, *, saved_by: str, scripts: Mapping[str, str]
) -> Toolchain:
    """Return what a farm carries plans out with.

    Args:
        launcher: This computer's Blender; a cluster has its own.
        saved_by: Version of the Blender that saved the scene.
        scripts: Name to sha256.

    Raises:
        ProfileError: The farm has no image with that Blender.
    """
    if profile.is_local:
        return local_toolchain(launcher, info, scripts)
    return pod_toolchain(choose_image(profile, saved_by), scripts)


def local_toolchain(launcher: Launcher, info: BlenderInfo, scripts: Mapping[str, str]) -> Toolchain:
    """Return what a plan on this computer is carried out with: our Python supervises.

    Args:
        scripts: Name to sha256.
    """
    return Toolchain(info.version, (sys.executable,), launcher.argv, dict(scripts))


def pod_toolchain(image: FarmImage, scripts: Mapping[str, str]) -> Toolchain:
    """Return what a plan in pods is carried out with: the image's Blender lends its Python to the supervisor.

    Args:
        scripts: Name to sha256.
    """
    return Toolchain(image.version, pod_supervisor(image, scripts["run_attempt.py"]), (image.program,), dict(scripts))


def pod_supervisor(image: FarmImage, supervisor_sha256: str) -> tuple[str, ...]:
    """Return the argv before `run_attempt.py` in a pod: a loader that runs it only if it has this hash."""
    blender = (image.program, "-b", "--factory-startup", "--disable-autoexec", "--python-exit-code", _UNHANDLED)
    return (*blender, "--python-expr", _loader(), "--", supervisor_sha256)


@cache
def _loader() -> str:
    """Return the loader without what only people read: Argo writes a pod's command four times into each pod."""
    tree = ast.parse((SCRIPTS / "pod_loader.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.unparse(tree)

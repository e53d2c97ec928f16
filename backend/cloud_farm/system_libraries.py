"""The shared libraries that Blender's Python wheel needs and a bare Linux lacks: found, installed where we may, else named."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from .errors import NoBlenderError

NEEDED = {
    "libX11.so.6": "libx11-6",
    "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libXext.so.6": "libxext6",
    "libGL.so.1": "libgl1",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libgomp.so.1": "libgomp1",
    "libEGL.so.1": "libegl1",
}
"""Library to Debian package; libEGL only serves EEVEE."""


def missing_libraries() -> tuple[str, ...]:
    """Return the libraries of `NEEDED` that this computer can't load."""
    if sys.platform != "linux":
        return ()
    return tuple(name for name in NEEDED if not _loads(name))


def ensure_libraries() -> None:
    """Make sure that the bpy wheel can be loaded; installs Debian packages as root or by password-less sudo, and says so.

    Raises:
        NoBlenderError: Libraries are missing and we may not install them; has the one line to type.
    """
    missing = missing_libraries()
    if not missing or importlib.util.find_spec("bpy") is None:
        return
    command = install_command([NEEDED[name] for name in missing])
    if command is None or not _may_install():
        if _blender_loads():
            return  # it does without them, or has them elsewhere
        raise NoBlenderError(_advice(missing, command))
    sys.stderr.write(f"Blender needs system libraries that are missing here; installing them: {' '.join(command)}\n")
    # A bare image has no package lists. One list that can't be renewed is no reason to give up: the install decides.
    _run([*command[: command.index("install")], "update", "-qq"])
    code = _run(command)
    if code:
        raise NoBlenderError(f"Installing them failed (exit code {code}). {_advice(missing, command)}")


def install_command(packages: Sequence[str]) -> list[str] | None:
    """Return the command that installs Debian packages here, None where there is no apt."""
    if shutil.which("apt-get") is None:
        return None
    prefix = [] if _is_root() else ["sudo", "-n"]
    return [*prefix, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]


def _advice(missing: Sequence[str], command: Sequence[str] | None) -> str:
    names = ", ".join(missing)
    if command is None:
        return f"Blender's Python module needs the system libraries {names}. Install them with your package manager."
    has_sudo = shutil.which("sudo") is not None
    words = [word for word in command if word not in ("-n", "-qq") and (has_sudo or word != "sudo")]
    update = " ".join([*words[: words.index("install")], "update"])
    who = "" if has_sudo or _is_root() else " as root"
    return (
        f"Blender's Python module needs the system libraries {names}. Install them{who} with:\n"
        f"  {update} && {' '.join(words)}"
    )


def _run(command: Sequence[str]) -> int:
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode


def _blender_loads() -> bool:
    return subprocess.run([sys.executable, "-c", "import bpy"], capture_output=True, check=False).returncode == 0


def _may_install() -> bool:
    if _is_root():
        return True
    sudo = shutil.which("sudo")
    return sudo is not None and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True

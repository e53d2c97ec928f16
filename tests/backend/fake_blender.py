"""Little programs that act as Blenders, or as the bpy wheel, as far as the finder and the probe look at them."""

from __future__ import annotations

import json
from pathlib import Path

_BINARY = """\
#!/bin/sh
echo "$*" >> "$0.calls"
if [ "$1" = --version ]; then
  echo 'Blender {version} LTS'
  exit 0
fi
while [ $# -gt 1 ] && [ "$1" != --answer ]; do shift; done
echo '{answer}' > "$2"
"""
_WHEEL = """
import types
with open({calls!r}, "a") as stream:
    stream.write("imported\\n")
space = types.SimpleNamespace
cpu = space(type="CPU", name="a chip", id="cpu", use=True)
cycles = space(compute_device_type="NONE", devices=[cpu], get_devices_for_type=lambda kind: [])
preferences = space(
    addons={{"cycles": space(preferences=cycles)}}, filepaths=space(use_scripts_auto_execute=False)
)
context = space(preferences=preferences)
app = space(version=(4, 5, 9), version_string="4.5.9 LTS", build_hash=b"0123456789ab", tempdir="")
"""


def program(path: Path, text: str) -> Path:
    """Write a file that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def binary(path: Path, version: str = "4.5.3") -> Path:
    """A program that answers as a Blender of this version; each call is a line in `<path>.calls`."""
    answer = {"version": version, "build_hash": "0123456789ab", "devices": {"CPU": ["a chip"]}}
    return program(path, _BINARY.format(version=version, answer=json.dumps(answer)))


def wheel(folder: Path) -> Path:
    """A folder with a module `bpy` 4.5.9 for the module path."""
    (folder / "bpy").mkdir(parents=True)
    (folder / "bpy" / "__init__.py").write_text(_WHEEL.format(calls=str(calls_file(folder))))
    return folder


def calls_file(path: Path) -> Path:
    """Where a fake notes how it was called."""
    return path.with_name(f"{path.name}.calls")


def calls(path: Path) -> list[str]:
    """How a fake was called so far."""
    file = calls_file(path)
    return file.read_text().splitlines() if file.exists() else []

"""Python that runs in a plain background Blender, as an artist's would: nothing of ours is between."""

from __future__ import annotations

import subprocess
from pathlib import Path

import OpenImageIO
from cloud_farm.blender import find_blender


def run_in_blender(script: Path, *arguments: str) -> str:
    """Run a script, which must succeed; returns what it printed."""
    command = [*find_blender().argv, "-b", "--factory-startup", "--python-exit-code", "10", "--python", str(script)]
    done = subprocess.run([*command, "--", *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def run_text_in_blender(folder: Path, text: str, *arguments: str) -> str:
    """Write a script to a folder and run it."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return run_in_blender(script, *arguments)


def pixels(path: Path) -> bytes:
    """Decode an image as 8 bit."""
    source = OpenImageIO.ImageInput.open(str(path))
    assert source is not None, OpenImageIO.geterror()
    return bytes(source.read_image("uint8").tobytes())

"""Makes a small picture of a large frame: what a multilayer file shows first, in linear light, so that it looks as the frame does."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import bpy  # type: ignore[import-not-found,unused-ignore]

_OPENEXR_COMES_BLACK = (5, 0) <= tuple(bpy.app.version) < (5, 2)
"""Blender 5.0 writes black for a multilayer file, but for its Radiance format, which keeps the light and not the alpha."""


def main(argv: list[str]) -> None:
    """Read a frame and write its preview, an OpenEXR."""
    parser = argparse.ArgumentParser(prog="preview_frame")
    parser.add_argument("--answer", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--longest", type=int, required=True, help="pixels of its longer side")
    options = parser.parse_args(argv)
    size = make_preview(options.source, options.target, options.longest)
    Path(options.answer).write_text(json.dumps({"size": size}), encoding="utf-8")


def make_preview(source: str, target: str, longest: int) -> list[int]:
    """Write a preview; returns its size in pixels."""
    scene: Any = bpy.context.scene
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):  # Blender 5
        settings.media_type = "IMAGE"
    whole, part = f"{target}.part.whole", f"{target}.part.exr"
    # Blender hands out no pixels of a multilayer file, but writes what it shows of it.
    _choose_format(settings, "HDR" if _OPENEXR_COMES_BLACK else "OPEN_EXR")
    bpy.data.images.load(source).save_render(whole, scene=scene)
    image: Any = bpy.data.images.load(whole)
    _choose_format(settings, "OPEN_EXR")
    width, height = image.size
    shrink = min(1.0, longest / max(width, height))
    size = [max(1, round(width * shrink)), max(1, round(height * shrink))]
    image.scale(*size)
    image.save_render(part, scene=scene)
    os.replace(part, target)
    os.remove(whole)
    return size


def _choose_format(settings: Any, name: str) -> None:
    settings.file_format = name
    if name == "OPEN_EXR":
        settings.color_mode, settings.color_depth = "RGBA", "16"


if __name__ == "__main__":
    import sys

    main(sys.argv[sys.argv.index("--") + 1 :])

"""Makes a small picture of a large frame: what a multilayer file shows first, in linear light, so that it looks as the frame does."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import bpy  # type: ignore[import-not-found,unused-ignore]


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
    settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", "RGBA", "16"
    part = f"{target}.part.exr"
    # Blender hands out no pixels of a multilayer file, but writes what it shows of it.
    bpy.data.images.load(source).save_render(part, scene=scene)
    image: Any = bpy.data.images.load(part)
    width, height = image.size
    shrink = min(1.0, longest / max(width, height))
    size = [max(1, round(width * shrink)), max(1, round(height * shrink))]
    image.scale(*size)
    image.save_render(part, scene=scene)
    os.replace(part, target)
    return size


if __name__ == "__main__":
    import sys

    main(sys.argv[sys.argv.index("--") + 1 :])

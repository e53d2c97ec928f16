"""Makes a snapshot of a scene whole: pictures that were painted and not saved lie beside it, and are what it is to use."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import bpy  # type: ignore[import-not-found,unused-ignore]


def main(argv: list[str]) -> None:
    """Open the snapshot, point its images to their new files and save it."""
    parser = argparse.ArgumentParser(prog="repoint_images")
    parser.add_argument("--answer", required=True)
    parser.add_argument("--scene-file", required=True)
    parser.add_argument("--images", required=True, help="JSON: names of images to the files that hold their pixels")
    options = parser.parse_args(argv)
    bpy.ops.wm.open_mainfile(filepath=options.scene_file, load_ui=False, use_scripts=False)
    absent = [name for name, path in json.loads(options.images).items() if not repoint(name, path)]
    bpy.ops.wm.save_mainfile()
    Path(options.answer).write_text(json.dumps({"absent": absent}), encoding="utf-8")


def repoint(name: str, path: str) -> bool:
    """Have an image read a file, whatever it was made of; False if there is no such image."""
    image: Any = next((one for one in bpy.data.images if one.name == name and one.library is None), None)
    if image is None:
        return False
    if image.packed_files:
        image.unpack(method="REMOVE")
    if image.source == "GENERATED":
        image.source = "FILE"
    image.filepath = path
    return True


if __name__ == "__main__":
    import sys

    main(sys.argv[sys.argv.index("--") + 1 :])

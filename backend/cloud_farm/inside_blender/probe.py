"""Answers what this Blender is: version, build, devices that Cycles could render on."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bpy  # type: ignore[import-not-found,unused-ignore]
import cycles_devices


def main(argv: list[str]) -> None:
    """Write the answer."""
    parser = argparse.ArgumentParser(prog="probe")
    parser.add_argument("--answer", required=True)
    options = parser.parse_args(argv)
    answer = {
        "version": ".".join(str(number) for number in bpy.app.version),
        "build_hash": bpy.app.build_hash.decode("ascii", "replace"),
        "devices": cycles_devices.available(),
    }
    Path(options.answer).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--") + 1 :])

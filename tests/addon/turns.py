"""Runs in a Blender of its own: what single turns of the add-on do, one after the other.

python -I turns.py ZIP FOLDER ; prints one JSON object
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
part = desk.part


def first_turns() -> dict[str, Any]:
    """Let the add-on take its turns until it has looked back; returns which of our modules each of them loaded."""
    session, loaded = part("session").SESSION, []
    while not session._has_looked_back:
        before = set(sys.modules)
        session.tick()
        loaded.append(sorted(name for name in set(sys.modules) - before if name.startswith(desk.MODULE)))
    return {
        "loaded": loaded,
        "has all": f"{desk.MODULE}.worker_client" in sys.modules,
        "asked": session._client is not None,
    }


def main(zip_file: str, _folder: Path) -> dict[str, Any]:
    """Take one turn after the other."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    return {"first": first_turns()}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))

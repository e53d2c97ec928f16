"""Runs in a Blender of its own: an extension's life from the zip to its removal, step by step.

python -I journey.py STEP… ; prints one JSON object, step → what is there after it
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import bpy

import addon_utils  # isort: skip - Python finds it only once there is bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
MODULE = desk.MODULE
_SEEN_TIMERS: list[Any] = []
# None of these may be loaded on our account.
HEAVY = {
    "kubernetes",
    "requests",
    "urllib3",
    "yaml",
    "blender_asset_tracer",
    "zstandard",
    "concurrent",
    "multiprocessing",
}


def install(path: str) -> None:
    """Install or update from a zip, as a drop on the window does."""
    bpy.ops.extensions.package_install_files(filepath=path, repo="user_default", enable_on_install=True)


def remove() -> None:
    """Uninstall."""
    repos = [repo.module for repo in bpy.context.preferences.extensions.repos]
    bpy.ops.extensions.package_uninstall(repo_index=repos.index("user_default"), pkg_id="cloud_farm")


def step(words: str) -> None:
    """Do one step."""
    name, _, path = words.partition("=")
    if name == "install":
        install(path)
    elif name == "enable":
        addon_utils.enable(MODULE, default_set=True)
    elif name == "disable":
        addon_utils.disable(MODULE, default_set=True)
    elif name == "remove":
        remove()
    elif name == "save":
        bpy.ops.wm.save_userpref()
    elif name == "start":
        desk.start()
    elif name == "choose":
        bpy.context.preferences.addons[MODULE].preferences.farm = path
    elif name == "new_file":
        bpy.ops.wm.read_homefile(use_empty=True)
    elif name != "begin":
        raise ValueError(words)


def loaded() -> set[str]:
    """Return which of the heavy modules are loaded."""
    return HEAVY & {name.partition(".")[0] for name in sys.modules}


def drawn_into() -> dict[str, int]:
    """Return how many functions were put into each menu, panel or header of Blender."""
    functions = {name: getattr(getattr(bpy.types, name), "draw", None) for name in dir(bpy.types)}
    counts = {name: len(getattr(draw, "_draw_funcs", "x")) - 1 for name, draw in functions.items()}
    return {name: count for name, count in counts.items() if count}


def traces() -> dict[str, Any]:
    """Return all that an add-on may leave in a running Blender."""
    handlers = {name: getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers)}
    return {
        "types": sorted(dir(bpy.types)),
        "properties": {
            kind: sorted(getattr(bpy.types, kind).bl_rna.properties.keys())
            for kind in ("Scene", "ViewLayer", "WindowManager")
        },
        "operators": sorted(name for name in dir(bpy.ops) if "farm" in name),
        "handlers": {name: len(value) for name, value in handlers.items() if isinstance(value, list)},
        "drawn into": drawn_into(),
        "threads": len(threading.enumerate()),
        "timers": timers(),
        "modules": sorted(name for name in sys.modules if "cloud_farm" in name),
    }


def timers() -> int:
    """Return how many of our timers run, also those of an add-on that is gone by now."""
    handlers = sys.modules.get(f"{MODULE}.handlers")
    if handlers is not None and handlers.tick not in _SEEN_TIMERS:
        _SEEN_TIMERS.append(handlers.tick)
    return sum(bpy.app.timers.is_registered(tick) for tick in _SEEN_TIMERS)


def backend_version() -> str:
    """Return what the backend inside the extension says that it is."""
    return str(importlib.import_module(f"{MODULE}.cloud_farm.version").VERSION)


def state(at_first: set[str]) -> dict[str, Any]:
    """Return what is there now."""
    enabled = MODULE in [addon.module for addon in bpy.context.preferences.addons]
    local = Path(os.environ["BLENDER_USER_RESOURCES"]) / "extensions" / ".local"
    return {
        "enabled": enabled,
        "heavy": sorted(loaded() - at_first),
        "farm": bpy.context.preferences.addons[MODULE].preferences.farm if enabled else "",
        "violations": addon_utils._extensions_warnings_get(),
        "libraries": sorted(path.name for path in local.glob("lib/*/site-packages/*")),
        "version": backend_version() if enabled else "",
        "traces": traces(),
    }


def main() -> None:
    """Take the steps and end without Blender's own clean-up: 4.2 crashes in it if something is still registered."""
    found, at_first = {}, loaded()
    for words in sys.argv[1:]:
        step(words)
        found[words] = state(at_first)
    sys.stdout.write("\n" + json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

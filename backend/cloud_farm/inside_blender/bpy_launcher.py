"""Makes the `bpy` wheel answer to Blender's own command line, so that everything else starts Blender in one way.

    python bpy_launcher.py -b --factory-startup --disable-autoexec --python SCRIPT -- ARGS

Understands what Cloud Farm passes: -b, -noaudio, --factory-startup, autoexec and online switches, a .blend, --python,
--python-expr, --python-exit-code, --version. Leaves by os._exit: with handlers or classes registered, bpy 4.2 crashes and
4.5 hangs at a normal exit.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SILENT = {"-b", "--background", "--factory-startup", "-noaudio", "--offline-mode"}
_AUTOEXEC = {"--enable-autoexec": True, "-y": True, "--disable-autoexec": False, "-Y": False}


def leave(code: int) -> None:
    """End the process at once, everything printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def load_bpy() -> Any:
    """Import bpy; a missing system library becomes one clear line and exit code 10."""
    try:
        import bpy  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        sys.stderr.write(f"Blender's Python module can't be loaded: {error}\n")
        leave(10)
    return bpy


def run_script(path: str) -> None:
    """Run a file as Blender runs --python: as __main__, its folder on the path."""
    sys.path.insert(0, str(Path(path).resolve().parent))
    runpy.run_path(path, run_name="__main__")


def run_expression(text: str) -> None:
    """Run a text as Blender runs --python-expr."""
    exec(compile(text, "<python-expr>", "exec"), {"__name__": "__main__"})  # noqa: S102 - that is what the switch is for


def guarded(action: Callable[[str], None], argument: str, exit_code: int) -> None:
    """Run a script; sys.exit and exceptions end the process with their code."""
    try:
        action(argument)
    except SystemExit as stop:
        leave(stop.code if isinstance(stop.code, int) else int(stop.code is not None))
    except BaseException:  # noqa: BLE001 - whatever a script raises is printed and becomes the exit code
        traceback.print_exc()
        if exit_code:
            leave(exit_code)


def main(argv: list[str]) -> None:
    """Carry out the arguments in their order, as Blender does."""
    own = argv[: argv.index("--")] if "--" in argv else list(argv)
    if "--version" in own or "-v" in own:
        bpy = load_bpy()
        sys.stdout.write(f"Blender {bpy.app.version_string}\n")
        leave(0)
    bpy = load_bpy()
    sys.argv = ["blender", *argv]
    exit_code, scripts = 10, False
    words = iter(own)
    for word in words:
        if word in _AUTOEXEC:
            scripts = _AUTOEXEC[word]
            bpy.context.preferences.filepaths.use_scripts_auto_execute = scripts
        elif word == "--online-mode":
            bpy.context.preferences.system.use_online_access = True
        elif word == "--python-exit-code":
            exit_code = int(next(words))
        elif word in ("--python", "-P"):
            guarded(run_script, next(words), exit_code)
        elif word == "--python-expr":
            guarded(run_expression, next(words), exit_code)
        elif word in _SILENT:
            continue
        elif word.startswith("-"):
            sys.stderr.write(f"bpy_launcher: unknown argument {word}\n")
            leave(1)
        else:
            bpy.ops.wm.open_mainfile(filepath=str(Path(word).resolve()), load_ui=False, use_scripts=scripts)
    leave(0)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Makes the `bpy` wheel answer to Blender's own command line, so that everything else starts Blender in one way.

    python bpy_launcher.py -b --factory-startup --disable-autoexec --python SCRIPT -- ARGS

Understands what Cloud Farm passes: -b, -noaudio, --factory-startup, autoexec and online switches, a .blend, --python,
--python-expr, --python-exit-code, --version. Leaves by os._exit: with handlers or classes registered, bpy 4.2 crashes and
4.5 hangs at a normal exit. One thing differs on purpose: a script that raises ends with exit code 10, where the binary
would say 0 unless told otherwise by --python-exit-code.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

_FAILED = 10
_SILENT = {"-b", "--background", "--factory-startup", "-noaudio"}
_AUTOEXEC = {"--enable-autoexec": True, "-y": True, "--disable-autoexec": False, "-Y": False}
_ONLINE = {"--online-mode": True, "--offline-mode": False}
_VALUED = {"--python", "-P", "--python-expr", "--python-exit-code"}


def leave(code: int) -> None:
    """End the process at once; what was printed by Python and by Blender's own code is written, its temporary folder goes."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # nobody reads it any more
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
    _remove_temporary_folder()
    os._exit(code & 0xFF)


def _remove_temporary_folder() -> None:
    bpy = sys.modules.get("bpy")
    folder = str(getattr(getattr(bpy, "app", None), "tempdir", ""))
    if Path(folder).name.startswith("blender_"):  # the session's own, never the one that all share
        shutil.rmtree(folder, ignore_errors=True)


def load_bpy() -> Any:
    """Import bpy; a missing system library becomes one clear line and exit code 10."""
    try:
        import bpy  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        sys.stderr.write(_explain(error))
        leave(_FAILED)
    return bpy


def _explain(error: ImportError) -> str:
    text = str(error)
    if ".so" in text and "cannot open shared object file" in text:
        library = text.split(":")[0]
        return f"Blender can't start here: the system library {library} is missing. Install it, then try again.\n"
    if error.name == "bpy":
        return f"There is no Blender module (bpy) for {sys.executable}. Install it with: pip install bpy\n"
    return f"Blender's Python module can't be loaded: {text}\n"


def run_script(path: str) -> None:
    """Run a file as Blender runs --python: as __main__, arguments and module path untouched.

    Raises:
        OSError: The file can't be read.
    """
    module = types.ModuleType("__main__")
    module.__file__ = path
    sys.modules["__main__"] = module
    exec(compile(Path(path).read_bytes(), path, "exec"), module.__dict__)  # noqa: S102 - that is what the switch is for


def run_expression(text: str) -> None:
    """Run a text as Blender runs --python-expr."""
    exec(compile(text, "<python-expr>", "exec"), {"__name__": "__main__"})  # noqa: S102 - that is what the switch is for


def guarded(action: Callable[[str], None], argument: str, exit_code: int) -> None:
    """Run a script; sys.exit and exceptions end the process with their code."""
    try:
        action(argument)
    except SystemExit as stop:
        if stop.code is not None and not isinstance(stop.code, int):
            sys.stderr.write(f"{stop.code}\n")
        leave(stop.code if isinstance(stop.code, int) else int(stop.code is not None))
    except BaseException:  # noqa: BLE001 - whatever a script raises is printed and becomes the exit code
        traceback.print_exc()
        if exit_code:
            leave(exit_code)


def open_file(bpy: Any, name: str, *, use_scripts: bool) -> None:
    """Open a .blend; what can't be opened ends the process with 1, as the binary does."""
    try:
        bpy.ops.wm.open_mainfile(filepath=str(Path(name).resolve()), load_ui=False, use_scripts=use_scripts)
    except RuntimeError as error:
        sys.stderr.write(f"{str(error).strip()}\n")
        leave(1)


def main(argv: list[str]) -> None:
    """Carry out the arguments in their order, as Blender does."""
    own = argv[: argv.index("--")] if "--" in argv else list(argv)
    bpy = load_bpy()
    if "--version" in own or "-v" in own:
        tell_version(bpy)
    sys.argv = ["blender", *argv]
    carry_out(bpy, own)
    leave(0)


def tell_version(bpy: Any) -> None:
    """Print which Blender this is, and leave."""
    build = bpy.app.build_hash.decode("ascii", "replace")
    sys.stdout.write(f"Blender {bpy.app.version_string}\n\tbuild hash: {build}\n")
    leave(0)


def carry_out(bpy: Any, own: list[str]) -> None:
    """Do what each argument before `--` says."""
    exit_code, scripts = _FAILED, False
    words = iter(word for word in own if word not in _SILENT)
    for word in words:
        value = next(words, None) if word in _VALUED else ""
        if value is None:
            usage(f"{word} needs a value")
        elif word in _AUTOEXEC:
            scripts = _AUTOEXEC[word]
            bpy.context.preferences.filepaths.use_scripts_auto_execute = scripts
        elif word in _ONLINE:
            bpy.context.preferences.system.use_online_access = _ONLINE[word]
        elif word == "--python-exit-code":
            exit_code = int(value)
        elif word in ("--python", "-P"):
            guarded(run_script, value, exit_code)
        elif word == "--python-expr":
            guarded(run_expression, value, exit_code)
        elif word.startswith("-"):
            usage(f"unknown argument {word}")
        else:
            open_file(bpy, word, use_scripts=scripts)


def usage(text: str) -> None:
    """Refuse a command line."""
    sys.stderr.write(f"bpy_launcher: {text}\n")
    leave(1)


if __name__ == "__main__":
    # Blender itself does not put a folder of its own on the module path; scripts that need their siblings say so.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    try:
        main(sys.argv[1:])
    except Exception:  # noqa: BLE001 - a normal exit may crash or hang, so even our own faults leave by os._exit
        traceback.print_exc()
        leave(_FAILED)

"""Finds a Blender on this computer, asks what it is, and runs our scripts in it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BlenderError, BlenderTooOldError, NoBlenderError
from .events import CancelToken
from .platform import detached_flags, end_group, user_folders

SCRIPTS = Path(__file__).parent / "inside_blender"
OLDEST = (4, 2)
_PROBE_SECONDS = 300.0
_VERSION_SECONDS = 60.0
_LOOK_SECONDS = 0.2
_TAIL = 1500
_CARDS = ("nvidia[0-9]*", "kfd", "dri/render*")


@dataclass(frozen=True)
class Launcher:
    """How a Blender is started.

    Attributes:
        argv: What stands before Blender's own arguments.
        kind: `binary`, or `wheel` for the bpy module behind `bpy_launcher.py`.
    """

    argv: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class BlenderDevice:
    """A device that Cycles could render on."""

    type: str
    name: str


@dataclass(frozen=True)
class BlenderInfo:
    """What a Blender says about itself.

    Attributes:
        version: `4.5.15`.
    """

    version: str
    build_hash: str
    devices: tuple[BlenderDevice, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])


def find_blender(
    explicit: str | None = None,
    *,
    file_version: tuple[int, ...] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Launcher:
    """Choose the Blender (contract §5): explicit, CLOUD_FARM_BLENDER, PATH if new enough, the bpy wheel.

    Args:
        file_version: (major, minor) of the Blender that wrote the file; an older one on the PATH is passed over.

    Raises:
        NoBlenderError: There is none; says what to do.
    """
    environ = os.environ if environ is None else environ
    for wanted, source in (
        (explicit, "--blender, or the farm's profile,"),
        (environ.get("CLOUD_FARM_BLENDER"), "CLOUD_FARM_BLENDER"),
    ):
        if wanted:
            return _named(wanted, source, environ.get("PATH"))
    on_path = shutil.which("blender", path=environ.get("PATH"))
    version = _version_of(on_path) if on_path else None
    oldest = max(OLDEST, tuple(file_version or OLDEST)[:2])
    if on_path and version is not None and version >= oldest:
        return Launcher((on_path,), "binary")
    if importlib.util.find_spec("bpy") is not None:
        return Launcher((sys.executable, str(SCRIPTS / "bpy_launcher.py")), "wheel")
    what = "does not say its version" if version is None else f"is older than {oldest[0]}.{oldest[1]}"
    passed_over = f" The one on the PATH ({on_path}) {what}." if on_path else ""
    raise NoBlenderError(
        f"No Blender was found.{passed_over} Name one with --blender or CLOUD_FARM_BLENDER, or install Blender's Python module:"
        " uv sync --group bpy45"
    )


def probe(launcher: Launcher) -> BlenderInfo:
    """Ask a Blender for its version and devices; remembered until the program file changes.

    Raises:
        BlenderTooOldError: Older than 4.2.
        BlenderError: It does not start.
    """
    cache = _cache_file(launcher)
    data = _read_cache(cache)
    if data is None:
        data = _ask(launcher)
        _write_cache(cache, data)
    devices = tuple(BlenderDevice(str(kind), str(name)) for kind, names in data["devices"].items() for name in names)
    info = BlenderInfo(str(data["version"]), str(data["build_hash"]), devices)
    if info.numbers[:2] < OLDEST:
        raise _too_old(launcher, info.version)
    return info


def run_script(
    launcher: Launcher, script: str, arguments: Sequence[str], *, timeout: float, cancel: CancelToken | None = None
) -> dict[str, Any]:
    """Run a script of `inside_blender/` in a background Blender and return the JSON that it answers.

    Raises:
        BlenderError: It can't be started, takes too long, or ends without an answer; has the log's last words.
        Cancelled: `cancel` was set; that Blender is gone.
    """
    _check_libraries(launcher)
    with tempfile.TemporaryDirectory(prefix="cloud-farm-") as folder:
        answer, log = Path(folder) / "answer.json", Path(folder) / "blender.log"
        command = [*launcher.argv, "-b", "--factory-startup", "--disable-autoexec", "--python-exit-code", "10"]
        command += ["--python", str(SCRIPTS / script), "--", "--answer", str(answer), *arguments]
        code = _run(command, log, timeout, cancel)
        if code == 0 and answer.is_file():
            return dict(json.loads(answer.read_text(encoding="utf-8")))
        tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
    last = tail.splitlines()[-1] if tail else "It said nothing."
    raise BlenderError(f"Blender ({launcher.argv[0]}) failed in {script} with exit code {code}: {last}", log_tail=tail)


def _ask(launcher: Launcher) -> dict[str, Any]:
    try:
        return run_script(launcher, "probe.py", [], timeout=_PROBE_SECONDS)
    except BlenderError as error:
        # Old ones can't run our scripts; then their age is the reason, not the Python error.
        version = _version_of(launcher.argv[0]) if launcher.kind == "binary" else None
        if version is not None and version < OLDEST:
            raise _too_old(launcher, ".".join(map(str, version))) from error
        raise


def _too_old(launcher: Launcher, version: str) -> BlenderTooOldError:
    return BlenderTooOldError(
        f"{launcher.argv[0]} is Blender {version}; Cloud Farm needs 4.2 or newer. Name another with --blender."
    )


def _run(command: Sequence[str], log: Path, timeout: float, cancel: CancelToken | None) -> int:
    try:
        with open(log, "wb") as stream:
            return _finish(_start(command, stdout=stream, stderr=stream), timeout, cancel)[0]
    except subprocess.TimeoutExpired as error:
        raise BlenderError(f"Blender ({command[0]}) did not answer within {timeout:g} s.") from error
    except OSError as error:
        raise NoBlenderError(
            f"{command[0]} can't be started: {error.strerror or error}. Name a Blender with --blender."
        ) from error


def _start(command: Sequence[str], **streams: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, **streams, **detached_flags())


def _finish(process: subprocess.Popen[bytes], timeout: float, cancel: CancelToken | None = None) -> tuple[int, bytes]:
    """Wait for (exit code, output); if it is too slow, or we are interrupted, all that it started goes with it."""
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                output, _ = process.communicate(timeout=_LOOK_SECONDS)
                return process.returncode, output or b""
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise
            if cancel is not None:
                cancel.raise_if_cancelled()
    finally:
        if process.returncode is None:
            end_group(process.pid, force=True)
            process.communicate()


def _named(wanted: str, source: str, search: str | None) -> Launcher:
    path = shutil.which(wanted, path=search) or shutil.which(str(Path(wanted).expanduser()), path=search)
    if path is None:
        raise NoBlenderError(f"{source} names '{wanted}', which is not a program that can be run.")
    return Launcher((str(Path(path).absolute()),), "binary")


def _version_of(program: str) -> tuple[int, int] | None:
    """Ask a program for its version; None if it is no Blender, or one that does not answer."""
    try:
        process = _start([program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        _, output = _finish(process, _VERSION_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(rb"Blender (\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else None


def _check_libraries(launcher: Launcher) -> None:
    if launcher.kind == "wheel":
        from .system_libraries import ensure_libraries

        ensure_libraries()


def _cache_file(launcher: Launcher) -> Path:
    spec = importlib.util.find_spec("bpy") if launcher.kind == "wheel" else None
    program = Path(spec.origin if spec is not None and spec.origin else launcher.argv[0])
    stamp = program.stat() if program.exists() else None
    # A graphics card that comes or goes changes the answer, too.
    cards = sorted(str(path) for pattern in _CARDS for path in Path("/dev").glob(pattern))
    key = json.dumps([launcher.argv, str(program), stamp and [stamp.st_mtime_ns, stamp.st_size], cards])
    return user_folders().cache / "probes" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _read_cache(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return data if {"version", "build_hash", "devices"} <= data.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _write_cache(path: Path, data: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data), encoding="utf-8")
    except OSError:
        return  # a cache that can't be written only costs the next start a second

"""Stands in for Blender under the supervisor: takes its arguments, "renders" by writing bytes, publishes through the real code.

STUB (JSON) tells it to misbehave: {"crash": {"3": "SIGSEGV"}, "fail": [2], "raise": [2], "slow": {"4": 60}, "seconds": 0.02,
"noise": lines, "exit": code, "fatal": {...}}. Every rendered frame is one line in the file STUB_RENDERS.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

SCRIPT = Path(sys.argv[sys.argv.index("--python") + 1])
sys.path.insert(0, str(SCRIPT.parent))
import publish  # noqa: E402 - from where the supervisor says
import volume  # noqa: E402

HOW: dict[str, Any] = json.loads(os.environ.get("STUB", "{}"))


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("--root", "--job", "--chunk", "--camera", "--attempt", "--frames"):
        parser.add_argument(name, required=True)
    parser.add_argument("--revision", type=int, required=True)
    options = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :])
    paths = volume.JobPaths(options.root, options.job, options.revision)
    for number in range(HOW.get("noise", 0)):
        sys.stdout.write(f"Blender talks and talks, line {number}\n")
    if "fatal" in HOW:
        volume.emit("fatal", **HOW["fatal"])
        return int(HOW["fatal"]["code"])
    failed = False
    for index, frame in enumerate(volume.parse_frames(options.frames)):
        if index:
            volume.reach("between_frames", frame)
        if paths.stop.exists():
            return volume.STOPPED
        failed |= not render(paths, options, frame)
    return int(HOW.get("exit", volume.SOME_FAILED if failed else volume.OK))


def render(paths: volume.JobPaths, options: argparse.Namespace, frame: int) -> bool:
    render_hash = volume.read_json(paths.plan)["render_hash"]
    camera = options.camera or None
    slug = volume.camera_slug(camera)
    if publish.finished_record(paths, slug, frame, render_hash) is not None:
        return True
    marker = paths.marker(slug, frame, options.attempt)
    volume.write_file(marker, b"started\n")
    volume.emit("frame_started", frame=frame, camera=camera, index=0, of=1)
    time.sleep(HOW.get("seconds", 0) + HOW.get("slow", {}).get(str(frame), 0))
    misbehave(frame)
    if frame in HOW.get("fail", ()):
        volume.emit("frame_failed", frame=frame, camera=camera, message="The stub does not like this frame.")
        return False
    with Path(os.environ["STUB_RENDERS"]).open("a") as stream:
        stream.write(f"{frame} {options.attempt}\n")
    files = write(Path(os.environ["CLOUD_FARM_SCRATCH"]), frame, options.attempt)
    volume.reach("verify", frame)
    record = make_record(files, frame, camera, options.attempt, render_hash)
    publish.publish(paths, record, files)
    marker.unlink(missing_ok=True)
    volume.emit("frame_done", frame=frame, camera=camera, seconds=0.1, main=files[0][1], bytes=1, skipped=False)
    return True


def misbehave(frame: int) -> None:
    if str(frame) in HOW.get("crash", {}):
        os.kill(os.getpid(), signal.Signals[HOW["crash"][str(frame)]])
        time.sleep(60)
    if frame in HOW.get("raise", ()):
        raise RuntimeError("a fault of the stub")


def write(scratch: Path, frame: int, attempt: str) -> list[tuple[Path, str]]:
    """Two files; each attempt's have bytes and sizes of their own."""
    files = []
    for name in (f"f_{frame:04d}.png", f"depth/f_{frame:04d}.exr"):
        source = scratch / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(f"{attempt} {frame} {name} ".encode() * random.randint(50, 2000))
        files.append((source, name))
    return files


def make_record(
    files: list[tuple[Path, str]], frame: int, camera: str | None, attempt: str, render_hash: str
) -> dict[str, Any]:
    entries = []
    for index, (source, name) in enumerate(files):
        content = source.read_bytes()
        role = "file_output" if index else "main"
        digest = hashlib.sha256(content).hexdigest()
        entries.append({"path": name, "role": role, "bytes": len(content), "sha256": digest})
    return {
        "schema": 1,
        "frame": frame,
        "camera": camera,
        "files": entries,
        "render_hash": render_hash,
        "seconds": 0.1,
        "attempt": attempt,
    }


if __name__ == "__main__":
    try:
        code = main()
    except OSError as error:
        volume.emit("fatal", code=volume.OUTPUT, cause=None, message=str(error))
        code = volume.OUTPUT
    except RuntimeError as error:
        volume.emit("fatal", code=volume.UNHANDLED, cause=None, message=str(error))
        code = volume.UNHANDLED
    sys.stdout.flush()
    os._exit(code)

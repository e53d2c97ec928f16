"""A Blender that renders in milliseconds: takes render_chunk's command line, publishes small real PNGs through the real code.

`python stub_blender.py --stub JSON -b … --python …/render_chunk.py -- …`. JSON says how it behaves:
seconds (per frame), fail [frames], crash {frame: [signal, how many times]}, memory {frame: how many times it takes 4 GiB}, exit [code, how many times, message].
How often something happened is counted on the volume, so that every machine counts together.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

SCRIPT = Path(sys.argv[sys.argv.index("--python") + 1])
sys.path.insert(0, str(SCRIPT.parent))
import publish  # noqa: E402 - a script of the job, found by the path above
import volume  # noqa: E402

HOW: dict[str, Any] = json.loads(sys.argv[sys.argv.index("--stub") + 1])


def main() -> int:
    """Render the chunk; returns an exit code of the contract."""
    parser = argparse.ArgumentParser()
    for name in ("--root", "--job", "--chunk", "--camera", "--attempt", "--frames"):
        parser.add_argument(name, required=True)
    parser.add_argument("--revision", type=int, required=True)
    options = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :])
    paths = volume.JobPaths(options.root, options.job, options.revision)
    if not (paths.scene / "shot.blend").is_file():
        return fatal(volume.NEVER, volume.CAUSE_SCENE, "The scene is not prepared.")
    code, times, message = HOW.get("exit", (0, 0, ""))
    if code and happens(paths, f"exit.{options.chunk}", times):
        return fatal(code, None, message)
    failed = False
    for frame in volume.parse_frames(options.frames):
        if paths.stop.exists():
            return volume.STOPPED
        failed |= not render(paths, options, frame)
    return volume.SOME_FAILED if failed else volume.OK


def fatal(code: int, cause: int | None, message: str) -> int:
    """Say why the chunk ends, as render_chunk does."""
    volume.emit("fatal", code=code, cause=cause, message=message)
    return int(code)


def happens(paths: volume.JobPaths, what: str, times: int) -> bool:
    """Count on the volume; True for the first `times` calls."""
    folder = paths.job_dir / "logs" / "stub"
    folder.mkdir(exist_ok=True)
    for number in range(times):
        try:
            (folder / f"{what}.{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return True
    return False


def render(paths: volume.JobPaths, options: argparse.Namespace, frame: int) -> bool:
    """Render one frame; False if it failed."""
    render_hash, camera, began = volume.read_json(paths.plan)["render_hash"], options.camera or None, time.time()
    slug = volume.camera_slug(camera)
    if publish.finished_record(paths, slug, frame, render_hash) is not None:
        return True
    marker = paths.marker(slug, frame, options.attempt)
    volume.write_file(marker, b"started\n")
    volume.emit("frame_started", frame=frame, camera=camera, index=0, of=1)
    name, times = HOW.get("crash", {}).get(str(frame), ("", 0))
    if name and happens(paths, f"crash.{frame}", times):
        os.kill(os.getpid(), signal.Signals[name])
        time.sleep(60)
    if happens(paths, f"memory.{frame}", HOW.get("memory", {}).get(str(frame), 0)):
        hog = [b"x" * (1 << 26) for _ in range(64)]
        raise MemoryError(f"{len(hog)} times 64 MiB were not too much")
    time.sleep(HOW.get("seconds", 0))
    if frame in HOW.get("fail", ()):
        volume.emit("frame_failed", frame=frame, camera=camera, message=f"The stub can't render frame {frame}.")
        return False
    source = Path(os.environ["CLOUD_FARM_SCRATCH"]) / f"shot_{frame:04d}.png"
    source.write_bytes(picture(frame))
    record = {
        **describe(source, frame, camera, options),
        "render_hash": render_hash,
        "began": began,
        "ended": time.time(),
    }
    publish.publish(paths, record, [(source, source.name)])
    marker.unlink(missing_ok=True)
    volume.emit("frame_done", frame=frame, camera=camera, seconds=0.1, main=source.name, skipped=False)
    return True


def describe(source: Path, frame: int, camera: str | None, options: argparse.Namespace) -> dict[str, Any]:
    """Make the frame's record, all but its render hash."""
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {
        "schema": 1, "frame": frame, "camera": camera, "seconds": 0.1, "host": os.environ.get("CLOUD_FARM_NODE") or socket.gethostname(), "attempt": options.attempt,
        "blender": "4.5.15 (stub)",
        "files": [{"path": source.name, "role": "main", "bytes": len(content), "sha256": digest}],
    }  # fmt: skip


def picture(frame: int) -> bytes:
    """Make a grey PNG of 4 by 4 pixels that is another one for each frame."""
    rows = b"".join(b"\0" + bytes([frame % 256]) * 4 for _ in range(4))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


if __name__ == "__main__":
    try:
        exit_code = main()
    except OSError as error:
        exit_code = fatal(volume.OUTPUT, None, str(error))
    sys.stdout.flush()
    os._exit(exit_code)

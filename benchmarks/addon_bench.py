"""What the benchmarks of the add-on share: the built extension in a Blender of its own, a farm, and frames that nobody rendered.

Linux only: it looks for processes in /proc and lets a Blender that would render hold still.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cloud_farm.layout import JobLayout

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.rigs.filebrowser_server import BOT, FileBrowserServer

ROOT = Path(__file__).resolve().parents[1]
_DRIVER = Path(__file__).with_name("addon_driver.py")
ATTEMPT = "r1c00001.0badcafe"
STORES = ("filebrowser", "folder")
_PATIENCE = 600.0


@contextlib.contextmanager
def farm(folder: Path, *, store: str) -> Iterator[Path]:
    """Yield the root of a volume that this computer's Blenders see; the farm `bench` is how the add-on reaches it.

    Args:
        folder: Ours; the add-on's home is made in it.
        store: filebrowser for a real server in front of the volume, or folder.
    """
    volume = folder / "volume"
    profile: dict[str, Any] = {
        "engine": "local",
        "store": store,
        "volume": {"mount_path": str(volume)},
        "limits": {"workers": 1},
    }
    with contextlib.ExitStack() as stack:
        if store == "filebrowser":
            server = stack.enter_context(FileBrowserServer(volume))
            (folder / "password").write_text(BOT.password)
            login = {"user": BOT.name, "password": {"file": str(folder / "password")}}
            profile["filebrowser"] = {"url": server.url, **login}
        (folder / "home" / "farms").mkdir(parents=True)
        (folder / "home" / "farms" / "bench.yaml").write_text(json.dumps(profile))  # JSON is YAML
        yield volume


def drive(folder: Path, plan: dict[str, Any], *, wheels: Path) -> dict[str, Any]:
    """Run `addon_driver.py` in a Blender with an empty profile; returns what it measured."""
    build = [sys.executable, str(ROOT / "build.py"), "--output", str(folder), "--wheels", str(wheels)]
    subprocess.run(build, stdout=subprocess.DEVNULL, check=True)
    environment = {
        **os.environ,
        "BLENDER_USER_RESOURCES": str(folder / "profile"),
        "CLOUD_FARM_HOME": str(folder / "home"),
    }
    words = {**plan, "zip": str(next(folder.glob("*.zip"))), "folder": str(folder), "here": str(Path(__file__).parent)}
    paths = os.pathsep.join([str(ROOT / "backend"), str(Path(__file__).parent)])
    command = [sys.executable, str(_DRIVER), json.dumps(words)]
    done = subprocess.run(
        command, env={**environment, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"Blender ended with {done.returncode}. Its last words are above.")
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Renderers:
    """Publishes frames of a job as renderers do, at a pace, from a process of its own.

    Args:
        volume: The volume's root.
        job: Its id.
        picture: What every frame shows.
        frames: Their numbers, in order.
        pause: Seconds between two.
    """

    def __init__(self, volume: Path, job: str, picture: Path, frames: Sequence[int], pause: float) -> None:
        words = json.dumps([str(volume), job, str(picture), list(frames), pause])
        self._log = picture.with_name("published.json")
        self._process = subprocess.Popen([sys.executable, __file__, words, str(self._log)])

    def wait(self) -> dict[int, float]:
        """Wait for the last one; returns when the record of each got its name, seconds since 1970."""
        if self._process.wait(_PATIENCE):
            raise RuntimeError("The frames can't be published; why is above.")
        return {int(frame): at for frame, at in json.loads(self._log.read_text()).items()}


def publish(volume: Path, job: str, picture: Path, frames: Sequence[int], pause: float) -> dict[int, float]:
    """Publish frames; returns when the record of each got its name."""
    layout, content, published = JobLayout(job), picture.read_bytes(), {}
    sha256 = hashlib.sha256(content).hexdigest()
    for frame in frames:
        name = f"f_{frame:04d}.png"
        entry = {"path": name, "role": "main", "bytes": len(content), "sha256": sha256}
        record = {
            "schema": 1, "frame": frame, "camera": None, "files": [entry], "render_hash": "h", "seconds": 1.0,
            "host": "box", "attempt": ATTEMPT, "blender": "4.5.15", "device": "CPU",
        }  # fmt: skip
        place = volume / str(layout.record(1, None, frame))
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(place.with_suffix(".claim"), "x") as claim:
            claim.write("{}")
            _rename_into(volume / str(layout.frames(1, frame) / name), content)
            _rename_into(place, json.dumps(record).encode())
            published[frame] = time.time()
        time.sleep(pause)
    return published


def _rename_into(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.rename(path)


def renderers_of(job: str) -> list[int]:
    """Return the processes that render a job here."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if job.encode() in words and any(word.endswith(b"render_chunk.py") for word in words):
                found.append(int(path.parent.name))
    return found


@contextlib.contextmanager
def holding_still(processes: Sequence[int]) -> Iterator[None]:
    """Stop processes where they are for as long: what they compute is no part of what is measured. Afterwards they are ended."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value below which so large a part of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def arguments(**numbers: float) -> argparse.Namespace:
    """Read the command line: numbers with their defaults, farms with which stores, where to work."""
    parser = argparse.ArgumentParser()
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--stores", nargs="+", default=STORES, choices=STORES)
    parser.add_argument("--wheels", type=Path, default=ROOT / "build" / "wheels", help="where libraries are kept")
    parser.add_argument("--folder", type=Path, help="on which disk (default: the system's folder for temporary files)")
    return parser.parse_args()


@contextlib.contextmanager
def work_folder(parent: Path | None) -> Iterator[Path]:
    """Yield a folder that goes with us, and say which machine this is."""
    if not Path("/proc/self").exists():
        raise SystemExit("This benchmark runs on Linux only.")
    print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}")
    with tempfile.TemporaryDirectory(prefix="cloud-farm-bench-", dir=parent) as folder:
        yield Path(folder)


if __name__ == "__main__":
    _volume, _job, _picture, _frames, _pause = json.loads(sys.argv[1])
    _published = publish(Path(_volume), _job, Path(_picture), _frames, _pause)
    Path(sys.argv[2]).write_text(json.dumps(_published))

"""A job on a volume, made by hand, for tests of what runs on the farm: supervisor, preparation, publishing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

INSIDE = Path(__file__).parents[2] / "backend" / "cloud_farm" / "inside_blender"
if str(INSIDE) not in sys.path:
    sys.path.append(str(INSIDE))

import volume  # noqa: E402 - a script of inside_blender, found by the path above

STUB = (sys.executable, str(Path(__file__).with_name("stub_blender.py")))
LAUNCHER = (sys.executable, str(INSIDE / "bpy_launcher.py"))
RENDER_HASH = "5" * 64


def blender_version() -> str:
    """`4.5` of the bpy wheel that is installed; any version where there is none."""
    try:
        return ".".join(importlib.metadata.version("bpy").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        return "4.5"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class StubJob:
    """One job with its assets, plan and scripts; runs its attempts by the real supervisor."""

    def __init__(
        self,
        base: Path,
        frames: str = "1-4",
        *,
        root: Path | None = None,
        blender: Sequence[str] = STUB,
        **limits: Any,
    ) -> None:
        self.base = base
        self.root = root or base / "volume"
        self.job = "shot-20261123-abc123"
        self.blender = tuple(blender)
        self.paths = volume.JobPaths(self.root, self.job, 1)
        self.files: dict[str, bytes] = {"shot.blend": b"BLENDER stub", "tex/a.png": b"a picture"}
        self.renders = base / "renders.txt"
        self.fault_file = base / "reached.txt"
        self.chunks = [{"id": "r1c00001", "camera": None, "frames": frames}]
        self.limits = {
            "frame_seconds": None, "frame_tries": 3, "cost_cap": None, "price_per_hour": None, "log_bytes": 1 << 24,
            "visibility_s": 0.0, "umask": 2, **limits,
        }  # fmt: skip
        self.settings: dict[str, Any] = {
            "scene_file": "shot.blend", "scene": None, "view_layers": [], "engine": None, "device": "cpu",
            "device_with_cpu": False, "format": "PNG", "percentage": None, "samples": 1, "seed": None, "persistent_data": False,
            "template": "shot_####", "camera_prefix": False, "allowed_missing": [], "allow_scripts": False,
        }  # fmt: skip
        self.version = blender_version()
        self.plan_sha256 = ""

    def write(self) -> StubJob:
        """Put everything on the volume, as a submission does."""
        for content in self.files.values():
            self.put_asset(content)
        self.write_job_json()
        hashes = {}
        for path in sorted(INSIDE.glob("*.py")):
            hashes[path.name] = sha256(path.read_bytes())
            volume.write_file(self.paths.scripts / path.name, path.read_bytes())
        plan = {
            "schema": 1, "job": self.job, "revision": 1, "blender": self.version, "manifest_sha256": self.manifest()["manifest_sha256"],
            "scripts": hashes, "render_hash": RENDER_HASH, "settings": self.settings, "limits": self.limits,
            "chunks": self.chunks,
        }  # fmt: skip
        content = json.dumps(plan).encode()
        volume.write_file(self.paths.plan, content)
        self.plan_sha256 = sha256(content)
        return self

    def put_asset(self, content: bytes) -> Path:
        digest = sha256(content)
        target = self.paths.assets / digest[:2] / digest
        volume.write_file(target, content)
        return target

    def entries(self) -> list[dict[str, Any]]:
        return [
            {"path": path, "size": len(content), "sha256": sha256(content), "mode": 0o644}
            for path, content in sorted(self.files.items())
        ]

    def manifest(self, entries: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        listed = sorted(self.entries() if entries is None else entries, key=lambda entry: str(entry["path"]))
        plain = {"scene": "shot.blend", "files": listed}
        return {**plain, "manifest_sha256": sha256(volume.canonical_json(plain))}

    def write_job_json(self, entries: list[dict[str, Any]] | None = None) -> None:
        volume.write_json(self.paths.job_json, {"schema": 1, "id": self.job, "pack": self.manifest(entries)})

    def command(self, task: str) -> list[str]:
        script = str(self.paths.scripts / "run_attempt.py")
        head = [sys.executable, script, "--root", str(self.root), "--job", self.job, "--revision", "1"]
        return [*head, "--task", task, "--plan-sha256", self.plan_sha256, "--", *self.blender]

    def start(
        self, task: str = "r1c00001", *, stub: Mapping[str, Any] | None = None, fault: str = "", **env: str
    ) -> subprocess.Popen[str]:
        """Start an attempt in the background; `fault` names the state at which it waits to be killed."""
        scratch = self.base / "scratch"
        scratch.mkdir(exist_ok=True)
        environment = {
            **os.environ, "STUB": json.dumps(stub or {}), "STUB_RENDERS": str(self.renders), "CLOUD_FARM_SCRATCH": str(scratch),
            "CLOUD_FARM_FAULT": fault, "CLOUD_FARM_FAULT_FILE": str(self.fault_file), **env,
        }  # fmt: skip
        return subprocess.Popen(
            self.command(task), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, task: str = "r1c00001", *, stub: Mapping[str, Any] | None = None, **env: str) -> tuple[int, str]:
        """Run an attempt to its end: (exit code, what it printed)."""
        with self.start(task, stub=stub, **env) as process:
            output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def reached(self) -> int:
        """Wait until the wanted state is reached; the pid of the process that waits there."""
        wait_for(lambda: self.fault_file.exists() and " " in self.fault_file.read_text())
        return int(self.fault_file.read_text().split()[1])

    def ends(self) -> list[dict[str, Any]]:
        """Every attempt's end, the oldest first."""
        found = sorted(self.paths.attempts.glob("*.end.json"), key=lambda path: path.stat().st_mtime_ns)
        return [volume.read_json(path) for path in found]

    def records(self, *, slug: str = "scene") -> dict[int, dict[str, Any]]:
        folder = self.paths.job_dir / "records" / "r1"
        found = [volume.read_json(path) for path in folder.glob(f"*/{slug}.*.json")]
        return {record["frame"]: record for record in found}

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """Inode and time of every finished record and of its files: equal later means nobody wrote them again."""
        paths = []
        for frame, record in self.records().items():
            paths.append(self.paths.record("scene", frame))
            paths += [self.paths.frames(frame) / item["path"] for item in record["files"]]
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}

    def rendered(self) -> list[int]:
        """Frames in the order in which the stub rendered them."""
        return [int(line.split()[0]) for line in self.renders.read_text().splitlines()] if self.renders.exists() else []

    def check_whole(self, frames: Sequence[int]) -> None:
        """Every frame has a record, every file is what its record says, and nothing else has a final name."""
        records = self.records()
        assert sorted(records) == sorted(frames)
        named = set()
        for frame, record in records.items():
            for item in record["files"]:
                path = self.paths.frames(frame) / item["path"]
                named.add(path)
                assert path.stat().st_size == item["bytes"]
                assert sha256(path.read_bytes()) == item["sha256"]
        assert {path for path in (self.paths.job_dir / "frames").rglob("*") if path.is_file()} == named
        assert not list((self.paths.job_dir / "records").rglob("*.part"))


def is_gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that its new parent has not looked at yet has)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)

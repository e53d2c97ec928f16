"""The farm's volume as the machines that render see it: paths, safe writing, progress lines, exit codes.

Standard library only. `cloud_farm/layout.py` has the same path rules for the side that submits; a test holds the two together.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import sys
import time
import unicodedata
import uuid
from pathlib import Path
from typing import Any

OK = 0
UNHANDLED = 10
NO_DEVICE = 11
SOME_FAILED = 12
OUTPUT = 13
DEVICE_ERROR = 16
NEVER = 78
STOPPED = 143

CAUSE_FRAMES = 12
CAUSE_FILE_MISSING = 14
CAUSE_SCENE = 15
CAUSE_HASH = 17
CAUSE_COST = 18

_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)

_LAST_WORDS = 300
"""Letters of a container's last words: Argo keeps them with every attempt, and its whole list must stay below 1 MiB."""

RENDER_FOLDERS = ("frames", "records", "markers", "attempts", "logs")
"""What an attempt at a chunk writes of its job; all else may be read-only for it."""

# What some computer that frames land on can't store, or would show turned around; `landing.py` refuses the same.
_UNPORTABLE = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff<>:"|?*\\]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])( *\..*)?", re.IGNORECASE)

BLOCK = 500
PROGRESS = '{"cloud_farm":'
"""Each progress line begins so; everything else in a log is Blender's own talk."""


class JobPaths:
    """The paths of one revision of one job, as files of this machine."""

    def __init__(self, root: str | Path, job: str, revision: int, *, visibility_s: float = 0.0) -> None:
        self.root = Path(root)
        self.visibility_s = visibility_s
        self.job = job
        self.revision = revision
        self.assets = self.root / "cloud-farm" / "assets"
        self.job_dir = self.root / "cloud-farm" / "jobs" / job
        self.job_json = self.job_dir / "job.json"
        self.plan = self.job_dir / "plans" / f"{revision}.json"
        self.scripts = self.job_dir / "scripts"
        self.scene = self.job_dir / "scene"
        self.scene_ready = self.job_dir / "scene.ready"
        self.stop = self.job_dir / "control" / "stop"
        self.markers = self.job_dir / "markers"
        self.attempts = self.job_dir / "attempts"

    def frames(self, frame: int) -> Path:
        """Folder of the frame's files."""
        return self.job_dir / "frames" / f"r{self.revision}" / block_of(frame)

    def record(self, slug: str, frame: int) -> Path:
        """The frame's record."""
        return self._records(frame) / f"{slug}.{frame_text(frame)}.json"

    def claim(self, slug: str, frame: int) -> Path:
        """Who holds this publishes the frame."""
        return self._records(frame) / f"{slug}.{frame_text(frame)}.claim"

    def marker(self, slug: str, frame: int, attempt: str) -> Path:
        """Present while an attempt renders the frame, and after it failed or died there."""
        return self.markers / f"{slug}.{frame_text(frame)}.{attempt}"

    def log(self, attempt: str) -> Path:
        """The attempt's log."""
        return self.job_dir / "logs" / f"{attempt}.log"

    def attempt_start(self, attempt: str) -> Path:
        """Who runs the attempt, since when."""
        return self.attempts / f"{attempt}.start.json"

    def attempt_end(self, attempt: str) -> Path:
        """How the attempt ended."""
        return self.attempts / f"{attempt}.end.json"

    def trash(self, path: Path, tag: str) -> Path:
        """Where something of this job goes instead of being deleted."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        relative = path.relative_to(self.job_dir)
        return self.root / "cloud-farm" / "trash" / day / self.job / relative.parent / f"{relative.name}.{tag}"

    def _records(self, frame: int) -> Path:
        return self.job_dir / "records" / f"r{self.revision}" / block_of(frame)


def slugify(text: str, limit: int = 40) -> str:
    """Make a lower-case ASCII name of letters, digits and single dashes; `x` if nothing remains."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:limit].strip("-") or "x"


def camera_slug(camera: str | None) -> str:
    """Name a camera in file names; `scene` when the scene decides."""
    if not camera:
        return "scene"
    return f"{slugify(camera)}-{hashlib.sha256(camera.encode()).hexdigest()[:6]}"


def frame_text(frame: int) -> str:
    """Write a frame with six digits, its sign kept."""
    return f"{'-' if frame < 0 else ''}{abs(frame):06d}"


def block_of(frame: int) -> str:
    """Name the block folder that a frame lies in."""
    return str(frame // BLOCK)


def parse_frames(text: str) -> list[int]:
    """Read the canonical text of a frame set; other forms are not known here."""
    frames: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(-?\d+)(?:-(-?\d+)(?::(\d+))?)?", part)
        if match is None:
            raise ValueError(f"not a canonical frame set: {text!r}")
        first = int(match[1])
        frames.extend(range(first, int(match[2] or first) + 1, int(match[3] or 1)))
    return frames


def format_frames(frames: list[int]) -> str:
    """Write frames as single numbers and runs: short enough, and `parse_frames` reads it."""
    parts: list[str] = []
    ordered = sorted(set(frames))
    start = 0
    for index, frame in enumerate(ordered):
        if index + 1 == len(ordered) or ordered[index + 1] != frame + 1:
            parts.append(str(frame) if index == start else f"{ordered[start]}-{frame}")
            start = index + 1
    return ",".join(parts)


def canonical_json(data: Any) -> bytes:
    """Write JSON in the one form that is hashed."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256_file(path: Path) -> str:
    """Hash a file, 1 MiB at a time."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; ValueError if it is none."""
    data = json.loads(path.read_bytes())
    if not isinstance(data, dict):
        raise ValueError(f"{path} is not a JSON object")
    return data


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, each with the group of the one above it: what renderers and the file server share."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        return
    try:
        os.chmod(folder, stat.S_IMODE(folder.stat().st_mode) | stat.S_ISGID)
    except OSError:
        return  # this file system, or a user outside the group, does not take the group's bit


def write_file(path: Path, content: bytes) -> None:
    """Write a file's bytes, every write, fsync and close checked; the name is not final until this returns."""
    make_folder(path.parent)
    with open(path, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def write_json(path: Path, data: Any, *, exclusive: bool = False) -> bool:
    """Publish JSON under its final name at once and whole.

    Returns:
        False when `exclusive` is set and the name was taken (it is left untouched), else True.

    Raises:
        OSError: The volume can't be written; nothing is left behind.
    """
    return publish_bytes(path, json.dumps(data, indent=1, ensure_ascii=False).encode(), exclusive=exclusive)


def publish_bytes(path: Path, content: bytes, *, exclusive: bool = False) -> bool:
    """Publish bytes as `write_json` does."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        write_file(part, content)
        if exclusive:
            return link_exclusive(part, path)
        os.replace(part, path)
        return True
    finally:
        _remove_quietly(part)


def link_exclusive(source: Path, target: Path) -> bool:
    """Give a finished file a second name unless the name is taken: exactly one caller wins, on any file system."""
    try:
        os.link(source, target)
        return True
    except FileExistsError:
        return _is_same_file(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    return _create_exclusive(source.read_bytes(), target)


def _is_same_file(source: Path, target: Path) -> bool:
    """Tell whether the name that is taken is our own: NFS repeats a request whose answer was lost, and then says EEXIST."""
    try:
        return os.path.samefile(source, target)
    except OSError:
        return False


def _create_exclusive(content: bytes, target: Path) -> bool:
    """The way of file systems without hard links; a reader may meet a half-written file and must treat it as torn."""
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        _remove_quietly(target)  # ours, and torn: it must not keep others out
        raise
    return True


def _remove_quietly(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        return  # gone already, or on a volume that takes nothing any more


def to_trash(paths: JobPaths, path: Path, tag: str) -> Path | None:
    """Move something of the job out of the way without deleting it; None if it is absent (another was faster)."""
    try:
        return _move_away(path, paths.trash(path, tag), tag)
    except FileNotFoundError:
        return None


def _move_away(path: Path, target: Path, tag: str) -> Path:
    """Move to the trash; a pod that renders can write only some folders of the job, there it stays beside, under a name nobody reads."""
    try:
        make_folder(target.parent)
        os.replace(path, target)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EXDEV):
            raise
        target = path.with_name(f"{path.name}.{tag}.trash")
        os.replace(path, target)
    return target


def discard(paths: JobPaths, path: Path, seen: bytes) -> None:
    """Move a broken file to the trash, but only the one that was seen: what another put in its place meanwhile is put back."""
    target = to_trash(paths, path, uuid.uuid4().hex[:8])
    if target is not None and target.read_bytes() != seen and link_exclusive(target, path):
        _remove_quietly(target)


def is_inside(path: str) -> bool:
    """Tell whether a POSIX path of a list is plainly inside the folder that the list is about."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(ord(char) < 32 or ord(char) == 127 for char in path):
        return False
    # Drives and back-slashes mean something on Windows only; elsewhere they are letters like others.
    return os.name != "nt" or not any(char in path for char in "\\:")


def portable(path: str) -> str:
    """Name a file so that every artist's computer can store it, whatever system it has."""
    parts = [_UNPORTABLE.sub("_", part).rstrip(". ") or "_" for part in path.split("/")]
    return "/".join(f"_{part}" if _RESERVED.fullmatch(part) else part for part in parts)


def emit(event: str, **fields: Any) -> None:
    """Write one progress line."""
    sys.stdout.write(json.dumps({"cloud_farm": event, **fields}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def last_words(text: str) -> None:
    """Print why the process ends, also where a container is asked for it (CLOUD_FARM_LAST_WORDS), short enough for a list."""
    sys.stderr.write(f"{text}\n")
    try:
        Path(os.environ["CLOUD_FARM_LAST_WORDS"]).write_text(text[:_LAST_WORDS], encoding="utf-8")
    except (KeyError, OSError):
        return


def iso_now() -> str:
    """Return the present moment as the contract writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def reach(state: str, frame: int | None = None) -> None:
    """Stop for ever at a named state if a test asked for it (CLOUD_FARM_FAULT): it then kills a process at a proven place.

    Only the first process that comes there stops; who finishes the dead one's work passes.
    """
    wanted = os.environ.get("CLOUD_FARM_FAULT", "")
    if wanted not in (state, f"{state}:{frame}"):
        return
    try:
        with open(os.environ["CLOUD_FARM_FAULT_FILE"], "x", encoding="utf-8") as stream:
            stream.write(f"{state} {os.getpid()}")
    except FileExistsError:
        return
    while True:
        time.sleep(60)

"""Where finished frames land on the artist's computer, and how: verified, whole, never over something newer."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from .errors import LandingError
from .job import FileRecord, FrameRecord, RenderJob, SceneInfo
from .layout import JobLayout
from .platform import user_folders
from .stores import Store

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


def landing_folder(job: RenderJob, scene: SceneInfo, job_id: str, *, blend_folder: Path | None) -> Path:
    """Choose the folder for a job's frames (contract §5).

    The job's own landing path, else the scene's; if that is unset, temporary or absent here,
    `<blend folder or home>/cloud-farm/<job>`.

    Args:
        blend_folder: Where the scene file lies; None if that is not on this computer.
    """
    here = blend_folder is not None and blend_folder.is_dir()
    blend_folder = blend_folder if blend_folder is not None and here else Path.home()
    wanted = job.landing or scene.output
    folder = _folder_of(wanted, blend_folder) if wanted and "{" not in wanted else None
    if job.landing and folder is not None:
        return folder
    beside = here and wanted.startswith("//")
    if folder is None or not (beside or (folder.is_dir() and not _is_temporary(folder))):
        return blend_folder / "cloud-farm" / job_id
    return folder


def check_landing(folder: Path) -> None:
    """Make the folder and prove that it can be written.

    Raises:
        LandingError: It can't; says what to choose instead.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise LandingError(
            f"Frames can't be written to {folder}: {error.strerror or error}. Choose another folder with -o."
        ) from error


def safe_relative(path: str) -> PurePosixPath:
    """Return a path of the farm as one that stays inside its folder on every system.

    Raises:
        LandingError: It is absolute, leads out, or has a name that some system can't store.
    """
    parts = path.split("/")
    good = path and all(
        part not in ("", ".", "..")
        and not _FORBIDDEN.search(part)
        and not _RESERVED.fullmatch(part)
        and not part.endswith((" ", "."))
        and len(part.encode()) <= 255
        for part in parts
    )
    if not good:
        raise LandingError(
            f"The farm offers a file named {path!r}; it was not written, because that name could leave its folder or can't be stored here."
        )
    return PurePosixPath(path)


class Landing:
    """Lands the frames of one job in one folder.

    Attributes:
        folder: Where files go; a sibling folder is used for a file that is newer than the job and not ours.
    """

    def __init__(self, store: Store, job_id: str, folder: Path, *, created: float) -> None:
        self._store = store
        self._layout = JobLayout(job_id)
        self.folder = folder
        self.sibling = folder.with_name(f"{folder.name} ({job_id})")
        self._created = created
        self._ledger = user_folders().state / "landed" / f"{job_id}.jsonl"
        self._landed = self._read_ledger()
        self.set_aside: list[Path] = []

    def land(self, revision: int, record: FrameRecord) -> Path:
        """Bring a frame's files here unless they are; returns where the main file is.

        Raises:
            LandingError: A hostile name, or the folder can't be written.
            HashMismatchError: The farm's file is not what its record says.
        """
        paths = {item.path: self._land_file(revision, record.frame, item) for item in record.files}
        return paths[record.main.path]

    def _land_file(self, revision: int, frame: int, item: FileRecord) -> Path:
        relative = safe_relative(item.path)
        target = self._choose(relative, item)
        if self._landed.get(str(target)) == item.sha256 and target.is_file() and target.stat().st_size == item.bytes:
            return target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._store.get(self._layout.frames(revision, frame) / relative, target, sha256=item.sha256)
        except OSError as error:
            raise LandingError(
                f"{target} can't be written: {error.strerror or error}. Free some space or choose another folder with -o."
            ) from error
        self._remember(target, item.sha256)
        return target

    def _choose(self, relative: PurePosixPath, item: FileRecord) -> Path:
        target = self.folder / relative
        ours = str(target) in self._landed
        if ours or not target.exists() or (target.is_file() and target.stat().st_mtime < self._created):
            return target
        aside = self.sibling / relative
        if str(aside) not in self._landed:
            self.set_aside.append(aside)
        return aside

    def _read_ledger(self) -> dict[str, str]:
        """Files that we landed before: target to sha256."""
        landed: dict[str, str] = {}
        if self._ledger.is_file():
            for line in self._ledger.read_text(encoding="utf-8").splitlines():
                entry = _ledger_entry(line)
                landed.update(entry)
        return landed

    def _remember(self, target: Path, sha256: str) -> None:
        self._landed[str(target)] = sha256
        self._ledger.parent.mkdir(parents=True, exist_ok=True)
        with self._ledger.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"path": str(target), "sha256": sha256}) + "\n")


def default_fetch_folder(job_id: str) -> Path:
    """Where `fetch` puts frames of a job that was submitted from another computer."""
    return Path.cwd() / job_id


def _ledger_entry(line: str) -> Mapping[str, str]:
    try:
        entry = json.loads(line)
        return {str(entry["path"]): str(entry["sha256"])}
    except (ValueError, KeyError, TypeError):
        return {}  # the last line of a killed program; the file it meant is simply landed again


def _folder_of(output: str, blend_folder: Path) -> Path | None:
    """Turn a Blender output path into its folder on this computer, None for the bare unset one."""
    text = output.replace("\\", "/")
    head = text.rpartition("/")[0]
    if text.startswith("//"):
        return (blend_folder / text[2:]).parent if not text.endswith("/") else blend_folder / text[2:]
    if not head and not text.startswith("/"):
        return Path.cwd()
    return Path(head or "/").expanduser().absolute()


def _is_temporary(folder: Path) -> bool:
    """Tell whether it is below the system's folder for temporary files; Blender's own default output is /tmp."""
    resolved = folder.resolve()
    temporary = (Path(tempfile.gettempdir()).resolve(), Path("/tmp").resolve())  # noqa: S108 - Blender's default output
    return any(resolved == place or place in resolved.parents for place in temporary)

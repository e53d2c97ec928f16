"""Where finished frames land on the artist's computer, and which names the farm may make us write there."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path, PurePosixPath

from .errors import FrameNotLandedError, LandingError
from .job import RenderJob, SceneInfo

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])( *\..*)?", re.IGNORECASE)
"""Devices on Windows, with any suffix."""
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff<>:"|?*\\]')
"""Control characters, those that turn text around, halves of characters, and what Windows can't store."""
_LONGEST = 255


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
        FrameNotLandedError: It is absolute, leads out, or has a name that some system can't store.
    """
    parts = path.split("/")
    good = path and all(
        part not in ("", ".", "..")
        and not _FORBIDDEN.search(part)
        and not _RESERVED.fullmatch(part)
        and not part.endswith((" ", "."))
        and len(part.encode()) <= _LONGEST
        for part in parts
    )
    if not good:
        raise FrameNotLandedError(
            f"The farm offers a file named {path!r}; it was not written, because that name could leave its folder or can't be stored here."
        )
    return PurePosixPath(path)


def check_inside(target: Path, base: Path) -> None:
    """Refuse a path that leaves the folder by a symbolic link in it.

    Raises:
        FrameNotLandedError: It does.
    """
    real, root = Path(os.path.realpath(target.parent)), Path(os.path.realpath(base))
    if root not in (real, *real.parents):
        raise FrameNotLandedError(
            f"{target} was not written: a symbolic link on the way leads out of {base}, to {real}."
            " Remove the link or choose another folder with -o."
        )


def default_fetch_folder(job_id: str) -> Path:
    """Where `fetch` puts frames of a job that was submitted from another computer."""
    return Path.cwd() / job_id


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

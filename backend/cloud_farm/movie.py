"""A movie of the frames that landed, made by the Blender of this computer: `fetch --encode`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .blender import find_blender, run_script
from .errors import InvalidJobError, LandingError
from .job import JobDocument
from .landing import safe_relative
from .layout import asset, slugify
from .profile import FarmProfile
from .stores import Store

_ENCODE_SECONDS = 6 * 3600.0
_SOUND = frozenset({
    ".wav", ".mp3", ".ogg", ".oga", ".flac", ".aac", ".m4a", ".opus", ".aif", ".aiff", ".wma", ".mp2", ".ac3",
    ".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv",
    ".blend",
})  # fmt: skip
"""Files of a scene that its sound may need; textures and caches stay on the farm."""

_OTHER_MOVIES = (".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".ogv")


@dataclass(frozen=True)
class Movie:
    """A movie that was made.

    Attributes:
        notes: What it lacks, in plain words.
    """

    path: Path
    notes: tuple[str, ...] = ()


def encode_movies(
    document: JobDocument,
    frames: Mapping[tuple[str | None, int], Path],
    *,
    store: Store,
    profile: FarmProfile,
    target: Path,
) -> tuple[Movie, ...]:
    """Make one movie of each camera's frames.

    Args:
        frames: Where each finished frame's main file lies on this computer, by (camera, frame).
        target: The movie's path; a folder takes `<job name>.mp4`, several cameras add `_<camera>`.

    Raises:
        InvalidJobError: There is no frame, or the frames are of a kind that no movie takes.
        LandingError: The movie can't be written there.
        BlenderError: No Blender, or it failed.
    """
    if not frames:
        raise InvalidJobError(f"Job {document.id} has no finished frames yet, so there is nothing to make a movie of.")
    by_camera: dict[str | None, list[tuple[int, Path]]] = {}
    for (camera, frame), path in sorted(frames.items(), key=lambda item: item[0][1]):
        by_camera.setdefault(camera, []).append((frame, path))
    with TemporaryDirectory(prefix="cloud-farm-movie-") as folder:
        scene_file = _bring_scene(document, store, Path(folder))
        return tuple(
            _encode(
                document,
                of_camera,
                _movie_path(document, target, camera, several=len(by_camera) > 1),
                profile,
                scene_file,
            )
            for camera, of_camera in by_camera.items()
        )


def _encode(
    document: JobDocument,
    frames: Sequence[tuple[int, Path]],
    movie: Path,
    profile: FarmProfile,
    scene_file: Path | None,
) -> Movie:
    scene = document.pack.facts.scene(document.job.scene)
    whole = max(1, round(scene.fps))
    part = movie.with_name(f".{movie.stem}.part{movie.suffix}")
    request = {
        "frames": [[frame, str(path)] for frame, path in frames],
        "movie": str(part),
        "fps": [whole, whole / scene.fps],
        "scene_file": str(scene_file) if scene_file else "",
        "scene": scene.name,
    }
    try:
        movie.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="cloud-farm-movie-") as folder:
            ask = Path(folder) / "request.json"
            ask.write_text(json.dumps(request), encoding="utf-8")
            launcher = find_blender(profile.blender or None, file_version=document.pack.facts.numbers)
            answer = run_script(launcher, "encode_movie.py", ["--request", str(ask)], timeout=_ENCODE_SECONDS)
        part.replace(movie)
    except OSError as error:
        raise LandingError(f"The movie can't be written to {movie}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # where nothing can be written, nothing is left either
            part.unlink(missing_ok=True)
    return Movie(movie, tuple(str(note) for note in answer["notes"]))


def _movie_path(document: JobDocument, target: Path, camera: str | None, *, several: bool) -> Path:
    if target.suffix.lower() in _OTHER_MOVIES:
        raise InvalidJobError(
            f"Movies are made as .mp4 (H.264), not as {target.suffix}. Name one that ends so, or a folder."
        )
    path = target if target.suffix.lower() == ".mp4" else target / f"{slugify(document.job.title)}.mp4"
    return path.with_name(f"{path.stem}_{slugify(camera or 'scene')}{path.suffix}") if several else path.absolute()


def _bring_scene(document: JobDocument, store: Store, folder: Path) -> Path | None:
    """Fetch the scene file with what its sound may need; None where it has no sound."""
    if not document.pack.facts.scene(document.job.scene).has_sound:
        return None
    for entry in document.pack.files:
        path = safe_relative(str(entry["path"]))
        if path.suffix.lower() in _SOUND and not entry.get("parts"):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            store.get(asset(str(entry["sha256"])), target, sha256=str(entry["sha256"]))
    return folder / safe_relative(document.pack.scene)

"""Which jobs are on a volume, and which one people mean."""

from __future__ import annotations

from .errors import JobNotFoundError
from .layout import JOBS, JobLayout, is_job_id
from .stores import Store

DAY = slice(-len("20261123-abc123"), -len("-abc123"))
"""Where a job's id tells the day; before it stands the scene's name."""


def job_ids(store: Store) -> list[str]:
    """List the jobs on a volume."""
    return [entry.name for entry in store.list(JOBS) if entry.is_dir and is_job_id(entry.name)]


def find_job(store: Store, text: str, *, farm: str) -> str:
    """Return the one job id that begins with `text`; `last` or nothing is the newest.

    Args:
        farm: The farm's name, for messages.

    Raises:
        JobNotFoundError: None, or several.
    """
    ids = job_ids(store)
    if text in ("", "last"):
        if not ids:
            raise JobNotFoundError(f"Farm '{farm}' has no jobs yet. Start one with: cloud-farm render SCENE.blend")
        newest = max(job_id[DAY] for job_id in ids)  # ids tell the day; only its jobs have to be looked at
        return max((job_id for job_id in ids if job_id[DAY] == newest), key=lambda job_id: made_at(store, job_id))
    matches = [text] if text in ids else sorted(job_id for job_id in ids if job_id.startswith(text))
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise JobNotFoundError(f"'{text}' could be {', '.join(matches)}. Write more of it.", job_id=text)
    raise unknown_job(text, farm=farm)


def unknown_job(text: str, *, farm: str) -> JobNotFoundError:
    """The error for a job that is not there."""
    return JobNotFoundError(f"Farm '{farm}' has no job '{text}'. List them with: cloud-farm jobs", job_id=text)


def made_at(store: Store, job_id: str) -> float:
    """Return when a job's job.json was written, by the volume's clock; a folder without one is older than all."""
    path = JobLayout(job_id).job_json
    return next((entry.mtime for entry in store.list(path.parent) if entry.name == path.name), 0.0)

"""Who brings a job to the volume right now: a lock on this computer that ends with its program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import JobBusyError
from .platform import FileLock, user_folders


@contextmanager
def upload_lock(job_id: str) -> Iterator[None]:
    """Say, for the time of the block, that this program brings the job to the volume.

    Raises:
        JobBusyError: Another one does.
    """
    lock = FileLock(_path(job_id))
    if not lock.acquire():
        raise JobBusyError(f"Another program on this computer is just sending job {job_id}.")
    try:
        yield
    finally:
        lock.release(remove=True)


def is_being_sent(job_id: str) -> bool:
    """Tell whether a program of this user on this computer brings this job to the volume now."""
    return FileLock(_path(job_id)).is_held()


def _path(job_id: str) -> Path:
    return user_folders().state / "sending" / f"{job_id}.lock"

"""All jobs of a farm: what is on its volume, and what only its engine still knows of."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from contextlib import suppress

from .engines import Engine, EngineJob
from .errors import EngineError, InvalidJobError, JobNotFoundError, ProfileError, StoreError
from .job_search import job_ids
from .layout import JobLayout, is_job_id
from .parallel import for_each
from .status import FINAL_STATES, JobSummary, StatusReader
from .stores import Store

_MOST_FRAMES = 200_000
"""Of which is kept what was learned: 140 MB."""


class Summaries:
    """Sums up jobs that are on the volume; what was learned of one is kept, so that the next list costs what is new.

    Args:
        open_reader: Looks at a job for the first time.
    """

    def __init__(self, open_reader: Callable[[str], StatusReader]) -> None:
        self._open_reader = open_reader
        self._kept: dict[str, tuple[StatusReader, int]] = {}

    def of(self, job_id: str) -> JobSummary:
        """Sum a job up; one that can't be read is summed up as that."""
        reader, _ = self._kept.pop(job_id, (None, 0))
        try:
            reader = reader or self._open_reader(job_id)
            summary = reader.summary()
        except (InvalidJobError, JobNotFoundError, StoreError) as error:
            return JobSummary.unreadable(job_id, str(error))
        except Exception as error:  # noqa: BLE001 - one damaged job must not hide the others from the list
            return JobSummary.unreadable(job_id, f"{type(error).__name__}: {error}")
        if sum(frames for _, frames in tuple(self._kept.values())) + summary.frames_total <= _MOST_FRAMES:
            self._kept[job_id] = reader, summary.frames_total
        return summary


def list_jobs(store: Store, engine: Engine, summary: Callable[[str], JobSummary]) -> tuple[JobSummary, ...]:
    """List a farm's jobs, the newest first.

    Args:
        summary: Sums up a job that is on the volume.
    """
    known: tuple[EngineJob, ...] = ()
    with suppress(EngineError, ProfileError):  # the volume's jobs are there all the same
        known = engine.jobs()
    ids = job_ids(store)
    found: list[JobSummary] = []
    for_each(ids, lambda job_id, _stop: found.append(summary(job_id)), workers=store.connections)
    for job in known:
        # Asked once more: it may have been submitted or deleted while we looked. What can't be told is left out.
        with suppress(EngineError, ProfileError):
            if job.id not in ids and is_stray(store, engine, job.id):
                found.append(JobSummary.stray(job))
    return tuple(sorted(found, key=lambda job: (job.created, job.id), reverse=True))


def over_before(jobs: Iterable[JobSummary], moment: float) -> tuple[JobSummary, ...]:
    """Return the jobs that are over and were created before a moment, seconds since 1970 by the volume's clock."""
    limit = datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return tuple(job for job in jobs if job.created < limit and (job.state in FINAL_STATES or job.stalled))


def is_stray(store: Store, engine: Engine, job_id: str) -> bool:
    """Tell whether the engine knows a job of which nothing is on the volume."""
    return is_job_id(job_id) and not store.list(JobLayout(job_id).folder) and engine.status(job_id).known

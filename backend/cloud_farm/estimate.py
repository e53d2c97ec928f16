"""How long a job will take and what it will cost, from frames of the same scene that a farm rendered before."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import history
from .errors import CloudFarmError
from .job import RenderJob, parse_job
from .job_search import DAY, job_ids
from .layout import JobLayout, slugify
from .plan import RenderPlan
from .stages import StageTimes
from .stores import Store
from .tracking import JobTracker, Published

_MOST_JOBS, _MOST_FRAMES = 10, 9
_SAME = ("scene", "samples", "percentage", "device", "engine", "cameras", "view_layers")
"""What two jobs have in common if frames of one tell how long those of the other take."""


@dataclass(frozen=True)
class Measured:
    """What an earlier job tells.

    Attributes:
        frame_seconds: Mean of a sample of its frames, spread over the whole of it.
        frames: How many those were.
        loading_seconds: Mean time until a chunk's first frame began.
    """

    job: str
    frame_seconds: float
    frames: int
    loading_seconds: float


@dataclass(frozen=True)
class Estimate:
    """A guess, and what it rests on.

    Attributes:
        seconds: From the first chunk's start to the last one's end, if all places of the farm are ours.
        machine_seconds: What all machines work together.
        cost: In the unit of the farm's price; None where nothing has a price.
    """

    measured: Measured
    seconds: float
    machine_seconds: float
    cost: float | None


def estimate(plan: RenderPlan, measured: Measured) -> Estimate:
    """Tell how long a plan takes if its frames are like those that were measured. Pure."""
    chunks = [measured.loading_seconds + measured.frame_seconds * len(chunk.frames) for chunk in plan.chunks]
    total = sum(chunks)
    price = plan.document["limits"].get("price_per_hour")
    return Estimate(
        measured, makespan(chunks, plan.workers), total, None if price is None else total / 3600 * float(price)
    )


def makespan(tasks: Sequence[float], places: int) -> float:
    """Return when the last task ends if each goes, in order, to the place that is free first."""
    ends = [0.0] * max(1, min(places, len(tasks)))
    for seconds in tasks:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def find_measured(store: Store, job: RenderJob) -> Measured | None:
    """Return what the newest job tells that rendered frames of the same scene in the same way; None if there is none."""
    for job_id in _alike(store, job):
        found = measure(store, job_id)
        if found is not None:
            return found
    return None


def measure(store: Store, job_id: str) -> Measured | None:
    """Return what a job's finished frames tell; None while there are none."""
    tracker = JobTracker(store, job_id)
    tracker.refresh(history.revisions(history.read_history(store, job_id)), at_once=True)
    published = sorted(tracker.published.values(), key=lambda found: (found.revision, found.frame))
    records = [tracker.record(found) for found in _spread(published)]
    if not records:
        return None
    stages = StageTimes(store, tracker.layout)
    stages.look(tracker.ended_chunks)
    seconds = sum(record.seconds for record in records) / len(records)
    return Measured(job_id, seconds, len(records), stages.mean({}).get("loading", 0.0))


def _spread(published: Sequence[Published]) -> list[Published]:
    """Return a few of them, the first and the last among them."""
    if len(published) <= _MOST_FRAMES:
        return list(published)
    step = (len(published) - 1) / (_MOST_FRAMES - 1)
    return [published[round(number * step)] for number in range(_MOST_FRAMES)]


def _alike(store: Store, job: RenderJob) -> Iterator[str]:
    """Yield jobs of the same name that render in the same way, the newest day first."""
    begin = slugify(job.title) + "-"
    named = [job_id for job_id in job_ids(store) if job_id[: DAY.start] == begin]
    for job_id in sorted(named, key=lambda found: found[DAY], reverse=True)[:_MOST_JOBS]:
        try:
            path = JobLayout(job_id).job_json
            other = parse_job(store.read(path), where=str(path)).job
        except CloudFarmError:
            continue  # one damaged job says nothing about the others
        if all(getattr(other, name) == getattr(job, name) for name in _SAME):
            yield job_id

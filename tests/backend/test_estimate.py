"""How long a job will take: from frames of jobs that are alike, on as many places as the farm has."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from cloud_farm.estimate import Measured, estimate, find_measured, makespan, measure
from cloud_farm.job import RenderJob
from cloud_farm.json_data import from_json
from cloud_farm.profile import Limits
from cloud_farm.snapshots import scout_frames
from cloud_farm.stores import Store
from cloud_farm.stores.folder import FolderStore

from .test_job import job_json
from .test_plan import JOB_ID, PROFILE, planned
from .volume_job import LAYOUT, publish_frame, submit


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path)


def job_there() -> RenderJob:
    return from_json(RenderJob, job_json(id=JOB_ID)["job"], where="job")


@pytest.mark.parametrize(
    ("tasks", "places", "expected"),
    [([10], 1, 10), ([10, 10], 1, 20), ([10, 10], 2, 10), ([10, 10, 10], 2, 20), ([30, 10, 10, 10], 2, 30), ([5] * 100, 10, 50), ([5], 0, 5)],
)  # fmt: skip
def test_each_task_goes_to_the_place_that_is_free_first(tasks: list[float], places: int, expected: float) -> None:
    assert makespan(tasks, places) == expected


def test_time_and_cost_are_those_of_all_chunks() -> None:
    profile = dataclasses.replace(PROFILE, price_per_gpu_hour=2.0, limits=Limits(workers=2))
    plan = planned(profile=profile)
    guess = estimate(plan, Measured("job", 10.0, 3, loading_seconds=5.0))
    total = 10.0 * plan.frame_count + 5.0 * len(plan.chunks)
    assert guess.machine_seconds == total
    assert total / 2 <= guess.seconds <= total / 2 + max(len(chunk.frames) for chunk in plan.chunks) * 10 + 5
    price = plan.document["limits"]["price_per_hour"]
    assert guess.cost == pytest.approx(total / 3600 * price)
    assert estimate(planned(profile=PROFILE), Measured("job", 10.0, 3, 5.0)).cost is None


def test_a_sample_of_the_finished_frames_is_measured(store: Store) -> None:
    submit(store)
    assert measure(store, JOB_ID) is None
    for frame in range(1, 25):
        publish_frame(store, frame, seconds=float(frame))
    store.put(
        json.dumps({"spent": {"loading": 4.0, "rendering": 9.0}}).encode(),
        LAYOUT.attempts / "r1c00001.0badcafe.end.json",
    )
    found = measure(store, JOB_ID)
    assert found is not None
    assert (found.job, found.frames, found.loading_seconds) == (JOB_ID, 9, 4.0)
    assert found.frame_seconds == pytest.approx(12.5, abs=0.3), "spread over the whole job"


def test_only_a_job_that_renders_the_same_scene_in_the_same_way_counts(store: Store) -> None:
    submit(store)
    publish_frame(store, 1, seconds=7.0)
    like = job_there()
    found = find_measured(store, like)
    assert found is not None and found.frame_seconds == 7.0
    assert find_measured(store, dataclasses.replace(like, frames="900-999", comment="again")) is not None
    for other in (
        dataclasses.replace(like, samples=9), dataclasses.replace(like, percentage=3), dataclasses.replace(like, name="other"),
        dataclasses.replace(like, device="cpu"), dataclasses.replace(like, cameras=("Side",)),
    ):  # fmt: skip
        assert find_measured(store, other) is None, other


def test_a_damaged_job_beside_it_is_passed_over(store: Store) -> None:
    submit(store)
    publish_frame(store, 1, seconds=7.0)
    name = f"{JOB_ID[:-6]}ffffff"
    store.put(b"{", LAYOUT.folder.parent / name / "job.json")
    assert find_measured(store, job_there()) is not None


def test_scouts_are_the_first_the_middle_and_the_last_frame() -> None:
    assert scout_frames(planned()) == "1,13,24"
    assert scout_frames(planned(RenderJob("shot.blend", frames="7"))) == "7"

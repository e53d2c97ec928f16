"""Where the time of a job goes: a sample of attempts, and a sample of pods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.engines.argo_objects import PodStart
from cloud_farm.engines.argo_starts import StartReader, stage_means
from cloud_farm.errors import EngineForbiddenError
from cloud_farm.stages import StageTimes
from cloud_farm.stores import Store
from cloud_farm.stores.folder import FolderStore

from .fake_farm import make_status
from .test_cli_view import lines
from .volume_job import LAYOUT


class CountingStore(FolderStore):
    """A folder that counts what is read."""

    reads = 0

    def read(self, *arguments: Any, **more: Any) -> bytes:
        self.reads += 1
        return super().read(*arguments, **more)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path)


def ended(store: Store, number: int, content: object) -> str:
    attempt = f"r1c{number:05d}.0badcafe"
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    store.put(text, LAYOUT.attempts / f"{attempt}.end.json")
    return attempt


def test_the_stages_are_the_mean_of_what_attempts_say_in_the_order_of_a_chunks_way(store: Store) -> None:
    attempts = [ended(store, n, {"spent": {"loading": n, "rendering": 10 * n}}) for n in (1, 2, 3)]
    times = StageTimes(store, LAYOUT)
    times.look(attempts)
    assert list(times.mean({"pulling": 4.04, "pending": 1}).items()) == [
        ("pending", 1), ("pulling", 4.0), ("loading", 2.0), ("rendering", 20.0),
    ]  # fmt: skip


def test_a_look_reads_a_few_ends_and_no_job_more_than_its_sample(store: CountingStore) -> None:
    attempts = [ended(store, number, {"spent": {"loading": 1, "rendering": 1}}) for number in range(100)]
    times = StageTimes(store, LAYOUT)
    times.look(attempts)
    assert store.reads == 3
    for _ in range(60):
        times.look(attempts)
    assert store.reads == 60


@pytest.mark.parametrize(
    "content",
    [
        b"{", [], {"spent": None}, {"spent": {}}, {"spent": {"loading": "x", "rendering": 1}},
        {"spent": {"loading": 9, "rendering": 0}}, {"exit": 0},
    ],
)  # fmt: skip
def test_an_end_that_says_nothing_of_stages_counts_for_nothing(store: Store, content: object) -> None:
    times = StageTimes(store, LAYOUT)
    times.look([ended(store, 1, content), "r1c00002.0badcafe"])
    assert times.mean({}) == {}


def test_a_pod_waits_for_its_node_and_then_for_its_container() -> None:
    starts = [PodStart(100.0, 104.0, 110.0), PodStart(100.0, 100.0, 102.0), PodStart(100.0, 99.0, 101.0)]
    means = stage_means(starts)
    assert means == {"pending": pytest.approx(4 / 3), "pulling": pytest.approx(10 / 3)}
    assert stage_means([]) == {}


class Pods:
    """What a cluster answers, and how often it was asked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.starts: list[PodStart] = []
        self.asked = 0
        self.forbidden = False

    def fetch(self, _job: str, most: int) -> list[PodStart]:
        self.asked += 1
        if self.forbidden:
            raise EngineForbiddenError("no")
        return self.starts[:most]


def test_pods_are_asked_for_once_a_minute_and_while_none_runs_every_ten_seconds() -> None:
    pods = Pods()
    reader = StartReader(pods.fetch, clock=lambda: pods.now)
    assert reader.mean("j", look=True) == {} and pods.asked == 1
    pods.now += 9
    assert reader.mean("j", look=True) == {} and pods.asked == 1
    pods.now += 1
    pods.starts = [PodStart(0.5, 1.5, 3.5)]
    assert reader.mean("j", look=True) == {"pending": 1.0, "pulling": 2.0} and pods.asked == 2
    pods.now += 59
    reader.mean("j", look=True)
    assert pods.asked == 2
    pods.now += 1
    pods.starts = []  # they are gone by now: what they told stands
    assert reader.mean("j", look=True) == {"pending": 1.0, "pulling": 2.0} and pods.asked == 3
    assert reader.mean("j", look=False) and pods.asked == 3
    assert reader.mean("another", look=False) == {} and pods.asked == 3


def test_who_may_not_see_pods_follows_all_the_same() -> None:
    pods = Pods()
    pods.forbidden = True
    reader = StartReader(pods.fetch, clock=lambda: pods.now)
    assert reader.mean("j", look=True) == {}


def test_the_picture_says_where_the_time_of_a_chunk_goes() -> None:
    status = make_status(stages={"pending": 12.0, "pulling": 3.2, "loading": 5.0, "rendering": 100.0})
    assert " a chunk:   pending 0:12   pulling 0:03   loading 0:05   rendering 1:40" in lines(status)
    assert " a chunk:   loading 0:05   rendering 1:40" in lines(status, 48)
    assert not any("a chunk:" in line for line in lines(make_status()))

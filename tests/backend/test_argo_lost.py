"""Pods of nodes that died: what people read while they are waited for, and when they are given up."""

from __future__ import annotations

from typing import Any, cast

import pytest
from cloud_farm.engines.argo_api import Cluster
from cloud_farm.engines.argo_lost import LostPods
from cloud_farm.engines.argo_objects import EndingPod
from cloud_farm.errors import EngineForbiddenError

POD = EndingPod("shot-render-42", "uid", "gpu-7", due=1000.0)


class Pods:
    """A cluster with one pod that should end."""

    def __init__(self, now: float, *, may_list: bool = True, may_delete: bool = True, ready: str | None = None) -> None:
        self.time, self.may_list, self.may_delete, self.ready = now, may_list, may_delete, ready
        self.deleted: list[EndingPod] = []
        self.asked = 0

    def now(self) -> float:
        return self.time

    def ending_pods(self, selector: str) -> list[EndingPod]:
        assert selector == "cloud-farm/job=job"
        self.asked += 1
        if not self.may_list:
            raise EngineForbiddenError("no")
        return [POD]

    def nodes(self, *, name: str) -> list[dict[str, Any]]:
        assert name == "gpu-7"
        if self.ready is None:
            raise EngineForbiddenError("no")
        conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": self.ready}]
        return [{"status": {"conditions": conditions}}] if self.ready else []

    def delete_pod(self, pod: EndingPod) -> None:
        if not self.may_delete:
            raise EngineForbiddenError("no")
        self.deleted.append(pod)


def said(pods: Pods) -> str:
    return LostPods(cast("Cluster", pods)).free("job")


def test_a_pod_that_ends_in_its_time_is_no_news() -> None:
    pods = Pods(now=1003.0)
    assert said(pods) == ""
    assert pods.deleted == []


LATE = "Pod shot-render-42 should have ended {} s ago"


@pytest.mark.parametrize(
    ("ready", "begins"),
    [
        ("Unknown", "Node gpu-7 does not answer. If it stays away its frames are begun elsewhere in 40 s."),
        ("", "Node gpu-7 does not answer. If it stays away its frames are begun elsewhere in 40 s."),
        ("True", LATE.format(20) + "; its node gpu-7 answers and has not ended it yet."),
        (None, LATE.format(20) + ", and its node gpu-7 may not answer. If it stays away its frames are begun elsewhere in 40 s."),
    ],
)  # fmt: skip
def test_a_pod_that_is_late_is_told_of_and_waited_for(ready: str | None, begins: str) -> None:
    pods = Pods(now=1020.0, ready=ready)
    assert said(pods) == begins
    assert pods.deleted == []


@pytest.mark.parametrize(
    ("ready", "says"),
    [
        ("Unknown", "Node gpu-7 does not answer: its frames are begun elsewhere."),
        ("", "Node gpu-7 does not answer: its frames are begun elsewhere."),
        (None, LATE.format(61) + ", and its node gpu-7 may not answer: its frames are begun elsewhere."),
    ],
)
def test_a_pod_that_is_lost_is_given_up(ready: str | None, says: str) -> None:
    pods = Pods(now=1061.0, ready=ready)
    assert said(pods) == says
    assert pods.deleted == [POD]


def test_a_pod_whose_node_answers_is_left_to_it() -> None:
    pods = Pods(now=1061.0, ready="True")
    assert said(pods).endswith("has not ended it yet. Ask the cluster's admin to look at that node.")
    assert pods.deleted == []


def test_who_may_not_give_it_up_is_told_which_rule_to_ask_for() -> None:
    assert "you may not delete its pod shot-render-42" in said(Pods(now=1061.0, may_delete=False))
    assert said(Pods(now=1061.0, may_list=False)) == ""


def test_pods_are_looked_for_now_and_then() -> None:
    times, pods = [0.0], Pods(now=1020.0)
    lost = LostPods(cast("Cluster", pods), clock=lambda: times[-1])
    for time, asked in ((0.0, 1), (29.0, 1), (31.0, 2)):
        times.append(time)
        assert lost.free("job").startswith("Pod shot-render-42")
        assert pods.asked == asked

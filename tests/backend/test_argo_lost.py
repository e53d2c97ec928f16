"""Pods of nodes that died: what people read while they are waited for, and when they are given up."""

from __future__ import annotations

from typing import cast

from cloud_farm.engines.argo_api import Cluster, EndingPod
from cloud_farm.engines.argo_lost import LostPods
from cloud_farm.errors import EngineForbiddenError

POD = EndingPod("shot-render-42", "uid", "gpu-7", due=1000.0)


class Pods:
    """A cluster with one pod that should end."""

    def __init__(self, now: float, *, may_list: bool = True, may_delete: bool = True) -> None:
        self.time, self.may_list, self.may_delete = now, may_list, may_delete
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


def test_a_pod_that_is_late_is_told_of_and_waited_for() -> None:
    pods = Pods(now=1020.0)
    assert said(pods) == "Node gpu-7 does not answer. If it stays away its frames are begun elsewhere in 40 s."
    assert pods.deleted == []


def test_a_pod_that_is_lost_is_given_up() -> None:
    pods = Pods(now=1061.0)
    assert said(pods) == "Node gpu-7 does not answer: its frames are begun elsewhere."
    assert pods.deleted == [POD]


def test_who_may_not_give_it_up_is_told_which_rule_to_ask_for() -> None:
    assert "you may not delete its pod shot-render-42" in said(Pods(now=1061.0, may_delete=False))
    assert said(Pods(now=1061.0, may_list=False)) == ""


def test_pods_are_looked_for_now_and_then() -> None:
    times, pods = [0.0], Pods(now=1020.0)
    lost = LostPods(cast("Cluster", pods), clock=lambda: times[-1])
    for time, asked in ((0.0, 1), (29.0, 1), (31.0, 2)):
        times.append(time)
        assert lost.free("job").startswith("Node gpu-7")
        assert pods.asked == asked

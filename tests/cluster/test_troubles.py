"""What people are told when a job stands still and no pod says why: volumes, controllers, clocks, an API that is away."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cloud_farm.control import publish_plan
from cloud_farm.engines import argo, argo_api, argo_stuck
from cloud_farm.errors import EngineError, EngineUnreachableError
from cloud_farm.job import parse_job
from cloud_farm.status import JobStatus, StatusReader
from cloud_farm.stores import Store, StoreEntry

from ..backend.test_job import job_json
from ..contracts.contract_job import wait_for
from ..rigs.fault_proxy import FaultProxy
from .api import wait_until
from .api_line import over
from .farm import Cluster
from .farmer import Farmer, ended, wait_for_words

# -- pods that have a node and don't start ----------------------------------------------------------------------------------


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told after a while is told at once."""
    monkeypatch.setattr(argo_stuck, "_SLOW_SECONDS", 1.0)
    monkeypatch.setattr(argo_stuck, "_EVERY_SECONDS", 1.0)
    monkeypatch.setattr(argo, "_UNNOTICED_SECONDS", 3.0)


@contextmanager
def lost_volume(cluster: Cluster) -> Iterator[str]:
    """A claim that is bound to a volume which no node can mount; its name."""
    name = f"lost-{secrets.token_hex(3)}"
    spec = {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "manual",
        "hostPath": {"path": "/nowhere/at/all", "type": "Directory"}, "claimRef": {"namespace": cluster.namespace, "name": name},
    }  # fmt: skip
    claim = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "manual",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    for kind, content in (("PersistentVolume", spec), ("PersistentVolumeClaim", claim)):
        cluster.api.create({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": content})
    try:
        yield name
    finally:
        for kind in ("PersistentVolumeClaim", "PersistentVolume"):
            cluster.api.delete(kind, name)


@pytest.mark.usefixtures("soon")
def test_a_volume_that_no_node_can_mount_is_told(farmer: Farmer) -> None:
    with lost_volume(farmer.cluster) as claim:
        job = farmer.job("1-2", profile={"volume.claim": claim}).submit()
        said = wait_for_words(job, "can't mount the volume", f"volume claim '{claim}'")
        assert "/nowhere/at/all is not a directory" in said
        assert job.status().message == said
        farmer.clear()


@pytest.mark.usefixtures("soon")
def test_an_account_without_its_secret_is_told(farmer: Farmer) -> None:
    api, name = farmer.cluster.api, f"account-{secrets.token_hex(3)}"
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    try:
        job = farmer.job("1-2", profile={"kubernetes.service_account": name}).submit()
        wait_for_words(job, f"has no Secret '{name}.service-account-token'", "kubernetes.token_in_pods")
    finally:
        farmer.clear()
        api.delete("ServiceAccount", name)


# -- a controller that is away, or another's ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("soon")
def test_a_job_that_no_controller_looks_at_is_told(farmer: Farmer) -> None:
    with farmer.cluster.without("workflow-controller"):
        job = farmer.job("1-2", chunk_size=2).submit()
        assert job.status().message == ""
        wait_for_words(job, "Argo's controller has not looked at this job", f"namespace {farmer.cluster.namespace}")
    ended(job, 2)


@pytest.mark.usefixtures("soon")
def test_a_job_for_another_instance_of_argo_is_told(farmer: Farmer) -> None:
    job = farmer.job("1-2", profile={"instance_id": "another"}).submit()
    wait_for_words(job, "has not looked at this job", "instance_id in the farm's profile")


def test_a_cluster_that_lost_its_argo_says_so(farmer: Farmer) -> None:
    cluster, name = farmer.cluster, "workflows.argoproj.io"
    api = cluster.api
    job = farmer.job("1-2", chunk_size=2).send()
    definition = api.get("CustomResourceDefinition", name)
    versions = [{**version, "served": False} for version in definition["spec"]["versions"]]
    api.patch("CustomResourceDefinition", name, {"spec": {"versions": versions}})
    try:
        wait_for(lambda: not job.engine.cluster.has_argo(), 30, what="the API knows no Argo")  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match="does not know Argo Workflows.*install"):
            job.engine.submit(job.plan)
        lights = {light.name: light for light in job.engine.try_out()}
        assert (lights["kubernetes"].level, lights["argo"].level) == ("green", "red")
        assert "no Argo Workflows" in lights["argo"].message
    finally:
        api.patch("CustomResourceDefinition", name, {"spec": {"versions": definition["spec"]["versions"]}})
        wait_until(lambda: api.find("Workflow") is not None, "Workflows are served", patience=60)
        cluster.restart("workflow-controller")
    job.engine.submit(job.plan)
    ended(job, 2)


# -- an API that is away, or busy ---------------------------------------------------------------------------------------------

_AWAY_SECONDS = 61.0


def test_frames_come_while_the_api_is_away_for_more_than_a_minute(farmer: Farmer) -> None:
    """Longer than Kubernetes waits for a node, and than a follower needs to doubt."""
    job = farmer.job("1-44", chunk_size=22, seconds=4.0).submit()  # no pod ends meanwhile: its end could not be told
    job.wait_for_frames(1)
    known = job.status()
    with farmer.cluster.without("apiserver"):
        began, before = time.monotonic(), len(job.records())
        with pytest.raises(EngineUnreachableError, match="can't be reached"):
            job.subject.engine().status(job.id)
        time.sleep(_AWAY_SECONDS - (time.monotonic() - began))  # how long it is away is what this is about
        assert len(job.records()) > before + 10
    assert {task.id for task in job.status().tasks} == {task.id for task in known.tasks}
    ended(job, 44)
    assert len(job.attempts()) == 2, "a chunk was begun again"


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_keeps_nobody_from_pausing_and_cancelling(
    line: FaultProxy,
    farmer: Farmer,
    tmp_path: Path,
    status: int,
) -> None:
    job = farmer.job("1-9", chunk_size=3, seconds=1.0, profile=over(line, tmp_path)).send()
    line.answer_once(status, matching="GET ")
    job.engine.submit(job.plan)
    job.wait_for_frames(1)
    for act in (job.stop, job.go_on):
        line.answer_once(status, matching="GET ")
        line.answer_once(status, matching="PATCH ")
        act()
    line.answer_once(status, matching="PATCH ")
    line.answer_once(status, matching="/pods?")
    job.store.put(b"cancelled\n", job.layout.stop)
    job.engine.cancel(job.id)
    assert not job.status().running
    line.answer_once(status, matching="DELETE ")
    job.engine.forget(job.id)
    assert not job.status().known


# -- clocks -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-3, 3])
@pytest.mark.usefixtures("soon")
def test_a_clock_that_is_wrong_misleads_nobody(farmer: Farmer, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Ours; a follower takes the time from what the cluster answers."""
    wrong = SimpleNamespace(time=lambda: time.time() + hours * 3600, monotonic=time.monotonic)
    monkeypatch.setattr(argo_api, "time", wrong)
    job = farmer.job("1-2", chunk_size=2, profile={"visibility_s": 4.0})
    assert abs(job.engine.cluster.now() - wrong.time()) < 1, "nobody answered yet"  # type: ignore[attr-defined]
    job.submit()
    said: list[str] = []

    def over_() -> bool:
        status = job.status()
        said.append(status.message)
        return not status.running

    wait_for(over_, 60, what="the end")
    assert not any("looked at" in text for text in said)
    [workflow] = farmer.cluster.api.find("Workflow", labels=f"cloud-farm/job={job.id}")
    finished: Any = workflow["status"]["finishedAt"]
    assert job.engine.cluster.now() - argo.seconds(finished) >= 3.5, "not before its last records are seen"  # type: ignore[attr-defined]
    ended(job, 2)


# -- a volume that shows files late --------------------------------------------------------------------------------------------


class LateStore:
    """The volume as a client of a network file system sees it, which keeps what it listed of records for a while."""

    def __init__(self, store: Store, records: PurePosixPath, seconds: float) -> None:
        self._store = store
        self._records = records
        self._seconds = seconds
        self._since = 0.0
        self._kept: dict[PurePosixPath, tuple[StoreEntry, ...]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, folder: PurePosixPath, **how: Any) -> tuple[StoreEntry, ...]:
        if not folder.is_relative_to(self._records):
            return self._store.list(folder, **how)
        if time.monotonic() - self._since >= self._seconds:
            self._since = time.monotonic()
            self._kept.clear()
        if folder not in self._kept:
            self._kept[folder] = self._store.list(folder, **how)
        return self._kept[folder]


def test_records_that_are_seen_late_are_waited_for(farmer: Farmer, tmp_path: Path) -> None:
    job = farmer.job("1-4", chunk_size=2, profile={"visibility_s": 10.0})
    job.store.put(json.dumps(job_json(id=job.id, pack=job.pack.to_json())).encode(), job.layout.job_json)
    job.send()
    publish_plan(job.plan, job.store)
    job.engine.submit(job.plan)
    document = parse_job(job.store.read(job.layout.job_json), where="job.json")
    late = cast(Store, LateStore(job.store, job.layout.records(1), 7.0))
    reader = StatusReader(late, job.engine, document, landing=tmp_path)
    looks: list[JobStatus] = []

    def is_over() -> bool:
        looks.append(reader.read())
        return looks[-1].is_final

    wait_for(is_over, 120, what="the end")
    assert looks[-1].state == "done", looks[-1].messages
    assert {look.state for look in looks} <= {"queued", "rendering", "done"}
    assert not any(look.frames_failed or look.stalled for look in looks)
    through = [look for look in looks if {task.phase for task in look.tasks} == {"done"} and look.frames_done < 4]
    assert through, "Argo was through before all was seen"
    assert all(look.engine_running for look in through)

"""The engine on other Argos than the usual one: an old one, one that packs its statuses, one where artists submit templates only."""

from __future__ import annotations

import dataclasses
import re
import ssl
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cloud_farm.engines.argo import ArgoEngine
from cloud_farm.job import RenderJob

from ..backend.argo_farm import planned
from ..contracts.argo_farm import ArgoFarm
from ..contracts.contract_job import wait_for
from .argo import METRICS_PORT, ArgoFlavour, ControllerSettings
from .farm import Cluster
from .farmer import Farmer, ended, wait_for_words
from .kwok import FakeNodes
from .scale import new_id, scale_profile


def test_the_oldest_argo_renders_a_job_that_is_paused_and_resumed(restored_argo: Cluster, tmp_path: Path) -> None:
    restored_argo.use_argo(ArgoFlavour("3.6.12", "minimal"))
    farmer = Farmer(restored_argo, tmp_path)
    assert farmer.farm.profile.argo_version == "3.6.12"
    job = farmer.job("1-6", chunk_size=3, seconds=1.0).submit()
    job.wait_for_frames(1)
    job.stop()
    wait_for(lambda: farmer.farm.processes(job.id) == [], 60, what="the pause")
    assert 0 < len(job.records()) < 6
    job.go_on()
    status = ended(job, 6)
    assert {task.phase for task in status.tasks} == {"done"}
    assert status.message == ""
    too_new = farmer.job("1-2", chunk_size=2, seconds=2.0, profile={"argo_version": "3.7.14"})
    [found] = too_new.engine.check()
    assert (found.code, found.severity) == ("argo_version_differs", "warning")
    assert found.fix == "Set argo_version: 3.6.12 in the farm's profile."
    wait_for_words(too_new.submit(), "dropped retryStrategy.backoff.cap", "it is older than argo_version 3.7.14")
    ended(too_new, 2)
    farmer.clear()


# Sixty chunks' nodes are more than that, packed they are less.
_PACKS = ControllerSettings(environment={"MAX_WORKFLOW_SIZE": "80000"})


def test_a_status_that_argo_packed_is_read(restored_argo: Cluster, tmp_path: Path) -> None:
    cluster, chunks = restored_argo, 60
    cluster.use_argo(ArgoFlavour(), _PACKS)
    cluster.add_nodes(FakeNodes(2, model="RTX_4000"))
    profile = scale_profile(ArgoFarm(cluster, tmp_path, workers=30))
    plan = planned(RenderJob("shot.blend", frames=f"1-{chunks}", chunk_size=1), profile, job_id=new_id())
    engine = ArgoEngine(profile)
    engine.submit(plan)
    try:
        wait_for(lambda: not engine.status(plan.job_id).running, 180, what="the end")
        [workflow] = cluster.api.find("Workflow", labels=f"cloud-farm/job={plan.job_id}")
        assert workflow["status"]["compressedNodes"]
        assert "nodes" not in workflow["status"]
        tasks = engine.status(plan.job_id).tasks
        assert {task.phase for task in tasks} == {"done"}
        assert len(tasks) == chunks + 1
    finally:
        engine.forget(plan.job_id)
        cluster.remove_nodes()


def test_a_status_that_argo_keeps_in_its_database_is_said_to_be_there(farmer: Farmer) -> None:
    """Argo's controller would need the database; what it leaves on the cluster does not."""
    job = farmer.job("1-2", chunk_size=2).submit()
    ended(job, 2)
    api = farmer.cluster.api
    [workflow] = api.find("Workflow", labels=f"cloud-farm/job={job.id}")
    with farmer.cluster.without("workflow-controller"):
        status = {"nodes": None, "compressedNodes": None, "offloadNodeStatusVersion": "fnv:1234"}
        api.patch("Workflow", workflow["metadata"]["name"], {"status": status})
        seen = job.subject.engine().status(job.id)
        api.delete("Workflow", workflow["metadata"]["name"])
    assert seen.known
    assert not seen.running
    assert {task.id for task in seen.tasks} == {"prepare", *(chunk.id for chunk in job.plan.chunks)}
    assert all("Argo keeps this Workflow's status in its database" in task.message for task in seen.tasks)
    job.check_files()  # and frames come by the volume all the same


@pytest.fixture
def strict(restored_argo: Cluster) -> Iterator[Cluster]:
    """A controller that takes only what refers to a template."""
    api = restored_argo.api
    config = {"metadata": {"name": "workflow-controller-configmap"}, "kind": "ConfigMap", "apiVersion": "v1"}
    try:
        api.put({**config, "data": {"workflowRestrictions": "templateReferencing: Strict\n"}})
        restored_argo.restart("workflow-controller")
        yield restored_argo
    finally:
        api.put(config)
        restored_argo.restart("workflow-controller")


def test_where_artists_may_submit_a_template_only_a_job_is_rendered_paused_cancelled_and_filled_up(
    farmer: Farmer, strict: Cluster, request: pytest.FixtureRequest
) -> None:
    refused = farmer.job("1-2").submit()
    assert "set kubernetes.workflow_template in the farm's profile" in refused.wait_for_message("WorkflowTemplate")
    values = {"kubernetes.workflow_template": "cloud-farm"}
    job = farmer.job("1-12", chunk_size=2, seconds=1.5, profile=values)
    assert {item.code for item in job.engine.check()} == {"workflow_template_missing"}
    for template in job.engine.installed():
        strict.api.put(dict(template))
        request.addfinalizer(partial(strict.api.delete, "WorkflowTemplate", template["metadata"]["name"]))
    assert job.engine.check() == ()
    job.submit()
    [workflow] = strict.api.find("Workflow", labels=f"cloud-farm/job={job.id}")
    assert "templates" not in workflow["spec"]
    job.wait_for_frames(1)
    job.stop()
    wait_for(lambda: farmer.farm.processes(job.id) == [], 60, what="the pause")
    paused = len(job.records())
    assert 0 < paused < 12
    job.go_on()
    job.wait_for_frames(paused + 1)
    job.store.put(b"cancelled\n", job.layout.stop)
    job.engine.cancel(job.id)
    assert not job.status().running
    before = {frame: record.attempt for frame, record in job.records().items()}
    assert paused < len(before) < 12
    job.store.trash(job.layout.stop, job_id=job.id)
    lacking = {c.id for c in job.plan.chunks if any(frame not in before for frame in c.frames)}
    job.engine.submit(dataclasses.replace(job.plan, wanted=frozenset(lacking)))
    ended(job, 12)
    assert {frame: record.attempt for frame, record in job.records().items() if frame in before} == before


def test_prometheus_reads_frames_and_seconds_from_the_controller(farmer: Farmer) -> None:
    frames = counted('cloud_farm_frames{result="Succeeded"}')
    seconds = counted('cloud_farm_seconds_count{result="Succeeded",stage="render"}')
    ended(farmer.job("1-5", chunk_size=2).submit(), 5)
    wait_for(lambda: counted('cloud_farm_frames{result="Succeeded"}') - frames == 5, 30, what="the count of frames")
    assert counted('cloud_farm_seconds_count{result="Succeeded",stage="render"}') - seconds == 3
    assert counted('cloud_farm_seconds_count{result="Succeeded",stage="prepare"}') > 0


def counted(series: str) -> float:
    """What the controller says of one series; 0 where it has none yet."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE  # the controller made its certificate itself
    with urllib.request.urlopen(f"https://127.0.0.1:{METRICS_PORT}/metrics", context=unchecked, timeout=10) as answer:
        text = answer.read().decode()
    name, _, labels = series.rstrip("}").partition("{")
    wanted = set(labels.split(","))
    for found in re.finditer(r"^(\w+)\{([^}]*)\} (\S+)$", text, re.MULTILINE):
        if found[1] in (name, f"argo_workflows_{name}", f"{name}_total") and wanted <= set(found[2].split(",")):
            return float(found[3])
    return 0.0

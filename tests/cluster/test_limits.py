"""Limits of Argo and Kubernetes that lose frames in silence where nobody minds them, on the real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.engines.argo import ArgoEngine
from cloud_farm.engines.argo_labels import lost_fields
from cloud_farm.engines.argo_manifest import workflows
from cloud_farm.engines.argo_names import has_collision
from cloud_farm.job import RenderJob

from ..backend.argo_farm import chunks, planned
from ..backend.test_argo_manifest import EVERYTHING
from ..contracts.argo_farm import ArgoFarm
from ..contracts.contract_job import wait_for
from .farm import Cluster
from .farmer import Farmer
from .kwok import FakeNodes
from .scale import scale_profile

# -- two nodes of one name ----------------------------------------------------------------------------------------------------

_COLLIDES = "collide-20261123-0dacc7"
"""Its first name would give the first attempt at chunk 17 and chunk 20 itself one 32-bit hash: found by trying a million."""
_CHUNKS = 20


def test_chunks_that_would_be_one_to_argo_are_told_apart(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_nodes(FakeNodes(2, model="RTX_4000"))
    profile = scale_profile(ArgoFarm(cluster, tmp_path, workers=30))
    plan = planned(RenderJob("shot.blend", frames=f"1-{_CHUNKS}", chunk_size=1), profile, job_id=_COLLIDES)
    engine = ArgoEngine(profile)
    try:
        engine.submit(plan)
        wait_for(lambda: not engine.status(plan.job_id).running, 120, what="the end")
        [workflow] = cluster.api.find("Workflow", labels=f"cloud-farm/job={_COLLIDES}")
        assert {task.phase for task in engine.status(plan.job_id).tasks} == {"done"}
    finally:
        engine.cancel(plan.job_id)
        engine.forget(plan.job_id)
        cluster.remove_nodes()
    assert workflow["metadata"]["name"] == f"{_COLLIDES}-r1a", "drawn once more"
    assert has_collision(f"{_COLLIDES}-r1", chunks(workflow), 1)
    nodes = workflow["status"]["nodes"].values()
    frames = [
        item["value"]
        for node in nodes
        if node["type"] == "Pod"
        for item in (node.get("inputs") or {}).get("parameters", ())
        if item["name"] == "frames"
    ]
    assert sorted(map(int, frames)) == list(range(1, _CHUNKS + 1)), "each has a pod of its own"


# -- sizes ----------------------------------------------------------------------------------------------------------------------

_ANNOTATIONS, _WORKFLOW = 256 << 10, 1 << 20
"""What Kubernetes takes of annotations, and up to which size Argo works on a Workflow, statuses included."""


@pytest.mark.parametrize("frames", ["1-10000", "-100000--80001:2"], ids=["in a row", "every second, long numbers"])
def test_ten_thousand_frames_stay_far_below_every_limit(cluster: Cluster, tmp_path: Path, frames: str) -> None:
    profile = ArgoFarm(cluster, tmp_path, workers=200).profile.with_values({"kubernetes": EVERYTHING}, origin="test")
    profile = profile.with_values({"kubernetes.namespace": cluster.namespace}, origin="test")
    title = "Ein sehr langer Titel " * 40
    job = RenderJob("shot.blend", frames=frames, chunk_size=1, name=title, cameras=("Cam", "Cam B"))
    parts = workflows(planned(job, profile), profile, owner="ada" * 90)
    assert sum(len(chunks(part)) for part in parts) == 20_000
    for part in parts:
        kept = cluster.api_as("artist").create(_left_alone(part), fieldValidation="Strict")
        cluster.api.delete("Workflow", kept["metadata"]["name"])
        assert lost_fields(part["spec"], kept["spec"]) == ()
        assert len(json.dumps(kept)) < _WORKFLOW / 4
        assert len(json.dumps(kept["metadata"]["annotations"])) < _ANNOTATIONS / 50


def _left_alone(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """A Workflow that the controller takes for one that is over."""
    metadata = dict(workflow["metadata"])
    metadata["labels"] = {**metadata["labels"], "workflows.argoproj.io/completed": "true"}
    return {**workflow, "metadata": metadata}


# -- the cost cap -----------------------------------------------------------------------------------------------------------------


def test_the_cost_cap_holds_in_pods_with_nobody_awake(farmer: Farmer) -> None:
    """One second costs 1; each supervisor looks every ten seconds."""
    priced = {"price_per_gpu_hour": 3600.0}
    job = farmer.job("1-60", chunk_size=30, seconds=1.0, profile=priced, wants={"cost_cap": 8.0}).submit()
    status = job.wait_until_still()
    assert 0 < len(job.records()) < 40, status
    assert {task.phase for task in status.tasks} == {"done", "failed"}, "the scene was prepared, no chunk was"
    assert any("reached its cost cap of 8" in task.message for task in status.tasks)
    assert len(job.attempts()) == 2, "what would cost more is not tried again"
    job.check_files()

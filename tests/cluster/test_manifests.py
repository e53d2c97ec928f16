"""Manifests on the real thing: every Argo takes them whole, parts take turns, and a real Blender renders what they say."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_farm.engines import argo_shards
from cloud_farm.engines.argo_labels import job_selector, lost_fields
from cloud_farm.engines.argo_manifest import workflow_template, workflows
from cloud_farm.engines.argo_names import node_id, node_names
from cloud_farm.job import RenderJob, parse_record
from cloud_farm.layout import JobLayout
from cloud_farm.profile import FarmProfile
from cloud_farm.sending import send
from cloud_farm.stores import Store, open_store
from cloud_farm.submission import Prepared, prepared

from ..backend.argo_farm import Manifest, chunks, farm, planned
from ..backend.test_argo_manifest import BIG, EVERYTHING
from ..golden.manifests import NAMES, path_of
from .api import KubeApi, wait_until
from .argo import FLAVOURS, ArgoFlavour
from .farm import Cluster
from .kwok import TAINT, FakeNodes
from .places import FILEBROWSER_UID, GID
from .scene import make_scene

_RENDERER = FILEBROWSER_UID + 1
_KWOK = {"gpu__models": ["RTX_4000"], "gpu__tolerations": [{"key": TAINT, "operator": "Exists"}]}


def on(cluster: Cluster, **values: Any) -> FarmProfile:
    """The cluster's profile; `kubernetes` adds to what it needs."""
    own = {
        "namespace": cluster.namespace,
        "service_account": "executor",
        "user": _RENDERER,
        "memory": "2Gi",
        "cpu": "500m",
    }
    more = values.pop("kubernetes", {})
    kubernetes = {**own, "prepare": {"memory": "1Gi", "cpu": "250m"}, "image_pull_policy": "Never", **more}
    return farm(argo_version=cluster.flavour.version, volume__gid=GID, kubernetes=kubernetes, **values)


def job_id() -> str:
    return f"shot-20261123-{secrets.token_hex(3)}"


# -- what each Argo says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
def test_every_argo_takes_every_manifest_and_keeps_all_of_it(
    restored_argo: Cluster, flavour: ArgoFlavour, tmp_path: Path
) -> None:
    cluster = restored_argo
    if cluster.flavour != flavour:
        cluster.use_argo(flavour)
    template = workflow_template(on(cluster, kubernetes={"workflow_template": "cloud-farm"}), "4.5")
    cluster.api.create(template, fieldValidation="Strict")
    for values in ({}, {"kubernetes": EVERYTHING, "gpu__count": 4}, {"gpu__device": "cpu"}, {"kubernetes": {"workflow_template": "cloud-farm"}}):  # fmt: skip
        profile = on(cluster, **values)
        for number, body in enumerate(workflows(planned(BIG, profile, job_id=job_id()), profile, owner="ada")):
            body["metadata"]["namespace"] = cluster.namespace
            kept = cluster.api_as("artist").create(body, fieldValidation="Strict", dryRun="All")
            assert lost_fields(body, kept) == ()
            if number == 0 and "workflowTemplateRef" not in body["spec"]:
                lint(flavour, body, tmp_path)
    cluster.api.delete("WorkflowTemplate", "cloud-farm-4-5")
    for name in NAMES:
        for body in yaml.safe_load_all(path_of(name).read_text(encoding="utf-8")):
            body["metadata"]["namespace"] = cluster.namespace
            api = cluster.api_as("artist") if body["kind"] == "Workflow" else cluster.api
            assert lost_fields(body, api.create(body, fieldValidation="Strict", dryRun="All")) == (), name


def lint(flavour: ArgoFlavour, body: Manifest, tmp_path: Path) -> None:
    """Let Argo's own command line look at it, as `argo submit` does first."""
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(body))
    command = [str(flavour.programs / "argo"), "lint", "--offline", "--strict", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr


# -- parts ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["", "cloud-farm"])
def test_parts_take_turns_without_anybody_and_stay_within_the_limit(
    cluster: Cluster, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argo_shards, "MOST_CHUNKS", 12)
    cluster.add_nodes(FakeNodes(4, model="RTX_4000", gpus=8))
    profile = on(cluster, limits__parallelism=6, kubernetes={"workflow_template": template}, **_KWOK)
    # Pretended pods are for every node that tolerates them: prepare too.
    profile = profile.with_values(
        {"kubernetes.prepare": {"tolerations": [{"key": TAINT, "operator": "Exists"}], "node_labels": {"gpu.nvidia.com/model": ["RTX_4000"]}}},
        origin="test",
    )  # fmt: skip
    if template:
        cluster.api.put(workflow_template(profile, "4.5"))
    plan = planned(RenderJob("shot.blend", frames="1-40", chunk_size=1), profile, job_id=job_id())
    parts = workflows(plan, profile)
    assert len(parts) == 4
    for part in parts:
        cluster.api_as("artist").create(dict(part), fieldValidation="Strict")
    seen = watch(cluster.api, plan.job_id, [part["metadata"]["name"] for part in parts])
    assert max(running for running, _ in seen) <= (1 if template else 2)
    assert max(pods for _, pods in seen) <= 6
    for part in parts:
        status = cluster.api.get("Workflow", part["metadata"]["name"])["status"]
        assert status["phase"] == "Succeeded"
        names = set(node_names(part["metadata"]["name"], chunks(part), 1))
        assert {node["name"] for node in status["nodes"].values()} == names
        assert set(status["nodes"]) == {node_id(part["metadata"]["name"], name) for name in names}


def watch(api: KubeApi, job: str, names: list[str]) -> list[tuple[int, int]]:
    """Look again and again until all have ended; how many Workflows and pods were alive each time."""
    seen: list[tuple[int, int]] = []

    def have_ended() -> bool:
        phases = [item.get("status", {}).get("phase", "") for item in api.find("Workflow", labels=job_selector(job))]
        pods = [pod["status"].get("phase") for pod in api.find("Pod", labels=f"cloud-farm/job={job}")]
        seen.append((phases.count("Running"), len([phase for phase in pods if phase in ("Pending", "Running")])))
        return len(phases) == len(names) and set(phases) <= {"Succeeded", "Failed", "Error"}

    wait_until(have_ended, f"all parts of {job} end", patience=300)
    return seen


# -- a real Blender -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def profile(cluster: Cluster) -> FarmProfile:
    """The farm that a studio would write down: this cluster, its FileBrowser, its Blender."""
    image = {"image": cluster.blender_image, "version": "4.3.2"}
    return on(
        cluster,
        gpu__device="cpu",
        images={"4.3": image},
        kubernetes={"read_only_root": True},
        volume__mount_path="/mnt/farm",
        volume__store_prefix="team",
        filebrowser={
            "url": cluster.filebrowser_url, "user": cluster.filebrowser_login.user, "password": {"env": "FARM_PASSWORD"},
        },
    )  # fmt: skip


_HOSTILE = "{{workflow.name}} $(id) `id` '\" {{=sprig.env('HOME')}} \u202egnp"
"""What Argo, Kubernetes or a shell would fill in, if it came to them."""
_SHOWN = _HOSTILE.replace('"', "_").replace("\u202e", "_")
"""The same in the name of a file that every system takes and that shows itself as it is."""


@pytest.fixture(scope="module")
def ready(cluster: Cluster, profile: FarmProfile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """A scene that the farm's Blender saved, packed and planned."""
    scene = make_scene(cluster, tmp_path_factory.mktemp("scene"))
    job = RenderJob(
        str(scene), frames="1-3", chunk_size=2, percentage=8, samples=1, name=_HOSTILE, landing=f"//{_HOSTILE}_####"
    )
    with prepared(job, profile, scene_file=scene) as made:
        yield made


@pytest.fixture
def sent(ready: Prepared, monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> tuple[Prepared, Store]:
    """The job on the volume, as a job of its own."""
    monkeypatch.setenv("FARM_PASSWORD", cluster.filebrowser_login.password)
    profile, drawn = ready.profile, job_id()
    content = json.loads(ready.plan.content) | {"job": drawn}
    raw = json.dumps(content).encode()
    mine = dataclasses.replace(ready, plan=dataclasses.replace(ready.plan, job_id=drawn, document=content, content=raw))
    store = open_store(profile)
    send(mine, store)
    return mine, store


def test_a_real_blender_renders_the_job(cluster: Cluster, sent: tuple[Prepared, Store]) -> None:
    ready, store = sent
    [body] = workflows(ready.plan, ready.profile, owner="ada")
    cluster.api_as("artist").create(dict(body), fieldValidation="Strict")
    status = cluster.wait_for_workflow(body["metadata"]["name"], patience=600)["status"]
    assert status["phase"] == "Succeeded", status
    layout = JobLayout(ready.plan.job_id)
    for frame in (1, 2, 3):
        path = layout.record(1, None, frame)
        record = parse_record(store.read(path), where=str(path))
        assert (record.host, record.device, record.image) == (cluster.node, "CPU", cluster.blender_image)
        assert record.blender.startswith("4.3.2")
        assert record.main.path == f"{_SHOWN}_{frame:04d}.png"
        file = cluster.volume / "team" / layout.frames(1, frame) / record.main.path
        assert file.stat().st_size == record.main.bytes
        assert (file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777) == (_RENDERER, GID, 0o664)
        assert file.parent.stat().st_mode & 0o7777 == 0o2775  # FileBrowser, another user, may move it away


def test_a_script_that_was_changed_on_the_volume_is_not_run_and_argo_says_so(
    cluster: Cluster, sent: tuple[Prepared, Store]
) -> None:
    ready, store = sent
    script = JobLayout(ready.plan.job_id).scripts / "run_attempt.py"
    store.put(store.read(script) + b"\n# changed", script)
    [body] = workflows(ready.plan, ready.profile)
    cluster.api.create(dict(body))
    status = cluster.wait_for_workflow(body["metadata"]["name"], patience=300)["status"]
    assert status["phase"] == "Failed"
    [pod] = [node for node in status["nodes"].values() if node["type"] == "Pod"]  # never tried again
    assert "exit code 78" in pod["message"] and "was changed after the job was submitted" in pod["message"]

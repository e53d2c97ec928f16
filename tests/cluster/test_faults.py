"""What goes wrong on a cluster, made to go wrong on the real one: pods, nodes, Argo, the API, rights. No frame is lost by any."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_farm.engines import argo, argo_lost, argo_shards
from cloud_farm.engines.argo_api import Cluster as ClusterApi
from cloud_farm.errors import EngineError, EngineForbiddenError, EngineUnreachableError
from cloud_farm.plan import RenderPlan
from cloud_farm.profile import FarmProfile

from ..contracts.contract_job import wait_for
from .api import KubeApi
from .farmer import Farmer, ended, wait_for_words
from .kwok import FakeNodes

_SPAWN = multiprocessing.get_context("spawn")


# -- pods -----------------------------------------------------------------------------------------------------------------


def test_a_chunk_whose_pod_is_deleted_five_times_finishes(farmer: Farmer) -> None:
    job = farmer.job("1-3", chunk_size=3, seconds=6.0, profile={"kubernetes.backoff_s": 1}).submit()
    gone: set[str] = set()  # Argo may give the next one the same name
    for _ in range(5):
        pod = farmer.wait_for_pod(job, but=gone)
        gone.add(pod["metadata"]["uid"])
        farmer.cluster.api.delete("Pod", pod["metadata"]["name"])
    ended(job, 3)
    assert len(job.attempts()) > 3


def test_an_evicted_pod_on_a_drained_node_goes_on_when_the_node_takes_pods_again(farmer: Farmer) -> None:
    cluster = farmer.cluster
    job = farmer.job("1-6", chunk_size=6, seconds=0.7).submit()
    name = farmer.wait_for_pod(job)["metadata"]["name"]
    try:
        cluster.api.patch("Node", cluster.node, {"spec": {"unschedulable": True}})
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        cluster.api.request("POST", f"{cluster.api.path('Pod', name)}/eviction", eviction)
        wait_for_words(job, "No node takes it", "unschedulable")
    finally:
        cluster.api.patch("Node", cluster.node, {"spec": {"unschedulable": None}})
    ended(job, 6)


def test_a_pod_that_needs_too_much_memory_says_so_and_is_tried_again(farmer: Farmer) -> None:
    job = farmer.job("1-3", chunk_size=3, memory={"2": 1}, profile={"kubernetes.backoff_s": 8}).submit()
    wait_for_words(job, "1Gi of memory", "kubernetes.memory")
    ended(job, 3)


def test_a_chunk_past_its_deadline_goes_on_where_it_was(farmer: Farmer) -> None:
    job = farmer.job(
        "1-4", chunk_size=4, seconds=20.0, profile={"kubernetes.deadline_s": 60, "kubernetes.backoff_s": 8}
    )
    job.submit()
    wait_for_words(job, "longer than one attempt may (60 s", seconds=120)
    ended(job, 4)


@pytest.mark.parametrize("script", ["render_chunk.py", "volume.py", "prepare_job.py"])
def test_a_script_that_was_changed_on_the_volume_is_not_run(farmer: Farmer, script: str) -> None:
    job = farmer.job("1-2", chunk_size=1).send()
    path = job.layout.scripts / script
    job.store.put(job.store.read(path) + b"\n# changed", path)
    job.engine.submit(job.plan)
    status = job.wait_until_still()
    assert {task.phase for task in status.tasks} == {"failed"}
    assert all(f"{script} on the volume was changed" in task.message for task in status.tasks)
    assert job.records() == {}
    assert status.tasks[0].attempts == 1


_HOSTILE = ["{{workflow.name}}", "$(id) `id` ${HOME}", "'\"\n- x: {a: [", "=\u202egnp.{{=sprig.env('HOME')}}"]


@pytest.mark.parametrize("text", _HOSTILE)
def test_hostile_names_stay_text(farmer: Farmer, text: str) -> None:
    job = farmer.job("1-2", chunk_size=2, title=text).submit()
    ended(job, 2)
    [workflow] = farmer.cluster.api.find("Workflow", labels=f"cloud-farm/job={job.id}")
    shown = workflow["metadata"]["annotations"]["workflows.argoproj.io/title"]
    assert "{{" not in shown
    assert "\n" not in shown


# -- nodes ----------------------------------------------------------------------------------------------------------------


def test_frames_go_on_while_the_kubelet_is_away(farmer: Farmer) -> None:
    job = farmer.job("1-8", chunk_size=8, seconds=0.7).submit()
    job.wait_for_frames(1)
    with farmer.cluster.without("kubelet", sign=signal.SIGKILL):
        job.wait_for_frames(8, seconds=15)
    ended(job, 8)
    assert job.task(1).attempts == 1


def test_a_pod_of_a_dead_node_is_given_up_and_its_frames_are_rendered(
    farmer: Farmer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argo_lost, "_LOST_SECONDS", 6.0)
    monkeypatch.setattr(argo_lost, "_LATE_SECONDS", 1.0)
    lost = {"kubernetes.node_lost_s": 0, "kubernetes.grace_s": 30}
    # Where every node is silent Kubernetes blames its network and gives nothing up.
    farmer.cluster.add_nodes(FakeNodes(3))
    try:
        job = farmer.job("1-2", chunk_size=2, seconds=60.0, profile=lost).submit()
        pod = farmer.wait_for_pod(job)
        with farmer.cluster.without("kubelet", sign=signal.SIGKILL):
            wait_for_words(job, f"Node {farmer.cluster.node} does not answer", seconds=240)
            wait_for(lambda: job.status() and not exists(farmer.cluster.api, pod), 60, what="the lost pod is forgotten")
    finally:
        farmer.cluster.remove_nodes()
    ended(job, 2)
    assert len(job.attempts()) >= 2


def exists(api: KubeApi, pod: Any) -> bool:
    """Whether this very pod is there."""
    found = api.find("Pod", fields=f"metadata.name={pod['metadata']['name']}")
    return any(one["metadata"]["uid"] == pod["metadata"]["uid"] for one in found)


# -- the control plane ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ["apiserver", "etcd", "workflow-controller", "scheduler"])
def test_a_part_of_the_control_plane_that_is_killed_costs_nothing(farmer: Farmer, component: str) -> None:
    job = farmer.job("1-8", chunk_size=2, seconds=0.8).submit()
    job.wait_for_frames(1)
    with farmer.cluster.without(component, sign=signal.SIGKILL):
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            with contextlib.suppress(EngineUnreachableError):  # and nothing else
                assert job.status().known
            time.sleep(0.5)
    ended(job, 8)


def test_a_workflow_that_was_deleted_by_hand_is_made_again(farmer: Farmer) -> None:
    job = farmer.job("1-6", chunk_size=2, seconds=0.7).submit()
    job.wait_for_frames(2)
    farmer.cluster.api.delete_all("Workflow", labels=f"cloud-farm/job={job.id}")
    wait_for(lambda: not job.status().known, 30)
    wait_for(lambda: farmer.farm.processes(job.id) == [], 60)
    before = {frame: record.attempt for frame, record in job.records().items()}
    lacking = {c.id for c in job.plan.chunks if any(frame not in before for frame in c.frames)}
    job.engine.submit(dataclasses.replace(job.plan, wanted=frozenset(lacking)))
    ended(job, 6)
    assert {frame: record.attempt for frame, record in job.records().items() if frame in before} == before


def test_what_the_ttl_took_away_is_not_rendered_again(farmer: Farmer) -> None:
    job = farmer.job("1-4", chunk_size=2).submit()
    ended(job, 4)
    before = {frame: record.attempt for frame, record in job.records().items()}
    farmer.cluster.api.delete_all("Workflow", labels=f"cloud-farm/job={job.id}")
    job.engine.submit(job.plan)
    ended(job, 4)
    assert {frame: record.attempt for frame, record in job.records().items()} == before


def test_a_job_whose_workflow_argo_itself_cleared_away_keeps_its_frames(farmer: Farmer) -> None:
    job, api = farmer.job("1-2", chunk_size=2, seconds=1.0).submit(), farmer.cluster.api
    [workflow] = api.find("Workflow", labels=f"cloud-farm/job={job.id}")
    # A profile can't say less than a minute.
    api.patch("Workflow", workflow["metadata"]["name"], {"spec": {"ttlStrategy": {"secondsAfterSuccess": 2}}})
    wait_for(lambda: not job.status().known, 120, what="the end of the Workflow's time")
    assert job.status().message == "The cluster has no Workflow of this job (any more)."
    ended(job, 2)
    assert job.engine.jobs() == ()


# -- what a farm lacks ------------------------------------------------------------------------------------------------------

_LABELS = {"gpu.models": ["RTX_9999"], "gpu.model_label": "gpu.nvidia.com/model"}


@pytest.mark.parametrize(
    ("values", "words", "finding"),
    [
        pytest.param(_LABELS, ("label", "gpu.nvidia.com/model = RTX_9999"), "", id="label"),
        pytest.param({"kubernetes.cpu": "64"}, ("free cpu", "when something else ends"), "", id="cpu"),
        pytest.param({"volume.claim": "nowhere"}, ("no volume claim 'nowhere'",), "volume_claim_missing", id="claim"),
        pytest.param({"kubernetes.service_account": "nobody"}, ("nobody",), "service_account_missing", id="account"),
        pytest.param(
            {"images": {"4.5": {"image": "registry.invalid/blender:4.5", "version": "4.5.15"}}},
            ("image can't be pulled", "images"), "", id="image",
        ),
        pytest.param(
            {"images": {"4.5": {"image": "registry.invalid/blender:4.5", "version": "4.5.15"}}, "kubernetes.image_pull_policy": "IfNotPresent"},
            ("image can't be pulled", "image_pull_secrets"), "", id="registry",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_in_plain_words(
    farmer: Farmer, values: dict[str, Any], words: tuple[str, ...], finding: str
) -> None:
    job = farmer.job("1-2", profile=values).submit()
    wait_for_words(job, *words)
    found = {item.code for item in job.engine.check()}
    assert found == ({finding} if finding else set())


def test_a_quota_that_is_used_up_is_waited_for(farmer: Farmer) -> None:
    api = farmer.cluster.api
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "full"},
        "spec": {"hard": {"pods": "1"}},
    }
    place = f"api/v1/namespaces/{farmer.cluster.namespace}/resourcequotas"
    api.request("POST", place, quota)
    try:
        job = farmer.job("1-2", chunk_size=2).submit()
        wait_for_words(job, "quota is used up")
    finally:
        api.request("DELETE", f"{place}/full")
    ended(job, 2)


# -- who may, and how they log in -------------------------------------------------------------------------------------------


def test_who_may_not_is_told_which_rule_to_ask_for(farmer: Farmer) -> None:
    stranger = {"kubernetes.kubeconfig": str(farmer.cluster.kubeconfig("stranger"))}
    job = farmer.job("1-2", profile=stranger).send()
    with pytest.raises(
        EngineForbiddenError, match=r"You may not list workflows .*resources: \['workflows'\], verbs: \['list'\]"
    ):
        job.engine.submit(job.plan)
    assert {item.code for item in job.engine.check()} == {"right_missing", "not_checked"}
    job.engine = farmer.job().engine  # who may, clears up


def test_a_certificate_is_a_login_too(farmer: Farmer) -> None:
    own = {"kubernetes.kubeconfig": str(farmer.cluster.kubeconfig("artist-certificate"))}
    ended(farmer.job("1-2", chunk_size=2, profile=own).submit(), 2)


def test_a_token_that_expires_is_fetched_anew(farmer: Farmer, tmp_path: Path) -> None:
    """By the program that the kubeconfig names; the first one it gives is worth nothing any more."""
    token, kubeconfig = tmp_path / "token", tmp_path / "kubeconfig"
    good = farmer.cluster.credentials.token("artist")
    token.write_text("expired")
    script = tmp_path / "login.sh"
    script.write_text(
        "#!/bin/sh\n"
        'printf \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "%s"}}\' '
        f'"$(cat {shlex.quote(str(token))})"\nprintf %s {shlex.quote(good)} > {shlex.quote(str(token))}\n'
    )
    script.chmod(0o755)
    kubeconfig.write_text(with_exec(farmer.cluster.kubeconfig("artist"), script))
    job = farmer.job("1-2", chunk_size=2, profile={"kubernetes.kubeconfig": str(kubeconfig)}).submit()
    ended(job, 2)


def with_exec(kubeconfig: Path, script: Path) -> str:
    data = yaml.safe_load(kubeconfig.read_text())
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "interactiveMode": "Never"}
    for user in data["users"]:
        user["user"] = {"exec": command}
    return str(yaml.safe_dump(data))


# -- submitted, and then nobody ---------------------------------------------------------------------------------------------


def _submit_and_die(profile: FarmProfile, plan: RenderPlan, chunks: int, creates: int) -> None:
    """Submit in shards of so many chunks; die after so many Workflows were made."""
    argo_shards.MOST_CHUNKS = chunks
    made = 0
    create = ClusterApi.create_workflow

    def counted(self: ClusterApi, manifest: Any, *, dry_run: bool = False) -> Any:
        nonlocal made
        answer = create(self, manifest, dry_run=dry_run)
        made += not dry_run
        if made == creates:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    ClusterApi.create_workflow = counted  # type: ignore[method-assign]
    argo.open_engine(profile).submit(plan)
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(function: Callable[..., None], *arguments: Any) -> int | None:
    process = _SPAWN.Process(target=function, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def test_five_shards_are_seen_through_with_nobody_there(farmer: Farmer) -> None:
    job = farmer.job("1-10", profile={"limits.parallelism": 4}).send()
    assert in_a_process(_submit_and_die, job.subject.there, job.plan, 2, 99) == -signal.SIGKILL
    assert len(farmer.cluster.api.find("Workflow", labels=f"cloud-farm/job={job.id}")) == 6  # even: two lanes
    records = farmer.farm.root / job.layout.records(1) / "0"
    wait_for(lambda: len(list(records.glob("*.json"))) == 10, 300, what="every record, by the disk alone")
    job.check_files()


@pytest.mark.parametrize("creates", [1, 2, 3])
def test_a_submission_that_was_interrupted_anywhere_is_one_job_when_it_is_repeated(
    farmer: Farmer, creates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = farmer.job("1-6").send()
    assert in_a_process(_submit_and_die, job.subject.there, job.plan, 2, creates) == -signal.SIGKILL
    monkeypatch.setattr(argo_shards, "MOST_CHUNKS", 2)
    job.engine.submit(job.plan)
    ended(job, 6)
    assert len(farmer.cluster.api.find("Workflow", labels=f"cloud-farm/job={job.id}")) == 4
    assert len(job.attempts()) == 6, "a chunk was begun more than once"


def test_a_name_that_something_else_has_is_told(farmer: Farmer) -> None:
    job = farmer.job("1-2").send()
    [manifest] = job.engine.manifests(job.plan)
    other = {**manifest, "metadata": {"name": manifest["metadata"]["name"]}}
    farmer.cluster.api.create(dict(other))
    with pytest.raises(EngineError, match="has that name already"):
        job.engine.submit(job.plan)
    farmer.cluster.api.delete("Workflow", manifest["metadata"]["name"])


def test_what_is_printed_is_what_argo_takes(farmer: Farmer, tmp_path: Path) -> None:
    job = farmer.job("1-2", chunk_size=2).send()
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump_all(job.engine.manifests(job.plan), sort_keys=False))
    program = farmer.cluster.flavour.programs / "argo"
    environment = {
        "KUBECONFIG": str(farmer.cluster.kubeconfig("artist")),
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [str(program), "submit", "--namespace", farmer.cluster.namespace, str(path)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ended(job, 2)

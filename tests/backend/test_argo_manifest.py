"""Workflows of a plan: they fit Argo's own definition, lose no chunk, and say what they are; no name becomes a command."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_farm.engines.argo import missing_workflows
from cloud_farm.engines.argo_labels import CHUNKS_SHA256, job_selector, lost_fields, same_workflow
from cloud_farm.engines.argo_manifest import workflow_template, workflows
from cloud_farm.engines.argo_objects import WorkflowHead
from cloud_farm.engines.argo_shards import MOST_CHUNKS
from cloud_farm.errors import CloudFarmError, InvalidJobError, ProfileError
from cloud_farm.job import RenderJob, SceneFacts
from cloud_farm.layout import camera_slug
from cloud_farm.plan import restore_plan

from tests.rigs.argo_crds import schema_of, violations
from tests.rigs.processes import RigUnavailable

from .argo_farm import (
    JOB_ID,
    Manifest,
    chunks,
    command,
    container,
    farm,
    made,
    one,
    parameters,
    planned,
    template,
)
from .test_job import SCENE, make_pack

EVERYTHING: dict[str, Any] = {
    "namespace": "render", "service_account": "renderer", "image_pull_secrets": ["registry"], "runtime_class": "nvidia",
    "priority_classes": {"render-low": 0, "render-high": 80}, "pod": {"hostNetwork": True, "dnsPolicy": "Default"},
    "labels": {"qos.coreweave.cloud/interruptable": "true"}, "annotations": {"team": "look, ünïcode"}, "env": {"OCIO": "/x"},
    "matching_nodes": 5, "cpu": "3500m", "cpu_limit": "8", "memory": "24Gi", "shm_size": "2Gi", "scratch_size": "50Gi",
    "user": 4711, "read_only_root": True, "ttl_s": {"success": 600, "failure": 3600}, "deadline_s": 7200, "node_lost_s": 30,
    "grace_s": 60, "prepare": {
        "cpu": "500m", "memory": "4Gi", "node_labels": {"kind": ["cpu"]}, "tolerations": [{"key": "is_cpu_compute", "operator": "Exists"}],
    },
}  # fmt: skip
TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
FARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {
        "kubernetes": EVERYTHING,
        "instance_id": "studio",
        "gpu__tolerations": [TOLERATION],
        "gpu__count": 4,
    },
    "cpu": {"gpu__device": "cpu", "volume__sub_path": "", "volume__gid": None},
    "argo 3.4": {"argo_version": "v3.4.7"},
    "argo 3.6": {"argo_version": "3.6.12"},
    "argo unknown": {"argo_version": ""},
    "argo 4.1": {"argo_version": "4.1.2"},
    "token": {"kubernetes": {"token_in_pods": True}},
}
BIG = RenderJob("shot.blend", frames="1-4200", chunk_size=2)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    try:
        return {"Workflow": schema_of("workflows"), "WorkflowTemplate": schema_of("workflowtemplates")}
    except RigUnavailable as error:
        pytest.skip(str(error))


# -- Argo's own definition ------------------------------------------------------------------------------------------------


def test_the_check_finds_what_a_real_server_refuses_of_an_old_manifest(schema: dict[str, Any]) -> None:
    old = {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": "render-"},
        "spec": {
            "ttlSecondsAfterFinished": 86400,
            "arguments": {"parameters": [{"name": "filename", "value": "/data/x.blend"}, {"name": "sliceSize", "value": 1}]},
        },
    }  # fmt: skip
    assert list(violations(old, schema["Workflow"])) == [
        ".spec.ttlSecondsAfterFinished is not known",
        ".spec.arguments.parameters[1].value: 1 is no string",
    ]


@pytest.mark.parametrize("name", FARMS)
def test_every_manifest_fits_the_definition(schema: dict[str, Any], name: str) -> None:
    # The list of mutexes is newer than 3.5, the single one older than 4: the definition of 3.7 has both.
    for workflow in made(BIG, **FARMS[name]):
        assert list(violations(workflow, schema["Workflow"])) == []


@pytest.mark.parametrize("name", FARMS)
def test_every_template_fits_the_definition(schema: dict[str, Any], name: str) -> None:
    values = dict(FARMS[name])
    values["kubernetes"] = {**values.get("kubernetes", {}), "workflow_template": "cloud-farm"}
    assert list(violations(workflow_template(farm(**values), "4.5"), schema["WorkflowTemplate"])) == []
    for workflow in made(BIG, **values):
        assert list(violations(workflow, schema["Workflow"])) == []


def test_manifests_are_data_that_yaml_and_json_carry(tmp_path: Path) -> None:
    workflow = one(kubernetes=EVERYTHING)
    assert yaml.safe_load(yaml.safe_dump(workflow)) == workflow
    assert json.loads(json.dumps(workflow)) == workflow


def test_a_full_workflow_stays_far_below_what_etcd_takes() -> None:
    job = RenderJob("shot.blend", frames="100000-599999", chunk_size=50, cameras=("Cam", "Cam B"))
    full = made(job, kubernetes=EVERYTHING)
    assert len(full) == 20 and {len(chunks(workflow)) for workflow in full} == {MOST_CHUNKS}
    assert max(len(json.dumps(workflow)) for workflow in full) < 160_000  # etcd takes 1.5 MiB, Argo works up to 1 MiB


# -- parts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "parallelism"), [(1, 40), (999, 1), (1000, 7), (1001, 7), (1001, 1), (2001, 5), (5000, 2)]
)
def test_parts_hold_every_chunk_once_and_what_runs_at_once_fits_the_farm(count: int, parallelism: int) -> None:
    job = RenderJob("shot.blend", frames=f"1-{count}", chunk_size=1)
    parts = made(job, limits__parallelism=parallelism)
    ids = [item["id"] for part in parts for item in chunks(part)]
    assert ids == [chunk.id for chunk in planned(job).chunks]
    assert max(len(chunks(part)) for part in parts) <= MOST_CHUNKS
    assert max(len(chunks(part)) for part in parts) - min(len(chunks(part)) for part in parts) <= 1
    lanes: dict[str, set[int]] = {}
    for part in parts:
        [mutex] = part["spec"]["synchronization"]["mutexes"]
        lanes.setdefault(mutex["name"], set()).add(part["spec"]["parallelism"])
    assert set(lanes) <= {f"{JOB_ID}-0", f"{JOB_ID}-1"}
    assert sum(max(shares) for shares in lanes.values()) <= parallelism
    assert len({part["metadata"]["name"] for part in parts}) == len(parts)


def test_the_same_plan_gives_the_same_workflows_and_a_retry_others() -> None:
    plan, profile = planned(BIG), farm()
    first = workflows(plan, profile, owner="ada")
    assert workflows(plan, profile, owner="ada") == first
    stored = restore_plan(
        plan.content, profile, tools=dataclasses.replace(_tools(plan), supervisor=()), priority=plan.priority
    )
    assert workflows(stored, profile, owner="ada") == first
    names = {workflow["metadata"]["name"] for workflow in first}
    again = workflows(plan, profile, run=1, only={"r1c00007", "r1c00003"})
    assert [chunks(workflow) for workflow in again] == [
        [{"id": "r1c00003", "frames": "5-6", "count": "2"}, {"id": "r1c00007", "frames": "13-14", "count": "2"}]
    ]
    assert not names & {workflow["metadata"]["name"] for workflow in again}
    assert again[0]["metadata"]["name"] == f"{JOB_ID}-r1-run1"


def _tools(plan: Any) -> Any:
    from cloud_farm.plan import Toolchain

    return Toolchain("4.5.15", (), ("blender",), plan.document["scripts"])


def test_a_retry_names_chunks_that_exist() -> None:
    with pytest.raises(InvalidJobError, match="no chunk r9c00001"):
        workflows(planned(), farm(), only={"r9c00001"})
    with pytest.raises(InvalidJobError, match="nothing to submit"):
        workflows(planned(), farm(), only=())


# -- commands -------------------------------------------------------------------------------------------------------------


def test_pods_run_the_commands_of_the_plan() -> None:
    plan, workflow = planned(), one()
    commands = {task.id: list(task.command) for task in plan.tasks}
    assert command(workflow, "prepare") == commands.pop("prepare")
    assert {item["id"]: command(workflow, "render", item) for item in chunks(workflow)} == commands
    assert container(workflow, "render")["command"] == ["blender"]


def test_the_image_may_have_its_blender_anywhere() -> None:
    workflow = one(images={"4.5": {"image": "x@sha256:" + "b" * 64, "blender": "/opt/blender/blender"}})
    for name in ("prepare", "render"):
        assert container(workflow, name)["command"] == ["/opt/blender/blender"]
        assert container(workflow, name)["args"][-1] == "/opt/blender/blender"


def test_scripts_in_scenes_run_only_if_the_submitter_says_so() -> None:
    assert "--no-allow-scripts" in command(one(), "prepare")
    allowed = workflows(planned(allow_scripts=True), farm())
    assert "--allow-scripts" in command(allowed[0], "prepare")


HOSTILE = ['{{workflow.name}}', "{{=sprig.env('HOME')}}", "$(rm -rf ~)", "\"'`\n---\nkind: Pod\t\x00\u202e", "a" * 300, "}}{{{{", "- &x !!python/name"]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_people_name_is_never_more_than_text(name: str) -> None:
    scene = dataclasses.replace(SCENE, cameras=(name,), active_camera=name)
    pack = dataclasses.replace(make_pack(), facts=SceneFacts("4.5.92", (scene,), "Scene"), scene=f"{name}.blend")
    job = RenderJob(f"{name}.blend", name=name, cameras=(name,), comment=name, tags=(name,), landing=f"//{name}_####")
    [hostile] = workflows(planned(job, pack=pack), farm(), owner=name)
    tame = one(RenderJob("shot.blend", cameras=("Cam",)))
    assert hostile["spec"]["templates"] == tame["spec"]["templates"]
    placeholders = set(re.findall(r"\{\{.*?\}\}", json.dumps(hostile)))
    assert placeholders == set(re.findall(r"\{\{.*?\}\}", json.dumps(tame)))
    for value in hostile["metadata"]["labels"].values():
        assert re.fullmatch(r"[a-z0-9A-Z]([\w.-]{0,61}[a-z0-9A-Z])?", value)
    for value in hostile["metadata"]["annotations"].values():
        assert value.isprintable() and "{{" not in value and len(value) < 1000
    for item in chunks(hostile):
        assert re.fullmatch(r"[\w .:,-]+", item["frames"])


@pytest.mark.parametrize(
    "values",
    [
        {"kubernetes": {"env": {"X": "{{workflow.name}}"}}},
        {"kubernetes": {"pod": {"nodeSelector": {"x": "{{=1}}"}}}},
        {"kubernetes": {"annotations": {"x": "{{workflow.parameters.other}}"}}},
        {"instance_id": "{{workflow.uid}}"},
    ],
)
def test_placeholders_of_a_profile_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match="placeholder"):
        one(**values)


@pytest.mark.parametrize("job_id", ["x" * 60 + "-20261123-abc123", "no job", "{{x}}-20261123-abc123"])
def test_only_ids_of_jobs_become_names(job_id: str) -> None:
    with pytest.raises(CloudFarmError):
        workflows(planned(job_id=job_id), farm())


# -- parameters, labels, names ----------------------------------------------------------------------------------------------


def test_the_parameters_of_the_tutorial_are_shown_and_all_are_strings() -> None:
    workflow = one(RenderJob("shot.blend", frames="-5-20:5,100", chunk_size=3))
    values = parameters(workflow)
    assert all(isinstance(value, str) for value in values.values())
    assert values["filename"] == f"/data/cloud-farm/jobs/{JOB_ID}/scene/shot.blend"
    assert (values["sliceSize"], values["start"], values["stop"]) == ("3", "-5", "100")
    assert values["outputLocation"] == f"/data/cloud-farm/jobs/{JOB_ID}/frames/r1"
    assert chunks(workflow) == [
        {"id": "r1c00001", "frames": "-5-5:5", "count": "3"},
        {"id": "r1c00002", "frames": "10-20:5", "count": "3"},
        {"id": "r1c00003", "frames": "100", "count": "1"},
    ]


def test_a_workflow_says_what_it_is_and_whose() -> None:
    job = RenderJob("shot.blend", name="Shot 12: the chase", frames="1-250", cameras=("Cam B",))
    [workflow] = workflows(planned(job), farm(instance_id="studio"), owner="Ada Löve")
    labels, notes = workflow["metadata"]["labels"], workflow["metadata"]["annotations"]
    assert labels["cloud-farm/job"] == JOB_ID and labels["cloud-farm/owner"] == "ada-love"
    assert labels["workflows.argoproj.io/controller-instanceid"] == "studio"
    assert notes["workflows.argoproj.io/title"] == "Shot 12: the chase"
    assert notes["workflows.argoproj.io/description"] == (
        "Frames 1-250 of shot.blend, submitted by Ada Löve. Blender 4.5.15, optix."
    )
    assert chunks(workflow)[0]["frames"] == f"{camera_slug('Cam B')} 1-7"
    pod = template(workflow, "render")["metadata"]
    assert pod["labels"]["cloud-farm/task"] == "{{inputs.parameters.id}}"
    assert pod["annotations"]["cloud-farm/frames"] == "{{inputs.parameters.frames}}"
    assert job_selector(JOB_ID) == f"cloud-farm/job={JOB_ID}"
    assert "instanceid=studio" in job_selector(JOB_ID, instance_id="studio")


def test_parts_say_which_they_are() -> None:
    titles = [part["metadata"]["annotations"]["workflows.argoproj.io/title"] for part in made(BIG)]
    assert titles == [f"shot, part {number} of 4" for number in range(1, 5)]


def test_a_long_list_of_frames_is_cut_where_argo_repeats_it() -> None:
    frames = ",".join(str(frame) for frame in range(1, 400, 7))
    job = RenderJob("shot.blend", frames=frames.replace("8,", "9,"), chunk_size=100)
    [item] = chunks(one(job))
    assert item["frames"] == "1..393"


# -- by version -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "lock", "cap"),
    [("3.4.7", "mutex", False), ("3.5.15", "mutex", False), ("3.6.12", "mutexes", False), ("", "mutexes", False), ("3.7.0", "mutexes", True), ("v4.1.2", "mutexes", True)],
)  # fmt: skip
def test_fields_are_those_of_the_controllers_version(version: str, lock: str, cap: bool) -> None:
    workflow = one(argo_version=version)
    assert list(workflow["spec"]["synchronization"]) == [lock]
    backoff = template(workflow, "render")["retryStrategy"]["backoff"]
    assert ("cap" in backoff) is cap
    assert cap or backoff["factor"] == "1"  # without a cap growing times would end in days


@pytest.mark.parametrize("version", ["3.3.9", "latest", "3", "two"])
def test_an_unknown_version_is_refused(version: str) -> None:
    with pytest.raises(ProfileError, match="argo_version"):
        one(argo_version=version)


def test_nothing_ends_a_job_from_above() -> None:
    text = json.dumps(one())
    assert '"timeout"' not in text and '"pendingTimeout"' not in text
    assert "activeDeadlineSeconds" not in one()["spec"]


# -- WorkflowTemplates -----------------------------------------------------------------------------------------------------

ALLOWED_OVERRIDES = {"workflowTemplateRef", "arguments", "priority"}
"""Of what a controller in Strict mode lets submitters set, what we set."""


def test_with_a_template_a_workflow_sets_only_what_a_strict_controller_allows() -> None:
    profile = farm(kubernetes={"workflow_template": "cloud-farm", "namespace": "render"})
    parts = workflows(planned(BIG, profile), profile)
    installed = workflow_template(profile, "4.5")
    assert installed["metadata"]["name"] == "cloud-farm-4-5"
    declared = {item["name"] for item in installed["spec"]["arguments"]["parameters"]}
    for part in parts:
        assert set(part["spec"]) == ALLOWED_OVERRIDES
        assert part["spec"]["workflowTemplateRef"] == {"name": "cloud-farm-4-5"}
        assert set(parameters(part)) == declared
    used = set(re.findall(r"workflow\.parameters\.(\w+)", json.dumps(installed)))
    assert used <= declared
    assert installed["spec"]["synchronization"] == {"mutexes": [{"name": "{{workflow.parameters.job}}"}]}


def test_a_template_has_the_pods_that_whole_workflows_have() -> None:
    profile = farm(kubernetes={"workflow_template": "cloud-farm"})
    assert workflow_template(profile, "4.5")["spec"]["templates"] == one()["spec"]["templates"]


def test_a_template_needs_a_name() -> None:
    with pytest.raises(ProfileError, match="workflow_template is missing"):
        workflow_template(farm(), "4.5")


# -- what submit compares -----------------------------------------------------------------------------------------------------


def stored(workflow: Manifest, **annotations: str) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(workflow))
    copy["metadata"] |= {"uid": "1", "resourceVersion": "2"}
    copy["metadata"]["annotations"] |= annotations
    return copy


def test_a_workflow_is_known_again_by_job_plan_and_chunks() -> None:
    workflow = one()
    assert same_workflow(stored(workflow), workflow)
    assert not same_workflow(stored(workflow, **{"cloud-farm/plan-sha256": "0"}), workflow)
    assert not same_workflow({"metadata": {"name": "x"}}, workflow)
    assert not same_workflow(one(RenderJob("shot.blend", chunk_size=3)), workflow)


def test_fields_that_a_server_dropped_are_named() -> None:
    workflow = one(kubernetes={"matching_nodes": 9})
    there = stored(workflow)
    there["status"] = {"phase": "Pending"}
    there["spec"]["templates"][2]["container"]["name"] = "main"
    assert lost_fields(workflow, there) == ()
    del there["spec"]["synchronization"]
    del there["spec"]["templates"][2]["retryStrategy"]["backoff"]["cap"]
    del there["spec"]["templates"][2]["retryStrategy"]["affinity"]
    assert set(lost_fields(workflow, there)) == {
        "spec.synchronization",
        "spec.templates[2].retryStrategy.affinity",
        "spec.templates[2].retryStrategy.backoff.cap",
    }


# -- a submission that is repeated ------------------------------------------------------------------------------------------


def head_of(workflow: Manifest) -> WorkflowHead:
    annotations = workflow["metadata"]["annotations"]
    return WorkflowHead(workflow["metadata"]["name"], "1", "Running", False, 1, 0, 1, annotations[CHUNKS_SHA256])


def test_what_an_interrupted_submission_did_not_make_is_still_to_be_made() -> None:
    parts = workflows(planned(BIG), farm())
    assert missing_workflows(parts, []) == list(parts)
    assert missing_workflows(parts, [head_of(parts[0]), head_of(parts[2])]) == [parts[1], *parts[3:]]
    assert missing_workflows(parts, [head_of(part) for part in parts]) == []


def test_going_on_with_fewer_chunks_makes_no_second_run_beside_the_first() -> None:
    """Who resumes a paused job wants what it lacks by now; its Workflows were cut from all of it."""
    plan, profile = planned(BIG), farm()
    running = [head_of(part) for part in workflows(plan, profile)]
    fewer = workflows(plan, profile, only={"r1c00007", "r1c02003"})
    assert missing_workflows(fewer, running) == []
    [small] = made(RenderJob("shot.blend", frames="1-8", chunk_size=2))
    [rest] = workflows(planned(RenderJob("shot.blend", frames="1-8", chunk_size=2)), profile, only={"r1c00003"})
    assert rest["metadata"]["name"] == small["metadata"]["name"]
    assert missing_workflows([rest], [head_of(small)]) == []


# -- what a template can't carry --------------------------------------------------------------------------------------------

CLASSES = {"render-low": 0, "render-high": 80}


@pytest.mark.parametrize(
    ("job", "values", "says"),
    [
        ({"device": "cpu"}, {}, r"gives each pod 1 GPU: it can't render on cpu"),
        ({"device": "optix"}, {"gpu__device": "cpu"}, r"gives each pod no GPU: it can't render on optix"),
        ({"priority": 90}, {"classes": CLASSES}, r"priority 90 would need render-high\. Leave the priority at 50"),
        ({"frame_seconds": 7200}, {"deadline_s": 7200}, r"a frame limit of 7200 s is too long"),
    ],
)
def test_a_job_that_a_template_can_not_carry_is_refused(job: dict[str, Any], values: dict[str, Any], says: str) -> None:
    kubernetes = {"priority_classes": values.pop("classes", {}), "deadline_s": values.pop("deadline_s", 86400)}
    wanted = RenderJob("shot.blend", **job)
    made(wanted, kubernetes=kubernetes, **values)  # a whole Workflow can
    with pytest.raises(InvalidJobError, match=says):
        made(wanted, kubernetes={**kubernetes, "workflow_template": "cloud-farm"}, **values)


def test_what_makes_no_other_pods_is_taken_with_a_template() -> None:
    job = RenderJob("shot.blend", priority=79, frame_seconds=600)
    assert (
        one(job, kubernetes={"priority_classes": CLASSES, "workflow_template": "cloud-farm"})["spec"]["priority"] == 79
    )


def test_a_template_gives_all_pods_the_same_gpus() -> None:
    with pytest.raises(ProfileError, match=r"gpu\.count_max can't be more than gpu\.count"):
        made(kubernetes={"workflow_template": "cloud-farm"}, gpu__count=1, gpu__count_max=4)

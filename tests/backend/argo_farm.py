"""A farm on a cluster, for tests of what becomes of a plan there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cloud_farm.engines.argo_manifest import workflows
from cloud_farm.images import choose_image
from cloud_farm.job import JobPack, RenderJob
from cloud_farm.plan import RenderPlan, plan
from cloud_farm.profile import FarmProfile, Gpu, Limits, Volume
from cloud_farm.toolchain import own_scripts, pod_toolchain, script_hashes

from .test_job import make_pack

Manifest = Mapping[str, Any]

JOB_ID = "shot-20261123-abc123"
IMAGE = f"registry.example.com/blender:4.5.15@sha256:{'a' * 64}"
SCRIPTS = script_hashes(own_scripts())


def farm(**values: Any) -> FarmProfile:
    """A profile; dotted keys replace values (`kubernetes={…}`, `gpu.count=2` as `gpu__count=2`)."""
    profile = FarmProfile(
        "studio",
        engine="argo",
        store="filebrowser",
        volume=Volume(claim="shared-data-pvc", sub_path="team", mount_path="/data", gid=1500),
        gpu=Gpu(device="optix", model_label="gpu.nvidia.com/model", models=("Quadro_RTX_4000",)),
        limits=Limits(parallelism=40),
        images={"4.5": IMAGE},
        argo_version="3.7.14",
    )
    return profile.with_values({key.replace("__", "."): value for key, value in values.items()}, origin="test")


def planned(
    job: RenderJob | None = None, profile: FarmProfile | None = None, pack: JobPack | None = None, **more: Any
) -> RenderPlan:
    profile = profile or farm()
    tools = pod_toolchain(choose_image(profile, "4.5.92"), SCRIPTS)
    return plan(
        job or RenderJob("shot.blend"), pack or make_pack(), profile, more.pop("job_id", JOB_ID), tools=tools, **more
    )


def made(job: RenderJob | None = None, **values: Any) -> tuple[Manifest, ...]:
    """The Workflows of a job on a farm with some values of its own."""
    profile = farm(**values)
    return workflows(planned(job, profile), profile, owner="ada")


def one(job: RenderJob | None = None, **values: Any) -> Manifest:
    [workflow] = made(job, **values)
    return workflow


def template(workflow: Manifest, name: str) -> dict[str, Any]:
    return next(dict(item) for item in workflow["spec"]["templates"] if item["name"] == name)


def container(workflow: Manifest, name: str) -> dict[str, Any]:
    return dict(template(workflow, name)["container"])


def parameters(workflow: Manifest) -> dict[str, str]:
    return {item["name"]: item["value"] for item in workflow["spec"]["arguments"]["parameters"]}


def chunks(workflow: Manifest) -> list[dict[str, str]]:
    return list(json.loads(parameters(workflow)["chunks"]))


def filled(workflow: Manifest, name: str, item: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A container as Argo fills it in."""
    values = {f"{{{{workflow.parameters.{key}}}}}": value for key, value in parameters(workflow).items()}
    values |= {f"{{{{inputs.parameters.{key}}}}}": value for key, value in (item or {}).items()}
    text = json.dumps(container(workflow, name))
    for placeholder, value in values.items():
        text = text.replace(placeholder, json.dumps(value)[1:-1])
    return dict(json.loads(text))


def command(workflow: Manifest, name: str, item: Mapping[str, str] | None = None) -> list[str]:
    """What a container runs."""
    made = filled(workflow, name, item)
    return [*made["command"], *made["args"]]

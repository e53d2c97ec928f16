"""Names: no two nodes of a Workflow are one to Argo, and people recognise what they submitted."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from cloud_farm.engines import argo_names, open_engine
from cloud_farm.engines.argo_manifest import workflows
from cloud_farm.engines.argo_names import (
    draws,
    fnv32a,
    has_collision,
    image_version,
    item_text,
    node_id,
    node_names,
    workflow_name,
)
from cloud_farm.errors import InvalidJobError
from cloud_farm.job import RenderJob

from .argo_farm import chunks, farm, planned


@pytest.mark.parametrize(("text", "hashed"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)])
def test_the_hash_is_the_published_one(text: str, hashed: int) -> None:
    assert fnv32a(text.encode()) == hashed
    assert fnv32a(text[2:].encode(), fnv32a(text[:2].encode())) == hashed


def test_node_names_are_those_of_argo() -> None:
    # From a Workflow's status on Argo 3.7: the item's keys in order, the attempt behind.
    names = list(node_names("w", [{"id": "r1c00001", "frames": "1-25"}], 2))
    assert names == [
        "w", "w[0]", "w[1]", "w[0].prepare", "w[0].prepare(0)", "w[0].prepare(1)", "w[1].render(0:frames:1-25,id:r1c00001)",
        "w[1].render(0:frames:1-25,id:r1c00001)(0)", "w[1].render(0:frames:1-25,id:r1c00001)(1)",
    ]  # fmt: skip
    assert node_id("w", "w") == "w" and node_id("w", "w[0]") == f"w-{fnv32a(b'w[0]')}"


def really_collides(workflow: str, items: list[dict[str, str]], attempts: int) -> bool:
    """Slowly, and the way Argo does it: one id for each name."""
    ids = Counter(node_id(workflow, name) for name in node_names(workflow, items, attempts))
    return max(ids.values()) > 1


def test_collisions_are_found_where_they_are() -> None:
    draw = random.Random(5)
    for count in (1, 3, 60):
        workflow = f"shot-20261123-{draw.getrandbits(30):06x}-r1"
        items = [{"id": f"r1c{i:05d}", "frames": str(i)} for i in range(count)]
        assert has_collision(workflow, items, 21) is really_collides(workflow, items, 21)
        assert has_collision(workflow, [*items, items[0]], 21) is really_collides(workflow, [*items, items[0]], 21)


def test_a_name_with_a_collision_is_drawn_again_and_the_same_one_each_time() -> None:
    job = RenderJob("shot.blend", frames="1-900", chunk_size=1)
    plain = f"{_job_with_collision(job)}-r1"
    plan = planned(job, job_id=plain.removesuffix("-r1"))
    [workflow] = workflows(plan, farm())
    name = workflow["metadata"]["name"]
    assert name == f"{plain}a"
    assert really_collides(plain, chunks(workflow), 21) and not really_collides(name, chunks(workflow), 21)
    assert workflows(plan, farm())[0]["metadata"]["name"] == name


def _job_with_collision(job: RenderJob) -> str:
    items = chunks(workflows(planned(job), farm())[0])
    for number in range(1000):
        job_id = f"shot-20261123-{number:06d}"
        if has_collision(f"{job_id}-r1", items, 21):
            return job_id
    raise AssertionError("no collision among a thousand names is one chance in 10^16")


@pytest.mark.parametrize(
    ("job_id", "tail", "name"),
    [
        ("shot-20261123-abc123", "r1", "shot-20261123-abc123-r1"),
        (f"{'long-title-' * 7}-20261123-abc123", "r12-run3-120ab", "long-title-long-title-long-title-20261123-abc123-r12-run3-120ab"),
        (f"{'x' * 31}-y-20261123-abc123", "r1", f"{'x' * 31}-y-20261123-abc123-r1"),
    ],
)  # fmt: skip
def test_names_keep_what_tells_jobs_apart_and_fit(job_id: str, tail: str, name: str) -> None:
    assert workflow_name(job_id, tail) == name
    assert len(name) <= 63


def test_only_ids_of_jobs_become_names() -> None:
    with pytest.raises(InvalidJobError, match="not a job's id"):
        workflow_name("shot", "r1")


def test_names_can_be_drawn_often_and_always_in_the_same_order() -> None:
    drawn = list(draws())
    assert drawn[:3] == ["", "a", "b"] and len(drawn) == len(set(drawn)) == 1 + 26 + 26 * 26
    assert drawn == list(draws())


def test_items_have_no_brackets_that_some_versions_leave_out() -> None:
    assert item_text({"b": "2", "a": "1"}) == "a:1,b:2"
    cameras = RenderJob("shot.blend", cameras=("Cam", "Cam B"))
    for workflow in workflows(planned(cameras), farm()):
        assert not set("()") & set("".join(item_text(item) for item in chunks(workflow)))
    assert argo_names.OLDEST_ARGO == (3, 4)


@pytest.mark.parametrize(
    ("kubernetes", "expected"),
    [
        ({}, ""),
        ({"argo_ui": "https://argo.example.com/"}, "https://argo.example.com/workflows?label=cloud-farm%2Fjob%3Dshot"),
        (
            {"argo_ui": "https://example.com/argo", "namespace": "render"},
            "https://example.com/argo/workflows/render?label=cloud-farm%2Fjob%3Dshot",
        ),
    ],
)
def test_a_jobs_page_is_a_list_of_its_workflows_where_the_profile_knows_of_one(
    kubernetes: dict[str, str], expected: str
) -> None:
    assert open_engine(farm(kubernetes=kubernetes)).page("shot") == expected


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("quay.io/argoproj/argoexec:v3.7.14", "3.7.14"),
        ("registry.example.com:5000/argo/workflow-controller:v3.6.12-nonroot@sha256:0badcafe", "3.6.12"),
        ("docker.io/local/argoexec:argo-3.7.14-5b69142c", "3.7.14"),
        ("registry.example.com:5000/argoexec", ""),
        ("quay.io/argoproj/argoexec@sha256:0badcafe", ""),
        ("quay.io/argoproj/argoexec:latest", ""),
    ],
)
def test_the_version_is_read_from_the_tag_of_an_image(reference: str, version: str) -> None:
    assert image_version(reference) == version

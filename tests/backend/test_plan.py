"""The plan: pure, stable hashes, chunks that lose nothing, clear refusals."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest
from cloud_farm.errors import InvalidJobError
from cloud_farm.frames import FrameRange
from cloud_farm.job import JobPack, RenderJob, SceneFacts
from cloud_farm.plan import RenderPlan, Toolchain, plan, read_chunks, restore_plan
from cloud_farm.profile import FarmProfile, Gpu, Limits, Volume

from .test_job import FACTS, SCENE, make_pack

TOOLS = Toolchain("4.5.15", ("python3",), ("blender",), {"render_chunk.py": "00", "run_attempt.py": "11"})
PROFILE = FarmProfile("local", volume=Volume(mount_path="/farm"), gpu=Gpu(device="cpu"), limits=Limits(workers=2))
JOB_ID = "shot-20261123-abc123"


def planned(
    job: RenderJob | None = None, pack: JobPack | None = None, profile: FarmProfile = PROFILE, **more: Any
) -> RenderPlan:
    return plan(job or RenderJob("shot.blend"), pack or make_pack(), profile, JOB_ID, **{"tools": TOOLS, **more})


def test_same_input_gives_the_same_bytes() -> None:
    assert planned().content == planned().content
    assert planned().sha256 == hashlib.sha256(planned().content).hexdigest()


def test_chunks_hold_every_frame_of_every_camera_once() -> None:
    result = planned(RenderJob("shot.blend", frames="1-10,20", chunk_size=4, cameras=("Cam", "Cam B")))
    frames = [(chunk.camera, frame) for chunk in result.chunks for frame in chunk.frames]
    assert sorted(frames) == sorted((camera, f) for camera in ("Cam", "Cam B") for f in [*range(1, 11), 20])
    assert result.frame_count == 22
    assert [task.id for task in result.tasks] == ["prepare", *(chunk.id for chunk in result.chunks)]
    assert result.chunks[0].id == "r1c00001"


def test_commands_name_the_plan_by_hash_and_never_the_settings() -> None:
    result = planned(RenderJob("shot.blend", comment="$(rm -rf ~); {{workflow.name}}"))
    for task in result.tasks:
        assert result.sha256 in task.command
        assert task.command[-2:] == ("--", "blender")
        assert task.command[1] == f"/farm/cloud-farm/jobs/{JOB_ID}/scripts/run_attempt.py"
        assert not any("rm -rf" in word for word in task.command)


def test_scripts_run_only_when_the_submitter_says_so() -> None:
    assert all("--allow-scripts" not in task.command for task in planned().tasks)
    assert all("--allow-scripts" in task.command for task in planned(allow_scripts=True).tasks)
    assert planned().render_hash != planned(allow_scripts=True).render_hash


@pytest.mark.parametrize(
    "same",
    [{"comment": "x"}, {"priority": 1}, {"chunk_size": 3}, {"frames": "2-5"}, {"retries": 9}, {"frame_seconds": 5.0}, {"tags": ("x",)}, {"cost_cap": 2.0}],
)  # fmt: skip
def test_render_hash_ignores_what_changes_no_pixel(same: dict[str, Any]) -> None:
    priced = dataclasses.replace(PROFILE, price_per_gpu_hour=1.5)
    assert planned(RenderJob("shot.blend", **same), profile=priced).render_hash == planned().render_hash


def test_a_cost_cap_needs_a_price() -> None:
    priced = dataclasses.replace(PROFILE, price_per_gpu_hour=1.5, gpu=Gpu(device="cuda", count=4))
    limits = planned(RenderJob("shot.blend", cost_cap=2.0), profile=priced).document["limits"]
    assert (limits["cost_cap"], limits["price_per_hour"]) == (2.0, 6.0)
    with pytest.raises(InvalidJobError, match="no price_per_gpu_hour"):
        planned(RenderJob("shot.blend", cost_cap=2.0))


@pytest.mark.parametrize(
    "other",
    [{"samples": 3}, {"percentage": 50}, {"seed": 1}, {"persistent_data": True}, {"device": "cuda"}, {"engine": "BLENDER_WORKBENCH"}, {"file_format": "OPEN_EXR"}, {"landing": "//y_####"}, {"view_layers": ("ViewLayer",)}],
)  # fmt: skip
def test_render_hash_sees_what_changes_pixels_or_files(other: dict[str, Any]) -> None:
    assert planned(RenderJob("shot.blend", **other)).render_hash != planned().render_hash


def test_render_hash_sees_scripts_blender_and_scene() -> None:
    assert planned(tools=dataclasses.replace(TOOLS, blender="5.0.1")).render_hash != planned().render_hash
    assert planned(tools=dataclasses.replace(TOOLS, blender="4.5.2")).render_hash == planned().render_hash
    assert (
        planned(tools=dataclasses.replace(TOOLS, scripts={"render_chunk.py": "99"})).render_hash
        != planned().render_hash
    )


def test_auto_device_is_the_farms_and_an_unknown_one_is_refused() -> None:
    gpu = dataclasses.replace(PROFILE, gpu=Gpu(device="optix"))
    assert planned(profile=gpu).document["settings"]["device"] == "optix"
    assert planned(RenderJob("shot.blend", device="cpu"), profile=gpu).document["settings"]["device"] == "cpu"
    with pytest.raises(InvalidJobError, match="does not say what it renders on"):
        planned(profile=dataclasses.replace(PROFILE, gpu=Gpu()))


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"cameras": ("Nope",)}, "no camera 'Nope'.*'Cam', 'Cam B'"),
        ({"view_layers": ("Nope",)}, "no view layer 'Nope'"),
        ({"scene": "Nope"}, "no scene 'Nope'"),
    ],
)
def test_names_that_do_not_exist_are_refused_with_those_that_do(job: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidJobError, match=says):
        planned(RenderJob("shot.blend", **job))


def test_a_scene_without_camera_is_refused() -> None:
    bare = dataclasses.replace(SCENE, active_camera=None, marker_cameras=(), cameras=())
    pack = dataclasses.replace(make_pack(), facts=SceneFacts("4.5.15", (bare,), "Scene"))
    with pytest.raises(InvalidJobError, match="no active camera"):
        planned(pack=pack)


def test_movie_scenes_render_stills() -> None:
    movie = dataclasses.replace(SCENE, file_format="FFMPEG", is_movie=True)
    pack = dataclasses.replace(make_pack(), facts=SceneFacts("4.5.15", (movie,), "Scene"))
    assert planned(pack=pack).document["settings"]["format"] == "PNG"


@pytest.mark.parametrize(
    ("landing", "template"),
    [("", "x_####"), ("//out/shot_", "shot_####"), ("//out/", "shot_####"), ("a/f##", "f##"), ("a/frame.png", "frame####"), ("a/f_####.exr", "f_####"), ("C:\\r\\q_", "q_####")],
)  # fmt: skip
def test_name_template_is_the_last_part_of_the_output_path(landing: str, template: str) -> None:
    assert planned(RenderJob("shot.blend", landing=landing)).document["settings"]["template"] == template


def test_a_further_revision_renders_only_its_frames() -> None:
    result = planned(revision=2, only=FrameRange.parse("3,7"))
    assert [(c.id, str(c.frames)) for c in result.chunks] == [("r2c00001", "3"), ("r2c00002", "7")]


def test_a_stored_plan_comes_back_unchanged() -> None:
    first = planned(RenderJob("shot.blend", frames="1-50", chunk_size=7))
    again = restore_plan(first.content, PROFILE, tools=TOOLS)
    assert again.content == first.content
    assert again.tasks == first.tasks
    assert read_chunks(json.loads(first.content)) == first.chunks


def test_auto_chunks_feed_every_worker_and_stay_bounded() -> None:
    assert [len(c.frames) for c in planned(RenderJob("shot.blend", frames="1-8")).chunks] == [1] * 8
    assert max(len(c.frames) for c in planned(RenderJob("shot.blend", frames="1-10000")).chunks) == 50


def test_facts_of_a_stored_job_plan_the_same() -> None:
    from cloud_farm.job import PackSummary
    from cloud_farm.json_data import from_json

    summary = from_json(PackSummary, json.loads(json.dumps(make_pack().to_json())), where="pack")
    assert summary.facts == FACTS
    assert plan(RenderJob("shot.blend"), summary, PROFILE, JOB_ID, tools=TOOLS).content == planned().content


# -- on a cluster -------------------------------------------------------------------------------------------------------

CLUSTER = dataclasses.replace(PROFILE, engine="argo", gpu=Gpu(device="optix"), limits=Limits(parallelism=100))


@pytest.mark.parametrize(
    ("frames", "size"), [(1, 1), (100, 1), (240, 3), (1000, 5), (10000, 25), (100000, 50)]
)  # fmt: skip
def test_pods_get_a_few_frames_each_once_all_have_work(frames: int, size: int) -> None:
    chunks = planned(RenderJob("shot.blend", frames=f"1-{frames}"), profile=CLUSTER).chunks
    assert max(len(chunk.frames) for chunk in chunks) == size


def test_a_cluster_that_sets_no_limit_has_a_modest_one() -> None:
    assert (
        planned(
            RenderJob("shot.blend", frames="1-100"), profile=dataclasses.replace(CLUSTER, limits=Limits(workers=99))
        ).workers
        == 10
    )


@pytest.mark.parametrize(
    ("frames", "count", "most", "gpus"),
    [("1-1000", 1, None, 1), ("1-1000", 2, None, 2), ("1-1000", 1, 8, 1), ("7", 1, 8, 8), ("1-40", 1, 8, 2), ("7", 4, 8, 8), ("7", 4, 4, 4)],
)  # fmt: skip
def test_gpus_that_would_idle_may_help_with_a_frame(frames: str, count: int, most: int | None, gpus: int) -> None:
    profile = dataclasses.replace(CLUSTER, gpu=Gpu(device="optix", count=count, count_max=most), price_per_gpu_hour=2.0)
    result = planned(RenderJob("shot.blend", frames=frames), profile=profile)
    assert result.gpus == gpus
    assert result.document["limits"]["price_per_hour"] == 2.0 * gpus
    assert result.workers * gpus <= 100 * count
    assert restore_plan(result.content, CLUSTER, tools=TOOLS).gpus == gpus
    assert result.render_hash == planned(RenderJob("shot.blend", frames=frames), profile=CLUSTER).render_hash


def test_a_job_on_the_cpu_needs_no_gpu() -> None:
    assert planned(RenderJob("shot.blend", device="cpu"), profile=CLUSTER).gpus == 0
    assert planned().gpus == 0

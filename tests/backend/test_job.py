"""Jobs, records and packs as data: round trips, unknown fields, nonsense."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from cloud_farm.errors import InvalidJobError, SchemaError
from cloud_farm.job import (
    FrameRecord,
    JobPack,
    PackedFile,
    RenderJob,
    SceneFacts,
    SceneInfo,
    new_job_id,
    parse_job,
    parse_record,
)
from cloud_farm.json_data import from_json, require_schema, to_json
from cloud_farm.layout import is_job_id

SCENE = SceneInfo("Scene", 1, 24, 1, 24.0, "CYCLES", ("Cam", "Cam B"), "Cam", ((1, "Cam"),), ("ViewLayer",), (640, 360), "//out/x_", "PNG", False)  # fmt: skip
FACTS = SceneFacts("4.5.15", (SCENE,), "Scene")


def make_pack(*files: PackedFile) -> JobPack:
    return JobPack("shot.blend", files or (PackedFile("shot.blend", Path("shot.blend"), 3, "ab" * 32),), FACTS)


def job_json(**changes: Any) -> dict[str, Any]:
    data = {
        "schema": 1, "id": "shot-20261123-abc123", "owner": "ann", "host": "box", "created": "2026-11-23T10:00:00Z",
        "tool": "0.1.0", "blender": {"version": "4.5.15", "hash": "x"}, "farm": "local",
        "job": to_json(RenderJob("shot.blend")), "pack": make_pack().to_json(),
    }  # fmt: skip
    return {**data, **changes}


def test_job_round_trip_keeps_every_field() -> None:
    job = RenderJob(
        "shot.blend", scene="S", cameras=("A", "B"), view_layers=("L",), frames="1-9:2", chunk_size=4, engine="CYCLES",
        file_format="OPEN_EXR", landing="//x_####", percentage=50, samples=8, device="optix", seed=3, retries=2,
        frame_seconds=9.5, cost_cap=3.0, priority=80, comment="c", tags=("t",), allowed_missing=("a.png",),
    )  # fmt: skip
    assert from_json(RenderJob, json.loads(json.dumps(to_json(job))), where="job") == job


def test_unknown_fields_survive_the_round_trip() -> None:
    data = {**to_json(RenderJob("a.blend")), "lens_flare": {"much": True}}
    assert to_json(from_json(RenderJob, data, where="job"))["lens_flare"] == {"much": True}
    document = parse_job(json.dumps(job_json(later=[1, 2])).encode(), where="job.json")
    assert to_json(document)["later"] == [1, 2]


def test_newer_schema_is_read_and_never_written() -> None:
    document = parse_job(json.dumps(job_json(schema=9, novelty=1)).encode(), where="job.json")
    assert document.schema == 9
    with pytest.raises(SchemaError, match="newer Cloud Farm"):
        require_schema({"schema": document.schema}, 1, where="job.json")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"{not json", "not JSON"),
        (b"[]", "no schema number"),
        (b'{"schema": "1"}', "no schema number"),
        (b'{"schema": 1}', "lacks the field"),
        (json.dumps(job_json(owner=7)).encode(), "owner should be text"),
        (
            json.dumps(job_json(job={"scene_file": "a.blend", "cameras": "Cam"})).encode(),
            "cameras should be a list",
        ),
        (
            json.dumps(job_json(job={"scene_file": "a.blend", "samples": True})).encode(),
            "samples should be a whole",
        ),
        (json.dumps(job_json(pack=[])).encode(), "pack should be a JSON object"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_edited_job_json_is_named(raw: bytes, says: str) -> None:
    with pytest.raises(SchemaError, match=says) as caught:
        parse_job(raw, where="jobs/x/job.json")
    assert "jobs/x/job.json" in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"scene_file": ""}, {"chunk_size": 0}, {"percentage": 0}, {"samples": 0}, {"device": "gpu"}, {"retries": 0},
        {"frame_seconds": 0.0}, {"cost_cap": -1.0}, {"seed": 2**31}, {"priority": 101}, {"file_format": "FFMPEG"},
    ],
)  # fmt: skip
def test_impossible_jobs_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidJobError):
        RenderJob(**{"scene_file": "a.blend", **bad})


def test_manifest_hash_ignores_order_and_sources() -> None:
    one = PackedFile("a.png", Path("/here/a.png"), 1, "11" * 32)
    two = PackedFile("b.blend", Path("/here/b.blend"), 2, "22" * 32)
    moved = PackedFile("a.png", Path("/there/a.png"), 1, "11" * 32)
    assert make_pack(one, two).manifest_sha256 == make_pack(two, moved).manifest_sha256
    assert make_pack(one).manifest_sha256 != make_pack(two).manifest_sha256


def test_what_several_files_share_is_one_asset() -> None:
    one = PackedFile("a.png", Path("/here/a.png"), 1, "11" * 32)
    copy = PackedFile("b.png", Path("/here/b.png"), 1, "11" * 32)
    other = PackedFile("c.png", Path("/here/c.png"), 2, "22" * 32)
    assets = make_pack(one, copy, other).assets()
    assert {sha: asset.size for sha, asset in assets.items()} == {one.sha256: 1, other.sha256: 2}
    assert assets[other.sha256].label == "c.png"
    assert assets[other.sha256].content() == Path("/here/c.png")


def test_record_needs_files() -> None:
    record = {
        "schema": 1, "frame": 3, "camera": None, "render_hash": "h", "seconds": 1, "host": "n", "attempt": "a",
        "blender": "4.5", "files": [{"path": "x_0003.png", "role": "main", "bytes": 9, "sha256": "aa"}],
    }  # fmt: skip
    parsed = parse_record(json.dumps(record).encode(), where="r")
    assert isinstance(parsed, FrameRecord)
    assert parsed.main.path == "x_0003.png"
    with pytest.raises(SchemaError, match="names no file"):
        parse_record(json.dumps({**record, "files": []}).encode(), where="r")


@pytest.mark.parametrize("title", ["Shot 010", "émile/../x", "-rf", "", "日本", "a" * 300, "x\n{{workflow.name}}"])
def test_job_ids_are_safe_whatever_the_title(title: str) -> None:
    job_id = new_job_id(title, today=datetime.date(2026, 11, 23))
    assert is_job_id(job_id)
    assert "20261123" in job_id


def test_scene_facts_name_what_exists() -> None:
    assert FACTS.scene(None) is SCENE
    with pytest.raises(InvalidJobError, match="no scene 'Nope'.*'Scene'"):
        FACTS.scene("Nope")

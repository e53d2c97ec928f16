"""The artist's way to the real cluster: the extension in Debian's Blender, FileBrowser, Argo, Blender pods; headless and by clicks."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cloud_farm.job import parse_record
from cloud_farm.layout import JobLayout
from cloud_farm.stores import open_store

from ..cluster.farm import Cluster
from ..contracts.argo_farm import ArgoFarm
from .conftest import PICTURES, prepared
from .test_window import sidebar
from .window import SUITES, WORK, Window

_SUITE = "trixie"  # its Blender is the one of the cluster's image
_SECONDS = 600.0


@pytest.fixture(scope="module")
def suite() -> str:
    return _SUITE


@pytest.fixture(scope="module")
def farm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> ArgoFarm:
    return ArgoFarm(cluster, tmp_path_factory.mktemp("farm"), workers=2)


@pytest.fixture(scope="module")
def blender(suite: str, farm: ArgoFarm, extension: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """A Blender with the extension, a scene, and the farm's profile as an admin hands it on: 'studio'."""
    work = tmp_path_factory.mktemp("work")
    write_profile(farm, work)
    with prepared(suite, extension, work, PICTURES / "cluster") as made:
        yield made


def write_profile(farm: ArgoFarm, work: Path) -> None:
    """Write the profile with what it refers to, as the Blender inside sees it."""
    data = json.loads(json.dumps({k: v for k, v in dataclasses.asdict(farm.profile).items() if v and k != "origins"}))
    (work / "kubeconfig").write_text(whole_kubeconfig(Path(farm.profile.kubernetes["kubeconfig"])))
    data["kubernetes"]["kubeconfig"] = f"{WORK}/kubeconfig"
    shutil.copyfile(data["filebrowser"]["password"]["file"], work / "password")
    data["filebrowser"]["password"] = {"file": f"{WORK}/password"}
    (work / "home" / "farms").mkdir(parents=True)
    (work / "home" / "farms" / "studio.yaml").write_text(yaml.safe_dump({**data, "name": "studio"}))


def whole_kubeconfig(path: Path) -> str:
    """Return a kubeconfig with the certificate in it that it names a file for."""
    config = yaml.safe_load(path.read_text())
    for item in config["clusters"]:
        authority = Path(item["cluster"].pop("certificate-authority"))
        item["cluster"]["certificate-authority-data"] = base64.b64encode(authority.read_bytes()).decode()
    return str(yaml.safe_dump(config))


def check_frames(farm: ArgoFarm, cluster: Cluster, job: str, folder: Path) -> None:
    """Every frame was rendered by a pod on the real node, and is here."""
    store, layout = open_store(farm.profile), JobLayout(job)
    for frame in range(1, 5):
        path = layout.record(1, None, frame)
        record = parse_record(store.read(path), where=str(path))
        assert (record.host, record.image) == (cluster.node, cluster.blender_image)
        assert (folder / f"shot_{frame:04d}.png").stat().st_size == record.main.bytes


@pytest.mark.cluster
def test_a_scene_is_sent_without_a_window_and_its_frames_land(
    blender: Window, farm: ArgoFarm, cluster: Cluster
) -> None:
    script = "profile/extensions/user_default/cloud_farm/submit.py"
    words = ("--farm", "studio", "--wait", "--json", "-o", f"{WORK}/headless/shot_####")
    said = blender.run(
        "blender", "-b", "shot.blend", "--online-mode", "--python", script, "--", *words, seconds=_SECONDS
    )
    events = [json.loads(line) for line in said.splitlines() if line.startswith('{"')]
    (job,) = {event["job"] for event in events if event.get("event") == "frame_done"}
    assert len([event for event in events if event["event"] == "frame_done"]) == 4
    check_frames(farm, cluster, job, blender.work / "headless")


@pytest.mark.cluster
def test_the_command_line_of_blender_itself_sends_it_too(blender: Window, farm: ArgoFarm, cluster: Cluster) -> None:
    words = ("--command", "cloud_farm", "submit", "--farm", "studio", "--frames", "1-4", "--dry-run")
    said = blender.run("blender", "shot.blend", "--online-mode", *words)
    assert "4 frames in " in said and "Nothing was sent" in said


@pytest.mark.cluster
def test_a_scene_is_sent_by_a_click_and_its_frames_come_into_the_image_editor(
    blender: Window, farm: ArgoFarm, cluster: Cluster
) -> None:
    (blender.work / "farm").write_text("studio")
    with blender.open("shot.blend", "--online-mode", "--python", "spy.py"):
        middle, top, row = sidebar(blender)
        blender.picture("1-panel")
        blender.click(middle, top + 4.2 * row)
        blender.wait_for(lambda now: now["sending"] or now["newest"], "the click was taken")
        blender.picture("2-sending")
        state = blender.wait_for(lambda now: now["newest"], "a frame came in", seconds=_SECONDS)
        blender.picture("3-rendering")
        (job,) = state["newest"]
        blender.wait_for(lambda now: now["chosen"] == job, "the new job's details are shown")
        state = blender.wait_for(lambda now: now["jobs"][0] == ["shot", "done", 4], "all are there", seconds=_SECONDS)
        assert state["problem"] == "" and state["images"]["shot (Cloud Farm)"][0] == "SEQUENCE"
        blender.picture("4-done")
    check_frames(farm, cluster, job, blender.work / "frames")
    assert SUITES[_SUITE] == "4.3", "the cluster's image has this one"

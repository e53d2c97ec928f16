"""The whole way on the real thing: packed here, through FileBrowser, Workflows, Blender pods, records, frames back here.

On the way the client is killed right after its submission, a pod is deleted and Argo's controller is killed.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_farm.job import parse_record
from cloud_farm.layout import JobLayout
from cloud_farm.stores import open_store

from ..contracts.argo_farm import ArgoFarm
from ..golden.test_pixels import assert_equal_files
from .api import wait_until
from .farm import Cluster
from .places import GID
from .scene import STEADY, inside, make_scene, run_blender, scratch_folder

FRAMES = range(1, 9)


@pytest.fixture(scope="module")
def scene(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scene(cluster, tmp_path_factory.mktemp("scene"), also=STEADY)


@pytest.fixture(scope="module")
def reference(cluster: Cluster, scene: Path) -> Path:
    """The same frames by the same Blender from the original file, by a script that has nothing of ours."""
    folder = scratch_folder(cluster)
    for file in (*scene.parent.iterdir(), Path(__file__).parents[1] / "golden" / "reference_render.py"):
        shutil.copyfile(file, folder / file.name)
    at = inside(folder)
    run_blender(
        cluster, "--python", f"{at}/reference_render.py", "--", f"{at}/{scene.name}", f"{at}/f_####", *map(str, FRAMES)
    )
    return folder


@pytest.fixture
def farm(cluster: Cluster, tmp_path: Path) -> ArgoFarm:
    """A farm of its own, and its profile as a studio would write it down: studio.yaml."""
    made = ArgoFarm(cluster, tmp_path, workers=2)
    data = {key: value for key, value in dataclasses.asdict(made.profile).items() if value and key != "origins"}
    (tmp_path / "studio.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(data))))
    return made


def cloud_farm(folder: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cloud_farm", *words, "--farm", "studio.yaml", "--json"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.blender
def test_frames_come_back_whole_whatever_dies_on_the_way(
    cluster: Cluster, farm: ArgoFarm, scene: Path, reference: Path, tmp_path: Path
) -> None:
    job_id = submit_and_die(tmp_path, scene)
    store, layout = open_store(farm.profile), JobLayout(job_id)

    def records() -> list[str]:
        return [entry.name for entry in store.list(layout.records(1) / "0") if entry.name.endswith(".json")]

    wait_until(lambda: len(records()) >= 1, "the first frame is there", patience=300)
    victim = delete_a_pod(cluster, job_id)
    cluster.restart("workflow-controller")
    follower = cloud_farm(tmp_path, "follow", job_id)
    out, err = follower.communicate(timeout=900)
    assert follower.returncode == 0, out + err
    assert len([line for line in out.splitlines() if json.loads(line)["event"] == "frame_done"]) == len(FRAMES)
    for frame in FRAMES:
        path = layout.record(1, None, frame)
        record = parse_record(store.read(path), where=str(path))
        assert (record.host, record.device, record.image) == (cluster.node, "CPU", cluster.blender_image)
        file = farm.root / layout.frames(1, frame) / record.main.path
        assert (file.stat().st_uid, file.stat().st_gid) == (farm.profile.kubernetes["user"], GID)
        assert_equal_files(tmp_path / "out" / f"f_{frame:04d}.png", reference / f"f_{frame:04d}.png")
    assert len(list((tmp_path / "out").iterdir())) == len(FRAMES)
    begun = [entry.name for entry in store.list(layout.attempts) if entry.name.startswith(f"{victim}.")]
    assert len([name for name in begun if name.endswith(".start.json")]) == 2, "the deleted pod's chunk was begun again"


def submit_and_die(folder: Path, scene: Path) -> str:
    """Submit the scene and kill the client at once; returns the job."""
    words = ("render", str(scene), "-f", "1-8", "--chunk-size", "4", "-o", "out/f_####")
    with cloud_farm(folder, *words) as client:
        assert client.stdout is not None
        for line in client.stdout:
            event = json.loads(line)
            if event["event"] == "submitted":
                client.kill()
                return str(event["job"])
        assert client.stderr is not None
        raise AssertionError(client.stderr.read())


def delete_a_pod(cluster: Cluster, job_id: str) -> str:
    """Delete a pod that renders; returns its chunk."""

    def rendering() -> list[Any]:
        pods = cluster.api.find("Pod", labels=f"cloud-farm/job={job_id}")
        return [
            pod
            for pod in pods
            if pod["status"].get("phase") == "Running" and pod["metadata"]["labels"]["cloud-farm/task"] != "prepare"
        ]

    wait_until(lambda: bool(rendering()), "a pod renders", patience=120)
    pod = rendering()[0]
    cluster.api.delete("Pod", pod["metadata"]["name"], gracePeriodSeconds="0")
    return str(pod["metadata"]["labels"]["cloud-farm/task"])

"""A pod that was thought dead, frozen with its node, and comes back when others have rendered its frames."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path
from typing import Any

from ..contracts.contract_job import ContractJob, wait_for
from .farmer import Farmer, ended


def test_an_old_pod_that_comes_back_harms_nothing(farmer: Farmer) -> None:
    job = farmer.job("1-4", chunk_size=4, seconds=4.0).submit()
    old = twin(farmer, farmer.wait_for_pod(job))
    try:
        wait_for(lambda: begun_by(job, old["metadata"]["uid"]), 60, what="a frame that the old pod renders")
        send(old["metadata"]["uid"], signal.SIGSTOP)
        ended(job, 4)
        before = {frame: (record, stat(farmer, job, frame)) for frame, record in job.records().items()}
        send(old["metadata"]["uid"], signal.SIGCONT)
        assert end_of(farmer, old) == 0
    finally:
        send(old["metadata"]["uid"], signal.SIGCONT)
        farmer.cluster.api.delete("Pod", old["metadata"]["name"], gracePeriodSeconds="0")
    assert len(job.attempts()) == 2
    assert {frame: (record, stat(farmer, job, frame)) for frame, record in job.records().items()} == before
    job.check_files()
    folder = farmer.farm.root / job.layout.frames(1, 1)
    assert len(list(folder.iterdir())) == 4, "parts were left behind"


def twin(farmer: Farmer, pod: Any) -> Any:
    """Start the pod's Blender once more, in a pod that Argo knows nothing of: to the volume it is one of the same chunk."""
    [main] = [dict(one) for one in pod["spec"]["containers"] if one["name"] == "main"]
    words = main["command"][main["command"].index("--") + 1 :]  # behind Argo's own
    mounts = [mount for mount in main["volumeMounts"] if mount["name"] in ("farm", "scratch", "shm")]
    spec = {
        "containers": [{**main, "command": words, "volumeMounts": mounts, "resources": {}}],
        "volumes": [volume for volume in pod["spec"]["volumes"] if volume["name"] in ("farm", "scratch", "shm")],
        "securityContext": pod["spec"]["securityContext"], "restartPolicy": "Never", "automountServiceAccountToken": False,
    }  # fmt: skip
    name = f"old-{secrets.token_hex(4)}"
    api = farmer.cluster.api
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    wait_for(lambda: api.get("Pod", name)["status"].get("phase") == "Running", 60, what="the old pod")
    return api.get("Pod", name)


def processes(pod_uid: str) -> list[int]:
    """The processes of a pod, by their control group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            group = (folder / "cgroup").read_text()
        except OSError:
            continue
        if pod_uid in group.replace("_", "-"):
            found.append(int(folder.name))
    return found


def send(pod_uid: str, sign: signal.Signals) -> None:
    for pid in processes(pod_uid):
        os.kill(pid, sign)


def begun_by(job: ContractJob, pod_uid: str) -> bool:
    """Whether the pod's Blender renders: it has a frame's marker."""
    words = [Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") for pid in processes(pod_uid)]
    attempts = [line[line.index("--attempt") + 1] for line in words if "--attempt" in line]
    markers = [entry.name for entry in job.store.list(job.layout.folder / "markers")]
    return any(name.endswith(attempt) for name in markers for attempt in attempts)


def stat(farmer: Farmer, job: ContractJob, frame: int) -> tuple[int, int, int]:
    """What changes when a file is written again or replaced."""
    found = (farmer.farm.root / job.layout.frames(1, frame) / job.records()[frame].main.path).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def end_of(farmer: Farmer, pod: Any) -> int:
    """Wait for the end of a pod; returns its exit code."""
    codes: list[int] = []

    def is_over() -> bool:
        for one in farmer.cluster.api.get("Pod", pod["metadata"]["name"])["status"]["containerStatuses"]:
            if over := one["state"].get("terminated"):
                codes.append(int(over["exitCode"]))
        return bool(codes)

    wait_for(is_over, 120, what="the end of the old pod")
    return codes[0]

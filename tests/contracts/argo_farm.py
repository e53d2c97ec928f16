"""A farm on the tests' cluster with a folder of its own on the cluster's volume, and a stub Blender there."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from cloud_farm.profile import FarmProfile, Gpu, Limits, Volume

from ..cluster.farm import Cluster
from ..cluster.places import FILEBROWSER_UID, GID
from ..cluster.scene import make_scene

MOUNT = "/mnt/farm"
RENDERER = FILEBROWSER_UID + 1
_STUB = Path(__file__).with_name("stub_blender.py")
_LAUNCHER = """#!/usr/bin/python3
import json, runpy, sys
if "--python-expr" in sys.argv:  # the supervisor's loader
    exec(compile(sys.argv[sys.argv.index("--python-expr") + 1], "loader", "exec"), {"__name__": "__main__"})
else:
    folder = sys.argv[0].rpartition("/")[0]
    with open(f"{folder}/{sys.argv[sys.argv.index('--job') + 1]}.json") as stream:
        sys.argv[1:1] = ["--stub", stream.read()]
    runpy.run_path(f"{folder}/stub_blender.py", run_name="__main__")
"""


class ArgoFarm:
    """A farm of the cluster; of its own is only the folder on the volume.

    Attributes:
        profile: What a studio would write down; Blender 4.5 is the stub, 4.3 is real.
        root: Its folder, as this machine sees it.
    """

    def __init__(self, cluster: Cluster, folder: Path, *, workers: int) -> None:
        self._cluster = cluster
        name = f"contract-{secrets.token_hex(4)}"
        self.root = cluster.volume / name
        for path in (self.root, self.root / "stub"):
            path.mkdir()
            path.chmod(0o2775)
        (self.root / "stub" / "blender").write_text(_LAUNCHER)
        (self.root / "stub" / "blender").chmod(0o755)
        shutil.copyfile(_STUB, self.root / "stub" / _STUB.name)
        password = folder / "password"
        password.write_text(cluster.filebrowser_login.password)
        self.profile = FarmProfile(
            "argo",
            engine="argo",
            store="filebrowser",
            filebrowser={
                "url": cluster.filebrowser_url, "user": cluster.filebrowser_login.user, "password": {"file": str(password)},
            },
            volume=Volume(claim="shared-data-pvc", mount_path=MOUNT, sub_path=name, store_prefix=name, gid=GID),
            gpu=Gpu(device="cpu"),
            limits=Limits(parallelism=workers),
            images={
                "4.5": {"image": cluster.blender_image, "version": "4.5.15", "blender": f"{MOUNT}/stub/blender"},
                "4.3": {"image": cluster.blender_image, "version": "4.3.2"},
            },
            argo_version=cluster.flavour.version,
            kubernetes={
                "kubeconfig": str(cluster.kubeconfig("artist")), "namespace": cluster.namespace, "service_account": "executor",
                "image_pull_policy": "Never", "user": RENDERER, "matching_nodes": 1, "backoff_s": 2,
                # Two fit on the node with its two cores, three don't; the preparation of another job does.
                "cpu": "800m", "memory": "1Gi", "prepare": {"cpu": "100m", "memory": "512Mi"},
            },
        )  # fmt: skip

    def blender(self, behaviour: dict[str, Any], job_id: str) -> tuple[str, ...]:
        """Tell the stub how to behave for a job; pods start it by its path, which the profile has."""
        (self.root / "stub" / f"{job_id}.json").write_text(json.dumps(behaviour))
        return ("blender",)

    def processes(self, job_id: str) -> list[str]:
        """List the job's pods that are not over."""
        pods = self._cluster.api.find("Pod", labels=f"cloud-farm/job={job_id}")
        return [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]

    def scene(self, folder: Path) -> Path:
        """Make the example scene by the cluster's Blender."""
        return make_scene(self._cluster, folder)

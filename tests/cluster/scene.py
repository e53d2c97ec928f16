"""The example scene, saved by the cluster's own Blender: a file of another version would not be opened there."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from cloud_farm.blender import SCRIPTS

from .farm import Cluster
from .places import FILEBROWSER_UID, GID


def make_scene(cluster: Cluster, target: Path) -> Path:
    """Have the cluster's Blender save the demo scene, and bring it here with its texture."""
    folder = cluster.volume / f"scene-{secrets.token_hex(4)}"
    folder.mkdir()
    folder.chmod(0o2775)
    shutil.copyfile(SCRIPTS / "demo_scene.py", folder / "demo_scene.py")
    inside = f"/data/{folder.name}"
    container = {
        "image": cluster.blender_image, "imagePullPolicy": "Never", "command": ["blender"],
        "args": ["-b", "--factory-startup", "--python", f"{inside}/demo_scene.py", "--", "--output", f"{inside}/demo.blend"],
        "env": [{"name": "HOME", "value": "/tmp"}], "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }  # fmt: skip
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": folder.name},
        "spec": {
            "entrypoint": "main",
            "serviceAccountName": "executor",
            "templates": [{"name": "main", "container": container}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "shared-data-pvc"}}],
            "securityContext": {"runAsUser": FILEBROWSER_UID + 1, "runAsGroup": GID},
        },
    }
    cluster.api.create(body)
    assert cluster.wait_for_workflow(folder.name, patience=300)["status"]["phase"] == "Succeeded"
    for made in (*folder.glob("*.blend"), *folder.glob("*.png")):
        shutil.copyfile(made, target / made.name)
    return target / "demo.blend"

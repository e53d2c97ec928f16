"""The cluster's own Blender, by hand: it saves the example scene (another version would not open the file) and references."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from cloud_farm.blender import SCRIPTS

from .farm import Cluster
from .places import FILEBROWSER_UID, GID

STEADY = """
import bpy, sys
scene = bpy.context.scene
scene.cycles.use_denoising = False
scene.cycles.samples = 8
scene.render.resolution_percentage = 40
scene.render.threads_mode, scene.render.threads = "FIXED", 1
bpy.ops.wm.save_mainfile()
"""
"""With one thread and without the denoiser two renders are equal to the last bit."""


def make_scene(cluster: Cluster, target: Path, *, also: str = "") -> Path:
    """Have the cluster's Blender save the example scene, and bring it here with its texture.

    Args:
        also: What Blender does with the saved scene, to save it once more.
    """
    folder = scratch_folder(cluster)
    shutil.copyfile(SCRIPTS / "demo_scene.py", folder / "demo_scene.py")
    (folder / "also.py").write_text(also)
    scripts = [word for name in ("demo_scene.py", "also.py") for word in ("--python", f"{inside(folder)}/{name}")]
    run_blender(cluster, *scripts, "--", "--output", f"{inside(folder)}/demo.blend")
    for made in (*folder.glob("*.blend"), *folder.glob("*.png")):
        shutil.copyfile(made, target / made.name)
    return target / "demo.blend"


def scratch_folder(cluster: Cluster) -> Path:
    """Make a folder on the volume that pods may write; returns it as this machine sees it."""
    folder = cluster.volume / f"scratch-{secrets.token_hex(4)}"
    folder.mkdir()
    folder.chmod(0o2775)
    return folder


def inside(folder: Path) -> str:
    """Where `run_blender` sees such a folder."""
    return f"/data/{folder.name}"


def run_blender(cluster: Cluster, *arguments: str) -> None:
    """Run the cluster's Blender in a pod of its own, without anything of ours, and wait for its end."""
    name = f"blender-{secrets.token_hex(4)}"
    container = {
        "image": cluster.blender_image, "imagePullPolicy": "Never", "command": ["blender"],
        "args": ["-b", "--factory-startup", "--python-exit-code", "1", *arguments],
        "env": [{"name": "HOME", "value": "/tmp"}], "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }  # fmt: skip
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {
            "entrypoint": "main",
            "serviceAccountName": "executor",
            "templates": [{"name": "main", "container": container}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "shared-data-pvc"}}],
            "securityContext": {"runAsUser": FILEBROWSER_UID + 1, "runAsGroup": GID},
        },
    }
    cluster.api.create(body)
    status = cluster.wait_for_workflow(name, patience=300)["status"]
    assert status["phase"] == "Succeeded", cluster.log(name)

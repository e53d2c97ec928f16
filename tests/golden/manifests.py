"""The Workflows of a small job on every kind of farm, as files that people can read and a cluster can judge.

`python -m tests.golden.manifests` writes them anew; look at what changed before you commit it.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from cloud_farm.engines.argo_manifest import workflow_template, workflows
from cloud_farm.job import RenderJob

from ..backend.argo_farm import SCRIPTS, farm, planned
from ..backend.test_argo_manifest import FARMS

FOLDER = Path(__file__).parent / "manifests"
TEMPLATE = "a template of the administrator's"
NAMES = (*FARMS, TEMPLATE)


def path_of(name: str) -> Path:
    """Where the manifests of a farm are kept."""
    return FOLDER / f"{name.replace(' ', '_').replace(chr(39), '')}.yaml"


def manifests_of(name: str) -> str:
    """Return a farm's manifests; hashes that change with our scripts are left out."""
    profile = farm(**FARMS.get(name, {"kubernetes": {"workflow_template": "cloud-farm"}}))
    job = planned(RenderJob("shot.blend", frames="1-10", chunk_size=4), profile)
    found = [*workflows(job, profile, owner="Ada Lovelace")]
    if name == TEMPLATE:
        found.insert(0, workflow_template(profile, "4.5"))
    text = yaml.safe_dump_all([dict(body) for body in found], sort_keys=False, width=120)
    for what, digest in {**SCRIPTS, "plan.json": job.sha256}.items():
        text = text.replace(digest, f"sha256-of-{what}")
    return text


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        path_of(name).write_text(manifests_of(name), encoding="utf-8")


if __name__ == "__main__":
    main()

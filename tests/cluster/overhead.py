"""What a pod costs: chunks of one small frame as pods of their own, against the same commands one after another in one container.

    python -m tests.cluster.overhead [CHUNKS]

A real Blender renders the example scene at a twelfth of its size on the real node, one chunk at a time. The difference is what
a larger chunk saves; what a plan chooses by itself is printed beside it.
"""

from __future__ import annotations

import json
import secrets
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cloud_farm.engines.argo import ArgoEngine
from cloud_farm.job import RenderJob
from cloud_farm.layout import JobLayout
from cloud_farm.plan import RenderPlan
from cloud_farm.sending import send
from cloud_farm.stores import Store, open_store
from cloud_farm.submission import prepared

from ..backend.argo_farm import farm, planned, template
from ..contracts.argo_farm import ArgoFarm
from ..contracts.contract_job import wait_for
from .farm import Cluster
from .scene import make_scene
from .session import available

_SIZES = (1, 4, 10, 25, 50)
_FRAME_SECONDS = (2, 10, 60)
_LOOP = """
import json, subprocess, sys, time
for command in json.load(open(sys.argv[1])):
    began = time.monotonic()
    code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    print(json.dumps([code, time.monotonic() - began]), flush=True)
"""


@dataclass(frozen=True)
class Report:
    """Seconds a chunk of one frame, medians but for `pitch`.

    Attributes:
        pitch: From one chunk's beginning to the next one's, on average, as pods one after another.
        pod: From the making of the pod until Argo knows its end.
        before: Of that, until the supervisor runs: scheduling, sandbox, volume.
        attempt: The supervisor's own time: Blender's start, loading, the frame.
        frame: What Blender took for the frame.
        bare: The same command in a container that runs already.
    """

    pitch: float
    pod: float
    before: float
    attempt: float
    frame: float
    bare: float

    @property
    def cost(self) -> float:
        """What a chunk costs besides its frames: the pod, and Blender's start."""
        return self.pitch - self.frame

    def lines(self) -> Iterator[str]:
        """Write it down for people."""
        yield f"a chunk in a pod of its own  {self.pitch:6.2f} s ({self.pitch / self.bare:.1f} times the command bare)"
        yield f"  the pod itself             {self.pod:6.2f} s, of which {self.before:.2f} s until the supervisor runs"
        yield f"  the supervisor             {self.attempt:6.2f} s, of which {self.frame:.2f} s the frame"
        yield f"the same command bare        {self.bare:6.2f} s"
        yield "what a chunk costs besides its frames, in per cent of all its time:"
        yield "  frames a chunk" + "".join(f"{size:8d}" for size in _SIZES)
        for seconds in _FRAME_SECONDS:
            shares = (100 * self.cost / (self.cost + size * seconds) for size in _SIZES)
            yield f"  {seconds:3d} s a frame  " + "".join(f"{share:7.1f}%" for share in shares)
        yield f"a plan chooses by itself: {_chosen()}"


def _chosen() -> str:
    found = []
    for frames, places in ((250, 10), (1000, 40), (100, 40)):
        plan = planned(RenderJob("shot.blend", frames=f"1-{frames}"), farm(limits__parallelism=places))
        found.append(f"{len(plan.chunks[0].frames)} of {frames} frames on {places} places")
    return ", ".join(found)


def run(cluster: Cluster, folder: Path, chunks: int) -> Report:
    """Render the frames twice, as pods and bare, and compare."""
    here = ArgoFarm(cluster, folder, workers=1)
    job = RenderJob(str(make_scene(cluster, folder)), frames=f"1-{chunks}", chunk_size=1, percentage=8, samples=1)
    with prepared(job, here.profile, scene_file=Path(job.scene_file)) as ready:
        store, engine = open_store(here.profile), ArgoEngine(here.profile)
        send(ready, store)
        bare = _run_bare(cluster, engine, ready.plan)
        store.trash(JobLayout(ready.plan.job_id).folder, job_id=ready.plan.job_id)
        send(ready, store)
        engine.submit(ready.plan)
        wait_for(lambda: not engine.status(ready.plan.job_id).running, 60 + 60 * chunks, what="the end")
        [workflow] = cluster.api.find("Workflow", labels=f"cloud-farm/job={ready.plan.job_id}")
        engine.forget(ready.plan.job_id)
        return _measured(workflow, store, ready.plan, bare)


def _measured(workflow: Any, store: Store, plan: RenderPlan, bare: list[float]) -> Report:
    layout = JobLayout(plan.job_id)
    pods = sorted(
        (_at(node["startedAt"]), _at(node["finishedAt"]))
        for node in workflow["status"]["nodes"].values()
        if node["type"] == "Pod" and node["templateName"] == "render"
    )
    ends = [
        json.loads(store.read(layout.attempts / entry.name))
        for entry in store.list(layout.attempts)
        if entry.name.endswith(".end.json") and not entry.name.startswith("prepare")
    ]
    begun = sorted(_at(end["started"]) for end in ends)
    records = [store.read(layout.record(plan.revision, None, frame)) for chunk in plan.chunks for frame in chunk.frames]
    return Report(
        pitch=(pods[-1][1] - pods[0][0]) / len(pods),
        pod=statistics.median(end - start for start, end in pods),
        before=statistics.median(at - start for at, (start, _) in zip(begun, pods, strict=True)),
        attempt=statistics.median(_at(end["ended"]) - _at(end["started"]) for end in ends),
        frame=statistics.median(json.loads(record)["seconds"] for record in records),
        bare=statistics.median(bare),
    )


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _run_bare(cluster: Cluster, engine: ArgoEngine, plan: RenderPlan) -> list[float]:
    """Run the plan's commands one after another in one container with a pod's volumes; returns seconds of each chunk."""
    [workflow] = engine.manifests(plan)
    container = dict(template(workflow, "prepare")["container"])  # it may write all of the volume
    commands = json.dumps([list(task.command) for task in plan.tasks])
    loop = f"import pathlib; pathlib.Path('commands.json').write_text({commands!r}); import sys; sys.argv[1:] = ['commands.json']\n{_LOOP}"
    spec = {
        "containers": [{**container, "name": "main", "command": ["python3", "-c", loop], "args": [], "resources": {}}],
        "volumes": workflow["spec"]["volumes"], "securityContext": workflow["spec"]["securityContext"],
        "restartPolicy": "Never", "automountServiceAccountToken": False,
    }  # fmt: skip
    name = f"bare-{secrets.token_hex(4)}"
    cluster.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    wait_for(
        lambda: cluster.api.get("Pod", name)["status"].get("phase") in ("Succeeded", "Failed"), 900, what="the end"
    )
    lines = [json.loads(line) for line in cluster.log(name).splitlines()]
    cluster.api.delete("Pod", name)
    assert {code for code, _ in lines} == {0}, lines
    return [seconds for _, seconds in lines[1:]]


def main() -> None:
    """Run it on the cluster that is up, or on one of its own."""
    chunks = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    with available(60.0) as cluster, tempfile.TemporaryDirectory() as folder:
        report = run(cluster, Path(folder), chunks)
    sys.stdout.write("\n".join(report.lines()) + "\n")


if __name__ == "__main__":
    main()

"""A job of thousands of chunks on pretended nodes, with the real scheduler and controller, followed across restarts.

The pods render nothing, so somebody independent writes a record for each that ended well, straight onto the volume; of every
hundred frames he forgets one and writes one twice. The follower must name exactly those that are missing.

    python -m tests.cluster.scale 10000 [--slow-argo]    the figures, against a full list of the job's Workflows and a plain create

With --slow-argo the controller asks no more than 20 times a second, which is its own default.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml
from cloud_farm.control import publish_plan
from cloud_farm.engines.argo import ArgoEngine
from cloud_farm.job import RenderJob, parse_job
from cloud_farm.layout import JobLayout
from cloud_farm.plan import RenderPlan
from cloud_farm.profile import FarmProfile
from cloud_farm.status import JobStatus, StatusReader
from cloud_farm.stores import open_store

from ..backend.argo_farm import planned
from ..backend.test_job import job_json
from ..contracts.argo_farm import ArgoFarm
from ..contracts.contract_job import wait_for
from .argo import ControllerSettings
from .binaries import KUBE
from .farm import Cluster
from .kwok import TAINT, FakeNodes
from .session import available

NODES, PODS = 20, 200
MODEL = "RTX_4000"
_LOOK_SECONDS = 2.0
_END_SECONDS = 5400.0


@dataclass
class Report:
    """What a run showed; times in seconds.

    Attributes:
        accept: From the plan until the cluster has every Workflow.
        plain_accept: The same Workflows by kubectl create.
        looks: Refreshes of the follower.
        look_bytes: What each took from the API server.
        list_bytes: A full list of the job's Workflows near the end.
        largest: The job's largest Workflow after the end, its status included, as the API server gives it.
        load: Loading Kubernetes' library.
        memory: Most resident bytes of a component.
        missing: Frames that the follower misses.
        forgotten: Frames that nobody wrote.
    """

    chunks: int
    accept: float = 0.0
    plain_accept: float = 0.0
    load: float = 0.0
    total: float = 0.0
    looks: int = 0
    look_bytes: list[int] = field(default_factory=list)
    look_seconds: list[float] = field(default_factory=list)
    list_bytes: int = 0
    largest: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    forgotten: set[int] = field(default_factory=set)
    status: JobStatus | None = None

    def lines(self) -> Iterator[str]:
        """Write it down for people."""
        mean, most = sum(self.look_bytes) / len(self.look_bytes), max(self.look_bytes)
        yield f"{self.chunks} chunks, {NODES} pretended nodes, {PODS} pods at a time"
        yield f"accepted in {self.accept:.1f} s; by kubectl create {self.plain_accept:.1f} s ({self.accept / self.plain_accept:.2f})"
        yield f"  and {self.load:.1f} s, once, of loading Kubernetes' library"
        yield f"done in {self.total:.0f} s ({self.chunks / self.total:.1f} chunks/s)"
        yield f"{self.looks} looks: {mean / 1e3:.0f} kB of the API server each, {most / 1e3:.0f} kB at most; a full list has"
        yield f"  {self.list_bytes / 1e3:.0f} kB ({self.list_bytes / mean:.0f} times a look); {_median(self.look_seconds):.2f} s a look"
        yield f"the largest Workflow after the end: {self.largest / 1e3:.0f} kB, status included"
        for name, size in sorted(self.memory.items()):
            yield f"{name}: {size / 1e6:.0f} MB at most"
        yield f"missing frames named: {len(self.missing)} of {len(self.forgotten)} forgotten, the same ones: {self.missing == self.forgotten}"


class RecordWriter:
    """Writes a record for every pod of a job that ends well, as its renderer would; forgets and doubles some."""

    def __init__(self, cluster: Cluster, farm: ArgoFarm, plan: RenderPlan) -> None:
        self._cluster = cluster
        self._job = plan.job_id
        self._layout = JobLayout(plan.job_id)
        self._root = farm.root
        self._frames = {chunk.id: chunk.frames.frames[0] for chunk in plan.chunks}
        self._hash = plan.render_hash
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="record writer", daemon=True)
        self.seen: set[str] = set()
        self.forgotten: set[int] = set()

    def start(self) -> RecordWriter:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._watch()
            except (requests.RequestException, ValueError) as error:
                logging.getLogger(__name__).info("watching again: %s", error)
                time.sleep(0.5)

    def _watch(self) -> None:
        """Look at the job's pods, from their list on."""
        api = self._cluster.api
        params = {"labelSelector": f"cloud-farm/job={self._job}"}
        listed = api.request("GET", api.path("Pod"), params=params)
        for pod in listed["items"]:
            self._take(pod)
        params |= {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"], "timeoutSeconds": "60"}
        with api.stream(api.path("Pod"), params) as lines:
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                self._take(event["object"])
                if self._over.is_set():
                    return

    def _take(self, pod: Any) -> None:
        task = pod["metadata"]["labels"]["cloud-farm/task"]
        if pod["status"].get("phase") != "Succeeded" or task in self.seen or task not in self._frames:
            return
        self.seen.add(task)
        frame = self._frames[task]
        if frame % 100 == 0:
            self.forgotten.add(frame)
            return
        for _ in range(2 if frame % 100 == 50 else 1):
            self._write(frame, task)

    def _write(self, frame: int, task: str) -> None:
        path = self._root / self._layout.record(1, None, frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "schema": 1, "frame": frame, "camera": None, "seconds": 1.0, "host": "kwok", "attempt": f"{task}.0000000a",
            "blender": "4.5.15", "render_hash": self._hash,
            "files": [{"path": f"shot_{frame:04d}.png", "role": "main", "bytes": 8, "sha256": "0" * 64}],
        }  # fmt: skip
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(record))
        part.rename(path)


def scale_profile(farm: ArgoFarm) -> FarmProfile:
    """The farm on pretended nodes."""
    fake = {"tolerations": [{"key": TAINT, "operator": "Exists"}], "node_labels": {"gpu.nvidia.com/model": [MODEL]}}
    return farm.profile.with_values(
        {
            "limits.parallelism": PODS,
            "gpu.models": [MODEL],
            "gpu.model_label": "gpu.nvidia.com/model",
            "gpu.tolerations": fake["tolerations"],
            "kubernetes.prepare": {"cpu": "100m", "memory": "512Mi", **fake},
            "kubernetes.annotations": {"rig/seconds": "1s", "rig/jitter": "3s"},
        },
        origin="test",
    )


def run(cluster: Cluster, folder: Path, chunks: int) -> Report:
    """Submit, follow and restart; returns what was seen."""
    report = Report(chunks)
    farm = ArgoFarm(cluster, folder, workers=PODS)
    profile = scale_profile(farm)
    plan = planned(RenderJob("shot.blend", frames=f"1-{chunks}", chunk_size=1), profile, job_id=new_id())
    cluster.add_nodes(FakeNodes(NODES, model=MODEL))
    store, layout = open_store(profile), JobLayout(plan.job_id)
    store.put(json.dumps(job_json(id=plan.job_id)).encode(), layout.job_json)
    publish_plan(plan, store)
    report.plain_accept = _plain_accept(cluster, plan, profile, folder)
    writer = RecordWriter(cluster, farm, plan).start()
    engine = ArgoEngine(profile)
    began = time.monotonic()
    assert engine.cluster.server  # Kubernetes' library is loaded once in a program's life
    report.load = time.monotonic() - began
    began = time.monotonic()
    engine.submit(plan)
    report.accept = time.monotonic() - began
    try:
        with watched_memory(cluster, report):
            report.status = _follow(cluster, profile, plan, report)
        report.total = time.monotonic() - began
        report.largest = max(_workflow_sizes(cluster, plan.job_id))
        wait_for(lambda: len(writer.seen) == chunks, 60, what="every pod is seen")
    finally:
        writer.stop()
        engine.cancel(plan.job_id)
        engine.forget(plan.job_id)
        cluster.remove_nodes()
    report.forgotten = writer.forgotten
    report.missing = {state.frame for state in report.status.frame_states if state.state != "done"}
    return report


def new_id() -> str:
    return f"scale-20261125-{secrets.token_hex(3)}"


def _follow(cluster: Cluster, profile: FarmProfile, plan: RenderPlan, report: Report) -> JobStatus:
    """Follow to the end; half-way the controller is killed, and the follower begins anew."""
    reader = _reader(profile, plan, report)
    restarted = False
    deadline = time.monotonic() + _END_SECONDS
    while True:
        began = time.monotonic()
        report.look_bytes.append(0)
        status = reader.read()
        report.looks += 1
        report.look_seconds.append(time.monotonic() - began)
        if status.is_final:
            return status
        if not restarted and status.frames_done > report.chunks * 0.4:
            restarted = True
            cluster.restart("workflow-controller")
            reader = _reader(profile, plan, report)
        if not report.list_bytes and status.frames_done > report.chunks * 0.9:
            report.list_bytes = len(json.dumps(cluster.api.find("Workflow", labels=f"cloud-farm/job={plan.job_id}")))
        assert time.monotonic() < deadline, status
        time.sleep(_LOOK_SECONDS)


def _workflow_sizes(cluster: Cluster, job_id: str) -> Iterator[int]:
    """Yield the bytes of each Workflow of a job, as the API server writes it: etcd refuses what is too large."""
    for found in cluster.api.find("Workflow", labels=f"cloud-farm/job={job_id}"):
        with cluster.api.stream(cluster.api.path("Workflow", found["metadata"]["name"]), {}) as lines:
            yield sum(map(len, lines))


def _reader(profile: FarmProfile, plan: RenderPlan, report: Report) -> StatusReader:
    """A new follower, whose bytes from the API server are counted."""
    store, engine = open_store(profile), ArgoEngine(profile)
    send = engine.cluster._send

    def count(data: bytes) -> bytes:
        report.look_bytes[-1] += len(data)
        return data

    def counted(*arguments: Any, **options: Any) -> Any:
        answer = send(*arguments, **options)
        if options:  # a watch, whose answer comes bit by bit
            stream = answer.stream
            answer.stream = lambda *how, **more: map(count, stream(*how, **more))  # type: ignore[method-assign]
        else:
            count(answer.data)
        return answer

    engine.cluster._send = counted  # type: ignore[method-assign]
    document = parse_job(store.read(JobLayout(plan.job_id).job_json), where="job.json")
    return StatusReader(store, engine, document, landing=Path(tempfile.gettempdir()))


def _plain_accept(cluster: Cluster, plan: RenderPlan, profile: FarmProfile, folder: Path) -> float:
    """Have kubectl create the same Workflows, suspended and under other names; they are deleted again."""
    bodies = [dict(item) for item in ArgoEngine(profile).manifests(plan)]
    for number, body in enumerate(bodies):
        body["metadata"] = {**body["metadata"], "name": f"plain-{number}-{new_id()}", "labels": {"app": "plain"}}
        body["spec"] = {**body["spec"], "suspend": True}
    path = folder / "plain.yaml"
    path.write_text(yaml.safe_dump_all(bodies, sort_keys=False))
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig("admin"))}
    command = [str(KUBE.folder / "kubectl"), "--namespace", cluster.namespace, "create", "-f", str(path)]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    taken = time.monotonic() - began
    cluster.api.delete_all("Workflow", labels="app=plain")
    return taken


@contextmanager
def watched_memory(cluster: Cluster, report: Report) -> Iterator[None]:
    """Watch how much memory components take."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(2.0):
            for name in ("apiserver", "workflow-controller", "etcd"):
                pid = cluster.services.pid(name)
                if pid is not None:
                    report.memory[name] = max(report.memory.get(name, 0), _resident(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> None:
    """Run it on the cluster that is up, or on one of its own."""
    numbers = [word for word in sys.argv[1:] if word.isdigit()]
    slow = "--slow-argo" in sys.argv[1:]
    with available(60.0) as cluster, tempfile.TemporaryDirectory() as folder:
        if slow:
            cluster.use_argo(cluster.flavour, ControllerSettings(queries=None))
        try:
            report = run(cluster, Path(folder), int(numbers[0]) if numbers else 10_000)
        finally:
            if slow:
                cluster.use_argo(cluster.flavour)
    sys.stdout.write("\n".join(report.lines()) + "\n")


if __name__ == "__main__":
    main()

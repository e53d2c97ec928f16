"""Jobs for the fault tests: on a farm of their own, watched closely, cleared away afterwards."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from cloud_farm.engines import EngineStatus

from ..contracts.argo_farm import ArgoFarm
from ..contracts.contract_job import ContractJob, wait_for
from ..contracts.subjects import EngineSubject
from .farm import Cluster
from .places import NODE


class Farmer:
    """Makes jobs on a farm of its own; none outlives its test."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.farm = ArgoFarm(cluster, folder, workers=2)
        self._folder = folder
        self._jobs: list[ContractJob] = []

    def job(self, frames: str = "1-4", *, profile: dict[str, Any] | None = None, **more: Any) -> ContractJob:
        """Make a job that is not sent yet; dotted keys of `profile` are other values for this job."""
        farm = self.farm
        found = farm.profile.with_values(profile or {}, origin="test")
        subject = EngineSubject(found, found, (), farm.blender, farm.processes, farm.scene, NODE, patience=4.0)
        job = ContractJob(subject, self._folder, frames, **more)
        self._jobs.append(job)
        return job

    def running_pods(self, job: ContractJob) -> list[Any]:
        """The pods of chunks whose containers run."""
        pods = self.cluster.api.find("Pod", labels=f"cloud-farm/job={job.id}", fields="status.phase=Running")
        return [
            pod
            for pod in pods
            if pod["metadata"]["labels"]["cloud-farm/task"] != "prepare"
            and "deletionTimestamp" not in pod["metadata"]
            and any(one["name"] == "main" and one["state"].get("running") for one in pod["status"]["containerStatuses"])
        ]

    def wait_for_pod(self, job: ContractJob, *, but: Collection[str] = ()) -> Any:
        """Wait until a chunk's container runs in a pod whose uid is none of these; return the pod."""
        found: list[Any] = []

        def there() -> bool:
            found[:] = [pod for pod in self.running_pods(job) if pod["metadata"]["uid"] not in but]
            return bool(found)

        wait_for(there, 120, what="a pod that renders")
        return found[0]

    def clear(self) -> None:
        for job in self._jobs:
            job.engine.cancel(job.id)
            job.engine.forget(job.id)


def wait_for_words(job: ContractJob, *words: str, seconds: float = 90) -> str:
    """Wait until the status says all of these in one sentence; returns it."""
    said: list[str] = []

    def heard() -> bool:
        status = job.status()
        said[:] = [status.message, *(task.message for task in status.tasks)]
        return any(all(word in text for word in words) for text in said)

    try:
        wait_for(heard, seconds)
    except AssertionError:
        raise AssertionError(f"{words} was not said; but: {said}") from None
    return next(text for text in said if all(word in text for word in words))


def ended(job: ContractJob, frames: int) -> EngineStatus:
    """Wait for the end: all frames are there, each file what its record says, each rendered on the real node."""
    status = job.wait_until_still()
    assert sorted(job.records()) == list(range(1, frames + 1)), status
    job.check_files()
    return status

"""The engine: what carries a plan out. The volume says what is done; an engine only runs, stops and explains.

`ENGINES` is the only place that names implementations.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..checks import Check
from ..errors import ProfileError

if TYPE_CHECKING:
    from ..job import Finding
    from ..plan import RenderPlan
    from ..profile import FarmProfile


@dataclass(frozen=True)
class TaskStatus:
    """One task of a plan as the engine sees it.

    Attributes:
        id: `prepare` or a chunk's id.
        phase: waiting, running, backing_off, done, failed or stopped.
        message: Why, in plain words; empty when there is nothing to say.
        attempts: How often it was started.
    """

    id: str
    phase: str
    message: str = ""
    attempts: int = 0


@dataclass(frozen=True)
class EngineStatus:
    """What an engine knows of one job.

    Attributes:
        running: Whether anything of the job runs or will start by itself.
        known: Whether the engine ever took this job (or remembers it).
        message: Why nothing runs although something should, or what else is wrong with it, in plain words.
        stages: Mean seconds that a chunk waits for a machine (`pending`) and for its container (`pulling`); from a sample,
            while it runs, where the engine has such stages.
        answered: False where the engine could not be asked and this is what it said last.
    """

    running: bool
    known: bool = True
    tasks: tuple[TaskStatus, ...] = ()
    message: str = ""
    stages: Mapping[str, float] = field(default_factory=dict, compare=False)
    answered: bool = True


@dataclass(frozen=True)
class EngineJob:
    """A job that an engine knows of.

    Attributes:
        created: When it was last submitted there, ISO 8601 in UTC.
        running: Something of it is not over.
    """

    id: str
    owner: str
    created: str
    running: bool


class Engine(Protocol):
    """What every engine does. Errors are `EngineError`s."""

    def check(self) -> tuple[Finding, ...]:
        """Look whether jobs can run here; a finding for each thing that is wrong."""

    def try_out(self) -> Iterator[Check]:
        """Look at it as a person does who sets it up: one check after the other, with what was found; raises nothing."""

    def manifests(self, plan: RenderPlan) -> tuple[Mapping[str, Any], ...]:
        """Return what a cluster would be sent for a plan; nothing where there is no cluster."""

    def installed(self) -> tuple[Mapping[str, Any], ...]:
        """Return what the farm's administrator installs once before jobs can come; nothing where nothing is needed."""

    def submit(self, plan: RenderPlan) -> None:
        """Take the plan and see it through without the caller. The same job and revision twice is one job.

        Raises:
            JobBusyError: Another revision of the job runs.
        """

    def status(self, job_id: str, *, fresh: bool = False) -> EngineStatus:
        """Explain the job; an unknown id is a status with `known=False`.

        Args:
            fresh: Something is decided by it: nothing that was read before is taken for known.
        """

    def page(self, job_id: str) -> str:
        """Return the address of a page that shows the job to people; empty where there is none. Asks nobody."""

    def jobs(self) -> tuple[EngineJob, ...]:
        """List the jobs of this farm that it knows of, whoever submitted them and from wherever."""

    def cancel(self, job_id: str) -> None:
        """Stop now; idempotent, and no error for a job that does not run."""

    def pause(self, job_id: str) -> None:
        """Start nothing new; frames that render end (the stop file on the volume ends them between frames)."""

    def resume(self, job_id: str) -> None:
        """Go on with the revision that was submitted last."""

    def forget(self, job_id: str) -> None:
        """Remove what the engine itself keeps of a job.

        Raises:
            JobBusyError: It still runs.
        """


class EngineKind(NamedTuple):
    """A registered engine: what people read, and where it is made."""

    label: str
    description: str
    module: str


ENGINES: dict[str, EngineKind] = {
    "local": EngineKind("This computer", "Blender processes on this computer", "local"),
    "argo": EngineKind("Argo Workflows", "Blender pods on a Kubernetes cluster", "argo"),
}


def open_engine(profile: FarmProfile) -> Engine:
    """Open the engine that the profile names.

    Raises:
        ProfileError: No engine of that name exists.
    """
    kind = ENGINES.get(profile.engine)
    if kind is None:
        raise ProfileError(
            f"Farm '{profile.name}' names the engine '{profile.engine}', which this version doesn't have. It has: {', '.join(ENGINES)}."
        )
    module = importlib.import_module(f".{kind.module}", __name__)
    engine: Engine = module.open_engine(profile)
    return engine

"""The exception tree. Every message may be shown to the artist as it is.

CloudFarmError                        exit code 1
├── UsageError                        2   refused before anything is sent
│   ├── FrameRangeError                   also ValueError; .expression
│   ├── InvalidJobError                   a job that can't be rendered as it is written; .findings
│   │   └── PackingError                  the scene file or what it links can't be packed
│   ├── ProfileError                      a farm profile that can't be read or used
│   ├── SnapshotError                     the scene's copy can't be written
│   ├── SchemaError                       data of a newer schema, or edited into nonsense; .path
│   ├── BlenderError                      a background Blender failed; .log_tail
│   │   ├── NoBlenderError
│   │   └── BlenderTooOldError
│   ├── JobNotFoundError                  .job_id
│   ├── JobBusyError                      a retry or delete while something of the job runs
│   └── LandingError                      the landing folder can't be written
│       └── FrameNotLandedError           one frame can't; others can
├── StoreError                        3   the volume
│   ├── NotFoundError                     .path
│   ├── ExistsError                       something has that name, and keeps it
│   ├── HashMismatchError                 what was read is not what was promised
│   ├── StoreUnreachableError             nobody answers, or a gateway on the way can't
│   ├── StoreLoginError                   who we are was not accepted
│   ├── StoreForbiddenError               this user may not do that
│   ├── StoreFullError                    no room on the volume
│   └── StoreAnswerError                  an answer that this server should not give: another program, or too old
├── EngineError                       3   what runs the plan
│   ├── EngineUnreachableError            nobody answers, or a gateway on the way can't; .busy
│   ├── EngineLoginError                  who we are was not accepted
│   ├── EngineForbiddenError              this user may not do that
│   └── EngineConflictError               the name is taken
└── Cancelled                         130 the user interrupted; the job goes on untouched
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .job import Finding


class CloudFarmError(Exception):
    """Base of all errors that we raise on purpose."""

    exit_code = 1


class UsageError(CloudFarmError):
    """Refused before anything was sent: wrong words, wrong input."""

    exit_code = 2


class FrameRangeError(UsageError, ValueError):
    """A frame range that can't be understood or is empty."""

    def __init__(self, message: str, *, expression: str = "") -> None:
        super().__init__(message)
        self.expression = expression


class InvalidJobError(UsageError):
    """The job can't be rendered as it is; `findings` names each reason."""

    def __init__(self, message: str, *, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


class PackingError(InvalidJobError):
    """The scene file, or a file that it needs, can't be packed."""


class ProfileError(UsageError):
    """A farm profile is missing, unreadable or makes no sense."""


class SnapshotError(UsageError):
    """The copy of the open scene can't be written on this computer."""


class SchemaError(UsageError):
    """Stored data has a newer schema or was edited into nonsense."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class BlenderError(UsageError):
    """A background Blender could not do its work; `log_tail` has its last words."""

    def __init__(self, message: str, *, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


class NoBlenderError(BlenderError):
    """There is no Blender to render with."""


class BlenderTooOldError(BlenderError):
    """The Blender that was found is older than 4.2, or older than the file."""


class JobNotFoundError(UsageError):
    """No job of that id is on the farm's volume."""

    def __init__(self, message: str, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class JobBusyError(UsageError):
    """Something of the job still runs."""


class LandingError(UsageError):
    """Finished frames can't be written where the job says."""


class FrameNotLandedError(LandingError):
    """One frame can't land: its name could leave the folder, or newer files are in its place. Others can."""


class StoreError(CloudFarmError):
    """The farm's volume did not do what was asked."""

    exit_code = 3


class NotFoundError(StoreError):
    """A path is not on the volume."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class ExistsError(StoreError):
    """Something has that name on the volume, and was left as it is."""


class HashMismatchError(StoreError):
    """Bytes are not those that their sha256 promised."""


class StoreUnreachableError(StoreError):
    """The server does not answer: network, TLS, or a gateway between."""


class StoreLoginError(StoreError):
    """User, password or token were not accepted."""


class StoreForbiddenError(StoreError):
    """The user is known, but lacks the right."""


class StoreFullError(StoreError):
    """The volume, or the user's quota on it, is full."""


class StoreAnswerError(StoreError):
    """The server answers what it should not: something else listens there, or a version that loses data."""


class EngineError(CloudFarmError):
    """What runs the plan is not reachable or refused it."""

    exit_code = 3


class EngineUnreachableError(EngineError):
    """The cluster does not answer: network, TLS, or too much to do (`busy`)."""

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy


class EngineLoginError(EngineError):
    """Token or certificate were not accepted."""


class EngineForbiddenError(EngineError):
    """The user is known, but lacks the right, or the quota is used up."""


class EngineConflictError(EngineError):
    """The name is taken by something else."""


class Cancelled(CloudFarmError):
    """The user interrupted a wait or a transfer; a submitted job goes on."""

    exit_code = 130

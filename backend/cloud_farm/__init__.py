"""Cloud Farm: render Blender scenes on a GPU cluster, or on this computer.

    from cloud_farm import RenderJob, open_farm

    farm = open_farm()                       # the embedded local farm
    job = farm.submit(RenderJob("shot.blend", frames="1-24"))
    farm.follow(job.job_id)                  # frames land as they finish

Names are imported when they are first used: `cloud-farm --help` must not pay for what it does not need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import VERSION

if TYPE_CHECKING:
    from .errors import CloudFarmError
    from .farm import Farm, open_farm
    from .frames import FrameRange
    from .job import Finding, FrameRecord, RenderJob
    from .outcomes import Submission
    from .profile import FarmProfile, load_profile
    from .status import JobStatus

__version__ = VERSION

_HOMES = {
    "CloudFarmError": "errors",
    "Farm": "farm",
    "FarmProfile": "profile",
    "Finding": "job",
    "FrameRange": "frames",
    "FrameRecord": "job",
    "JobStatus": "status",
    "RenderJob": "job",
    "Submission": "outcomes",
    "load_profile": "profile",
    "open_farm": "farm",
}

__all__ = [
    "CloudFarmError",
    "Farm",
    "FarmProfile",
    "Finding",
    "FrameRange",
    "FrameRecord",
    "JobStatus",
    "RenderJob",
    "Submission",
    "__version__",
    "load_profile",
    "open_farm",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)

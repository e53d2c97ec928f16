"""Where things lie in a volume's trash: `cloud-farm/trash/<utc date>/<job>/…`; the same for every store."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import PurePosixPath

from ..errors import StoreError
from ..layout import JOBS, TRASH

_ENTRY = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,99}")


def trash_place(path: PurePosixPath, job_id: str, now: float) -> PurePosixPath:
    """Choose a place that nobody else chooses; it keeps the path inside the job.

    Args:
        now: Seconds since 1970 by the volume's clock.
    """
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    job = JOBS / job_id
    inside = path.relative_to(job) if job in path.parents else PurePosixPath(path.name)
    return TRASH / day / job_id / inside.parent / f"{inside.name}.{secrets.token_hex(4)}"


def trash_entry(name: str) -> PurePosixPath:
    """Return the path of one entry of the trash, the only thing that may be deleted for good.

    Raises:
        StoreError: It is not the plain name of one.
    """
    if not _ENTRY.fullmatch(name):
        raise StoreError(f"{name!r} is no entry of the farm's trash; it was left alone.")
    return TRASH / name

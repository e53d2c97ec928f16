"""Looking at a job for hours: a farm that can't be reached for some minutes is told and waited for."""

from __future__ import annotations

import time

from .errors import StoreUnreachableError
from .events import CancelToken, Listener, Note
from .landed import Landing
from .status import JobStatus, StatusReader

_PATIENCE_SECONDS = 600.0
_PAUSE_SECONDS = 5.0


def look_patiently(
    reader: StatusReader, *, on_event: Listener, landing: Landing | None, cancel: CancelToken
) -> JobStatus:
    """Look at a job and land what is new, trying for some minutes where the way to the farm is broken.

    Raises:
        StoreUnreachableError: It was broken for too long. The job goes on.
        Cancelled: `cancel` was set; likewise.
    """
    since = None
    while True:
        try:
            return reader.read(on_event=on_event, landing=landing, cancel=cancel)
        except StoreUnreachableError as error:
            if since is None:
                since = time.monotonic()
                on_event(Note(f"{error} The job goes on; looking again for {_PATIENCE_SECONDS / 60:.0f} minutes."))
            if time.monotonic() - since > _PATIENCE_SECONDS:
                raise
        cancel.wait(_PAUSE_SECONDS)
        cancel.raise_if_cancelled()

"""Making, changing and deleting Workflows on a cluster that may be busy or away for a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import EngineConflictError, EngineError, EngineUnreachableError
from .argo_labels import lost_fields, same_workflow
from .argo_pod import Manifest

if TYPE_CHECKING:
    from .argo_api import Cluster
    from .argo_objects import WorkflowHead

_T = TypeVar("_T")
_TRIES = 5


def patiently(call: Callable[[], _T], sleep: Callable[[float], None], *, known: bool = True) -> _T:
    """Call again while the cluster is busy or away; what is called must do no harm when it is done twice.

    Where a server says when to come again (Retry-After), that was waited for below this.

    Args:
        known: It answered before, so that it is worth to wait for one that does not answer at all.
    """
    for tried in range(_TRIES - 1):
        try:
            return call()
        except EngineUnreachableError as error:
            if not (known or error.busy):
                raise
            sleep(2.0**tried)
    return call()


class WorkflowWriter:
    """Changes the Workflows of one engine.

    Args:
        forget: Called before each change: what was read until then counts no more.
    """

    def __init__(self, cluster: Cluster, *, forget: Callable[[], None], sleep: Callable[[float], None]) -> None:
        self._cluster = cluster
        self._forget = forget
        self._sleep = sleep

    def judge(self, manifest: Manifest) -> None:
        """Have the cluster judge a Workflow before anything is made.

        Raises:
            EngineError: It refuses it, or would silently keep less than was sent.
        """
        try:
            stored = self._patiently(lambda: self._cluster.create_workflow(manifest, dry_run=True))
        except EngineConflictError:
            return  # somebody else submits the same; `create` looks whether it is
        _require_whole(manifest, stored)

    def create(self, manifest: Manifest) -> None:
        """Create a Workflow; a name that is taken by the very same one is fine: an earlier try made it, or somebody beside us.

        Raises:
            EngineError: It refuses it, or kept less than was sent; then it is deleted again.
        """
        self._forget()
        name = manifest["metadata"]["name"]
        try:
            stored = self._patiently(lambda: self._cluster.create_workflow(manifest))
        except EngineConflictError:
            there = self._patiently(lambda: self._cluster.workflow(name))
            if there is None or not same_workflow(there.content, manifest):
                raise
            return
        try:
            _require_whole(manifest, stored)  # a webhook may change what a trial run did not show to it
        except EngineError:
            self._patiently(lambda: self._cluster.delete_workflow(name))
            raise

    def patch(self, heads: Iterable[WorkflowHead], **spec: Any) -> None:
        """Merge fields into the specification of Workflows; one that is gone is fine."""
        for head in heads:
            self._forget()
            self._patiently(partial(self._cluster.patch_workflow, head.name, {"spec": spec}))

    def delete(self, head: WorkflowHead) -> None:
        """Delete a Workflow; one that is gone is fine."""
        self._forget()
        self._patiently(lambda: self._cluster.delete_workflow(head.name))

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """Perhaps it was done and only the answer got lost: what we make has its name from us."""
        return patiently(call, self._sleep)


def _require_whole(manifest: Manifest, stored: Manifest) -> None:
    lost = lost_fields(manifest["spec"], stored["spec"])
    if lost:
        raise EngineError(
            f"The cluster would drop or change {', '.join(lost[:3])} of the job without a word: its definition of a Workflow is of another"
            " version, or a rule of its own changes Workflows. Set argo_version in the farm's profile to the controller's, or ask the"
            " cluster's admin."
        )

"""Changing Workflows where the cluster is busy: again and again, but not for one that is not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from cloud_farm.engines.argo_api import Cluster
from cloud_farm.engines.argo_writer import WorkflowWriter, patiently
from cloud_farm.errors import EngineConflictError, EngineError, EngineForbiddenError, EngineUnreachableError

from .argo_farm import one

BUSY, AWAY = EngineUnreachableError("429", busy=True), EngineUnreachableError("gone")


def failing(*errors: EngineError) -> Callable[[], str]:
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


@pytest.mark.parametrize(("errors", "known"), [((BUSY,) * 4, False), ((AWAY, BUSY, AWAY, AWAY), True)])
def test_who_is_busy_or_was_there_is_asked_again(errors: tuple[EngineError, ...], known: bool) -> None:
    slept: list[float] = []
    assert patiently(failing(*errors), slept.append, known=known) == "done"
    assert slept == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("errors", "known", "sleeps"), [((AWAY,), False, 0), ((BUSY,) * 5, True, 4), ((EngineForbiddenError("no"),), True, 0)]
)  # fmt: skip
def test_patience_ends(errors: tuple[EngineError, ...], known: bool, sleeps: int) -> None:
    slept: list[float] = []
    with pytest.raises(type(errors[0])):
        patiently(failing(*errors), slept.append, known=known)
    assert len(slept) == sleeps


class Store:
    """A cluster whose rules change what it stores."""

    def __init__(self, *, dry: dict[str, Any] | None = None, real: dict[str, Any] | None = None) -> None:
        self.dry, self.real = dry or {}, real or {}
        self.there: dict[str, Any] = {}

    def create_workflow(self, manifest: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        changed = {**manifest, "spec": {**manifest["spec"], **(self.dry if dry_run else self.real)}}
        if manifest["metadata"]["name"] in self.there:
            raise EngineConflictError("taken")
        if not dry_run:
            self.there[manifest["metadata"]["name"]] = changed
        return changed

    def delete_workflow(self, name: str) -> bool:
        return bool(self.there.pop(name))


def writer(store: Store) -> WorkflowWriter:
    return WorkflowWriter(cast("Cluster", store), forget=lambda: None, sleep=lambda seconds: None)


def test_what_would_be_kept_otherwise_is_refused_before_anything_is_made() -> None:
    store = Store(dry={"synchronization": {}})
    with pytest.raises(EngineError, match=r"would drop or change synchronization\.mutexes of the job"):
        writer(store).judge(dict(one()))
    assert store.there == {}


def test_what_was_kept_otherwise_is_taken_away_again() -> None:
    store = Store(real={"parallelism": 1})
    writer(store).judge(dict(one()))
    with pytest.raises(EngineError, match="would drop or change parallelism of the job"):
        writer(store).create(dict(one()))
    assert store.there == {}


def test_what_is_added_there_is_fine() -> None:
    store = Store(real={"archiveLogs": True})
    writer(store).create(dict(one()))
    assert len(store.there) == 1

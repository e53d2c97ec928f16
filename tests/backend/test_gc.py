"""What a clean-up takes, as a pure function: nothing that a job needs, nothing that is new, nothing that is not ours."""

from __future__ import annotations

import json
import time
from pathlib import PurePosixPath
from typing import Any

import pytest
from cloud_farm.gc import (
    DAY_SECONDS,
    Claim,
    GcPlan,
    Item,
    Survey,
    TrashEntry,
    claim_of,
    plan_gc,
    trashed_asset,
)
from cloud_farm.layout import ASSETS, TRASH, asset

NOW = 1_796_000_000.0  # 2026-11-29
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
JOB = "shot-20261123-abc123"


def stored(sha256: str, *, days: float = 2.0, size: int = 10) -> Item:
    return Item(asset(sha256), size, NOW - days * DAY_SECONDS)


def in_trash(days: int, *, name: str = "", **assets: str) -> TrashEntry:
    name = name or time.strftime("%Y-%m-%d", time.gmtime(NOW - days * DAY_SECONDS))
    paths = {sha256: TRASH / name / "assets" / f"{sha256}.0badcafe" for sha256 in assets.values()}
    return TrashEntry(Item(TRASH / name, 5, NOW - days * DAY_SECONDS), 1, paths)


def plan_of(*claims: Claim, **more: Any) -> GcPlan:
    return plan_gc(Survey(NOW, claims, **more))


def names(items: tuple[Item, ...]) -> list[str]:
    return [item.path.name for item in items]


# -- assets -------------------------------------------------------------------------------------------------------------


def test_what_no_job_needs_goes_and_what_one_needs_stays() -> None:
    plan = plan_of(Claim(JOB, frozenset({A})), Claim("other", frozenset({B})), assets=(stored(A), stored(B), stored(C)))
    assert names(plan.assets) == [C]
    assert plan_of(assets=(stored(A),)).assets == (stored(A),)


def test_what_is_younger_than_a_day_stays() -> None:
    plan = plan_of(assets=(stored(A, days=0.999), stored(B, days=1.0), stored(C, days=-3.0)))
    assert names(plan.assets) == [B]
    assert plan.young == 2


def test_the_grace_is_for_all_that_is_unfinished_too() -> None:
    part = Item(ASSETS / "aa" / f"{A}.0123456789abcdef.part", 3, NOW - 0.5 * DAY_SECONDS)
    old = Item(ASSETS / "aa" / f"{B}.0123456789abcdef.part", 3, NOW - 1.5 * DAY_SECONDS)
    scene = Item(PurePosixPath("cloud-farm/jobs/x/scene.prepare.0badcafe.part"), 3, NOW - 1.5 * DAY_SECONDS)
    plan = plan_of(assets=(part, old), leftovers=(scene,))
    assert plan.unfinished == (old, scene)
    assert plan.assets == ()


@pytest.mark.parametrize(
    "path", ["aa/readme.txt", f"bb/{A}", f"aa/{A}.png", f"aa/{A[:-1]}", f"aa/{A[:-1]}A", f"aa/deep/{A}", "README"]
)
def test_what_is_not_ours_is_left_alone_and_named(path: str) -> None:
    item = Item(ASSETS / path, 3, 0.0)
    plan = plan_of(assets=(item,))
    assert plan.is_empty
    assert plan.foreign == (item.path,)


# -- jobs that can't be understood --------------------------------------------------------------------------------------


def test_one_job_that_can_not_be_understood_keeps_every_asset() -> None:
    part = Item(ASSETS / "aa" / f"{A}.0123456789abcdef.part", 3, 0.0)
    scene = Item(PurePosixPath("cloud-farm/jobs/x/scene.prepare.0badcafe.part"), 3, 0.0)
    plan = plan_of(
        Claim(JOB, frozenset({A})),
        Claim("new", problem="from the future"),
        assets=(stored(A), stored(B), part),
        leftovers=(scene,),
        trash=(in_trash(30, one=C), in_trash(31)),
    )
    assert plan.problems == ("from the future",)
    assert plan.assets == ()
    assert plan.unfinished == (scene,), "an upload among the assets may be of that job; the scene tree is of another"
    assert [entry.name for entry in plan.emptied] == [in_trash(31).name], "what it needs may lie in the other"


def document(**more: Any) -> bytes:
    pack = {"scene": "a.blend", "files": [{"path": "a.blend", "size": 1, "sha256": A, "mode": 420}]}
    return json.dumps({"schema": 1, "id": JOB, "pack": pack, **more}).encode()


def test_a_job_needs_whole_files_and_pieces() -> None:
    files = [{"path": "a.blend", "size": 1, "sha256": A, "parts": [B, C]}]
    assert claim_of(JOB, document(), age=0).assets == {A}
    assert claim_of(JOB, document(pack={"files": files}), age=0).assets == {A, B, C}
    assert claim_of(JOB, document(pack={"files": []}), age=0) == Claim(JOB)


def test_what_a_later_version_stores_beside_it_counts() -> None:
    assert claim_of(JOB, document(more={"deep": [{"pieces": [[B]]}]}), age=0).assets == {A, B}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (document()[:-5], "not JSON"),
        (b"[]", "no schema number"),
        (b"{}", "no schema number"),
        (document(schema=2), "newer Cloud Farm"),
        (document(pack=None), "does not say which files"),
        (document(pack={}), "does not say which files"),
        (document(pack={"files": {}}), "does not say which files"),
        (document(pack={"files": [{"path": "x"}]}), "does not say which files"),
        (document(pack={"files": [{"sha256": "../../x"}]}), "does not say which files"),
    ],
)
def test_a_job_json_that_is_not_understood_is_a_problem_that_says_what_to_do(raw: bytes, reason: str) -> None:
    claim = claim_of(JOB, raw, age=0)
    assert reason in claim.problem
    assert f"cloud-farm delete {JOB} --yes" in claim.problem


def test_a_job_that_is_just_being_sent_has_no_job_json_yet() -> None:
    young, old = claim_of(JOB, None, age=60), claim_of(JOB, None, age=2 * DAY_SECONDS)
    assert not young.problem and not young.is_final
    assert "has no job.json" in old.problem and not old.is_final
    assert "move it out" in claim_of("my notes", None, age=2 * DAY_SECONDS).problem


# -- the trash ----------------------------------------------------------------------------------------------------------


def test_the_trash_is_emptied_day_by_day() -> None:
    trash = tuple(in_trash(days) for days in range(12))
    due = plan_gc(Survey(NOW, trash=trash), trash_days=7).emptied
    assert due == trash[8:]
    assert plan_gc(Survey(NOW, trash=trash), trash_days=1).emptied == trash[2:]


def test_tries_of_a_check_go_after_a_day() -> None:
    new, old = in_trash(0, name="check-0badcafe"), in_trash(2, name="check-0badcaff")
    assert plan_of(trash=(new, old)).emptied == (old,)


@pytest.mark.parametrize("name", ["precious", "2026-13-01", "2026-11-1", "20261101", "2026-11-01 (copy)", "..."])
def test_what_somebody_else_put_into_the_trash_stays_there(name: str) -> None:
    plan = plan_of(trash=(in_trash(300, name=name),))
    assert plan.is_empty
    assert plan.foreign == (TRASH / name,)


def test_what_a_killed_clean_up_left_in_the_trash_comes_back() -> None:
    trash = (in_trash(0, one=A), in_trash(30, one=B))
    plan = plan_of(Claim(JOB, frozenset({A, B, C})), assets=(stored(C),), trash=trash)
    assert dict(plan.restore) == {A: trash[0].assets[A], B: trash[1].assets[B]}
    assert plan_of(Claim(JOB, frozenset({A})), assets=(stored(A),), trash=trash).restore == {}
    assert plan_of(trash=trash).restore == {}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (f"{A}.0badcafe", A),
        (f"{A}.0badcafe.0123456789abcdef.part", A),
        (f".{A}.0badcafe.01234567.part", A),
        (f"{A}.0123456789abcdef.part.0badcafe", ""),
        (f"{A}.0123456789abcdef.part", ""),
        (A, ""),
        ("shot.blend.0badcafe", ""),
    ],
)
def test_assets_in_the_trash_are_told_from_unfinished_uploads(name: str, found: str) -> None:
    assert trashed_asset(name) == found

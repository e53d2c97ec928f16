"""Copying by hand through every store: whole trees, again, over others, interrupted, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from cloud_farm.copying import CopyPlan, get_files, plan_get, plan_put, put_files
from cloud_farm.errors import Cancelled, UsageError
from cloud_farm.events import CancelToken, Event, Transfer
from cloud_farm.stores import Store

from .subjects import StoreSubject

FILES = {
    "a.blend": b"scene",
    "tex/ünï 1.png": b"x" * 70_000,
    "tex/deep/b.exr": b"",
    "tex/100%.png": b"%",
    ".hidden": b"h",
}
SHOTS = PurePosixPath("projects/shots")


@pytest.fixture
def store(store_subject: StoreSubject) -> Store:
    return store_subject.open()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "sh010" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "sh010"


def put(store: Store, *sources: Path, replace: bool = False) -> CopyPlan:
    plan = plan_put(store, sources, SHOTS)
    put_files(store, plan, replace_others=replace)
    return plan


def get(store: Store, path: PurePosixPath, folder: Path, *, replace: bool = False) -> CopyPlan:
    plan = plan_get(store, [path], folder)
    get_files(store, plan, replace_others=replace)
    return plan


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def counts(plan: CopyPlan) -> tuple[int, int, int, int]:
    return len(plan.new), len(plan.replaced), len(plan.unchanged), len(plan.left_out)


def test_a_tree_goes_there_and_comes_back(store: Store, tree: Path, tmp_path: Path) -> None:
    assert counts(put(store, tree)) == (5, 0, 0, 0)
    assert counts(get(store, SHOTS / "sh010", tmp_path / "back")) == (5, 0, 0, 0)
    assert files_below(tmp_path / "back" / "sh010") == FILES
    assert counts(get(store, PurePosixPath(), tmp_path / "all")) == (5, 0, 0, 0)
    assert files_below(tmp_path / "all" / "projects" / "shots" / "sh010") == FILES


def test_what_is_there_is_not_copied_again(store: Store, tree: Path, tmp_path: Path) -> None:
    put(store, tree)
    assert counts(put(store, tree)) == (0, 0, 5, 0)
    get(store, SHOTS / "sh010", tmp_path / "back")
    (tmp_path / "back" / "sh010" / "a.blend").unlink()
    assert counts(get(store, SHOTS / "sh010", tmp_path / "back")) == (1, 0, 4, 0)
    assert files_below(tmp_path / "back" / "sh010") == FILES


def test_another_file_is_replaced_only_if_asked(store: Store, tree: Path, tmp_path: Path) -> None:
    put(store, tree)
    get(store, SHOTS / "sh010", tmp_path / "back")
    (tree / "a.blend").write_bytes(b"SCENE")  # of the same size
    (tree / "new.blend").write_bytes(b"new")
    with pytest.raises(UsageError, match=r"there already: projects/shots/sh010/a\.blend\. Nothing"):
        put(store, tree)
    assert store.stat(SHOTS / "sh010" / "new.blend") is None, "nothing is copied where something is refused"
    assert counts(put(store, tree, replace=True)) == (1, 1, 4, 0)
    assert store.read(SHOTS / "sh010" / "a.blend") == b"SCENE"
    with pytest.raises(UsageError, match=r"there already: .*a\.blend\. Nothing"):
        get(store, SHOTS / "sh010", tmp_path / "back")
    assert files_below(tmp_path / "back" / "sh010") == FILES
    assert counts(get(store, SHOTS / "sh010", tmp_path / "back", replace=True)) == (1, 1, 4, 0)
    assert (tmp_path / "back" / "sh010" / "a.blend").read_bytes() == b"SCENE"


def test_what_comes_between_is_not_overwritten(store: Store, tree: Path, tmp_path: Path) -> None:
    plan = plan_put(store, [tree], SHOTS)
    store.put(b"of somebody else", SHOTS / "sh010" / "a.blend")
    with pytest.raises(UsageError, match=r"a\.blend"):
        put_files(store, plan, replace_others=False)
    assert store.read(SHOTS / "sh010" / "a.blend") == b"of somebody else"
    plan = plan_get(store, [SHOTS / "sh010" / "a.blend"], tmp_path)
    (tmp_path / "a.blend").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"a\.blend"):
        get_files(store, plan, replace_others=False)
    assert (tmp_path / "a.blend").read_bytes() == b"mine"
    assert not list(tmp_path.glob(".*.part"))


def test_an_interrupted_copy_is_repeated(store: Store, tmp_path: Path) -> None:
    tree = tmp_path / "many"
    tree.mkdir()
    for number in range(40):
        (tree / f"{number}.bin").write_bytes(os.urandom(50_000))
    token = CancelToken()

    def stop_at_first(event: Event) -> None:
        if isinstance(event, Transfer) and event.done_files:
            token.cancel()

    plan = plan_put(store, [tree], SHOTS)
    with pytest.raises(Cancelled):
        put_files(store, plan, replace_others=False, on_event=stop_at_first, cancel=token)
    again = put(store, tree)
    assert len(again.new) + len(again.unchanged) == 40
    assert again.unchanged
    get(store, SHOTS / "many", tmp_path / "back")
    assert files_below(tmp_path / "back" / "many") == files_below(tree)


def test_what_can_not_be_copied_is_named(store: Store, tree: Path, tmp_path: Path) -> None:
    (tree / "loop").symlink_to(tree)
    (tree / "gone").symlink_to("/nowhere")
    (tree / "half.part").write_bytes(b"")
    os.mkfifo(tree / "pipe")
    (tree / "linked.blend").symlink_to(tree / "a.blend")
    plan = put(store, tree)
    assert counts(plan) == (6, 0, 0, 4)
    words = sorted(reason.split("sh010/")[1].split()[0] for reason in plan.left_out)
    assert words == ["gone", "half.part", "loop", "pipe"]
    assert store.read(SHOTS / "sh010" / "linked.blend") == b"scene"
    store.put(b"hostile", SHOTS / "sh010" / "con.png")
    (tmp_path / "back" / "sh010").mkdir(parents=True)
    (tmp_path / "back" / "sh010" / "tex").symlink_to(tmp_path)
    plan = plan_get(store, [SHOTS / "sh010"], tmp_path / "back")
    assert len(plan.new) == 3
    assert sum("con.png" in reason for reason in plan.left_out) == 1
    assert sum("leads out" in reason for reason in plan.left_out) == 3


def test_what_is_refused(store: Store, tree: Path, tmp_path: Path) -> None:
    store.put(b"in the way", SHOTS / "sh010" / "tex" / "deep" / "b.exr" / "file")
    with pytest.raises(UsageError, match=r"b\.exr is a folder"):
        plan_put(store, [tree], SHOTS)
    with pytest.raises(UsageError, match="own folder"):
        plan_put(store, [tree], PurePosixPath("cloud-farm/assets"))
    (tmp_path / "cloud-farm").mkdir()
    (tmp_path / "cloud-farm" / "x").touch()
    with pytest.raises(UsageError, match="own folder"):
        plan_put(store, [tmp_path / "cloud-farm"], PurePosixPath())
    with pytest.raises(UsageError, match="can't be read"):
        plan_put(store, [tmp_path / "absent"], SHOTS)
    with pytest.raises(UsageError, match="Two of the files"):
        plan_put(store, [tree / "a.blend", tree / "a.blend"], SHOTS)
    with pytest.raises(UsageError, match="nothing named"):
        plan_get(store, [SHOTS / "absent"], tmp_path)
    (tmp_path / "file").mkdir()
    with pytest.raises(UsageError, match="folder or a link"):
        plan_get(store, [SHOTS / "sh010" / "tex" / "deep" / "b.exr" / "file"], tmp_path)
    assert store.stat(SHOTS / "sh010" / "a.blend") is None

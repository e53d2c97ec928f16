"""The folder store's own promises: rights, links that lead out, full and read-only disks, file systems without hard links."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from cloud_farm.errors import StoreError
from cloud_farm.layout import asset
from cloud_farm.stores import file_copy, folder
from cloud_farm.stores.folder import FolderStore

from ..rigs.small_disk import small_disk

PATH = PurePosixPath("cloud-farm/jobs/a/b.bin")
_SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "volume"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root)


def parts(root: Path) -> list[Path]:
    return list(root.rglob("*.part"))


# -- rights -------------------------------------------------------------------------------------------------------------


def test_folders_are_shared_by_group_and_assets_are_read_only(store: FolderStore, root: Path) -> None:
    store.put(b"x", PATH)
    store.put(b"x", asset("ab" * 32))
    modes = {path.relative_to(root): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert {mode for path, mode in modes.items() if (root / path).is_dir()} == {0o2775}
    assert stat.S_IMODE(root.stat().st_mode) == 0o2775
    assert modes[Path(PATH)] == 0o664
    assert modes[Path(asset("ab" * 32))] == 0o444


def test_the_profiles_umask_decides_not_the_shells(root: Path) -> None:
    before = os.umask(0o077)
    try:
        FolderStore(root, umask=0o027).put(b"x", PATH)
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / PATH).stat().st_mode) == 0o640
    assert stat.S_IMODE((root / PATH).parent.stat().st_mode) == 0o2750


def test_looking_makes_nothing(store: FolderStore, root: Path) -> None:
    store.list(PATH.parent)
    store.stat(PATH)
    store.free_space()
    assert abs(store.server_time() - time.time()) < 1
    assert not root.exists()


# -- links --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path, root: Path) -> Path:
    """A folder beside the volume, with links into it from the volume."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    root.mkdir()
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret.txt")
    (root / "nowhere").symlink_to(outside / "absent")
    return outside


def test_links_that_lead_out_are_refused_and_not_listed(store: FolderStore, secret: Path, tmp_path: Path) -> None:
    for path in ("folder/secret.txt", "file", "folder/new", "nowhere"):
        hostile = PurePosixPath(path)
        for action in (
            lambda p=hostile: store.read(p),
            lambda p=hostile: store.put(b"evil", p),
            lambda p=hostile: store.get(p, tmp_path / "stolen"),
            lambda p=hostile: store.trash(p, job_id="x"),
        ):
            with pytest.raises(StoreError, match="symbolic link"):
                action()
    assert store.list(PurePosixPath(".")) == ()
    assert [path.name for path in secret.iterdir()] == ["secret.txt"]
    assert (secret / "secret.txt").read_text() == "secret"
    assert not (tmp_path / "stolen").exists()


def test_links_inside_the_volume_are_followed(store: FolderStore, root: Path) -> None:
    store.put(b"12345", PurePosixPath("real/a.bin"))
    (root / "linked").symlink_to("real")
    (root / "real" / "b.bin").symlink_to("a.bin")
    assert store.read(PurePosixPath("linked/a.bin")) == b"12345"
    assert [(e.name, e.size) for e in store.list(PurePosixPath("linked"))] == [("a.bin", 5), ("b.bin", 5)]
    assert [(e.name, e.is_dir) for e in store.list(PurePosixPath("."))] == [("linked", True), ("real", True)]


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "volume").symlink_to(tmp_path / "disk")
    FolderStore(tmp_path / "volume").put(b"x", PATH)
    assert (tmp_path / "disk" / PATH).read_bytes() == b"x"


# -- a put that is cut short --------------------------------------------------------------------------------------------


def _put_from(root: Path, pipe: Path) -> None:
    FolderStore(root).put(pipe, PATH)


def test_killed_while_it_writes(root: Path, tmp_path: Path) -> None:
    """Proven: the source is a pipe, so the put waits in the middle of the file until it is killed."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = _SPAWN.Process(target=_put_from, args=(root, pipe))
    process.start()
    with pipe.open("wb") as stream:
        stream.write(b"x" * 3_000_000)
        stream.flush()
        deadline = time.monotonic() + 20
        while not (found := parts(root)) or found[0].stat().st_size == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.join(10)
    store = FolderStore(root)
    assert store.stat(PATH) is None
    assert store.list(PATH.parent) == ()
    assert len(parts(root)) == 1
    store.put(b"again", PATH)
    assert store.read(PATH) == b"again"


def test_a_failed_put_leaves_no_part(store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=r"b\.bin on the farm's volume .*Check it"):
        store.put(b"x", PATH)
    assert parts(root) == [] and store.stat(PATH) is None


# -- disks that say no --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "delete --older-than"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "may not write there"),
        (errno.EROFS, "read-only"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.ESTALE, "Mount it again"),
    ],
)
def test_errors_say_what_to_do(store: FolderStore, monkeypatch: pytest.MonkeyPatch, number: int, advice: str) -> None:
    def fail(*_args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder, "copy_hashed", fail)
    with pytest.raises(StoreError, match=advice) as caught:
        store.put(b"x", PATH)
    assert str(PATH) in str(caught.value)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "tiny", "2m") as disk:
        yield disk


def test_a_full_disk(tiny_disk: Path) -> None:
    store = FolderStore(tiny_disk)
    store.put(b"small", PATH)
    with pytest.raises(StoreError, match="volume is full.*cloud-farm delete"):
        store.put(b"x" * 3_000_000, PATH)
    assert store.read(PATH) == b"small"
    assert parts(tiny_disk) == []
    store.put(b"y" * 500_000, PurePosixPath("fits"))


def test_a_read_only_disk(tiny_disk: Path) -> None:
    store = FolderStore(tiny_disk)
    store.put(b"small", PATH)
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(StoreError, match="read-only"):
        store.put(b"x", PATH)
    assert store.read(PATH) == b"small"
    assert abs(store.server_time() - time.time()) < 5


def test_a_full_disk_here_is_no_error_of_the_volume(store: FolderStore, tiny_disk: Path) -> None:
    store.put(b"x" * 3_000_000, PATH)
    with pytest.raises(OSError, match="No space left"):
        store.get(PATH, tiny_disk / "frame.png")
    assert list(tiny_disk.iterdir()) == []


# -- file systems that lack something -----------------------------------------------------------------------------------


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_args: object, **_more: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("no_links")
def test_without_hard_links_exclusive_still_means_first(store: FolderStore, root: Path) -> None:
    assert store.put(b"first", PATH, if_absent=True)
    assert not store.put(b"second", PATH, if_absent=True)
    assert not file_copy.create_exclusive(root / PATH, root / PATH, 0o644)
    assert store.read(PATH) == b"first"
    store.move(PATH, PurePosixPath("c"))
    assert store.read(PurePosixPath("c")) == b"first"
    assert parts(root) == []


def test_a_cloned_file_is_hashed_as_it_lies_there(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where blocks can be shared, the hash is that of the copy: the source may change meanwhile."""
    source = tmp_path / "source"
    source.write_bytes(b"what was promised")

    def clone(_source: object, sink: object) -> bool:
        sink.write(b"what changed meanwhile")  # type: ignore[attr-defined]
        return True

    monkeypatch.setattr(file_copy, "_clone", clone)
    with pytest.raises(StoreError, match="changed while it was sent"):
        store.put(source, PATH, sha256="00" * 32)
    assert store.stat(PATH) is None


def test_the_volumes_clock_is_asked_where_it_differs(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(b"x", PATH)
    real = os.fstat

    def fstat(handle: int) -> os.stat_result:
        values = list(real(handle))
        values[stat.ST_MTIME] += 3600
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", fstat)
    assert 3590 < store.server_time() - time.time() < 3610


def test_longest_names_fit(store: FolderStore) -> None:
    for name in ("x" * 255, "日" * 85):
        assert store.put(b"x", PurePosixPath("long") / name, if_absent=True)
        assert store.stat(PurePosixPath("long") / name) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX names")
def test_unfinished_files_of_others_are_not_listed(store: FolderStore, root: Path) -> None:
    store.put(b"x", PATH)
    (root / PATH.parent / "b.bin.1234abcd.part").write_bytes(b"half")
    assert [entry.name for entry in store.list(PATH.parent)] == ["b.bin"]


def test_a_trash_that_is_a_link_is_never_emptied(store: FolderStore, root: Path) -> None:
    """Somebody moved it elsewhere: what lies there by the name of a day need not be ours."""
    precious = root / "projects" / "2026-11-01" / "precious.blend"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"x")
    (root / "cloud-farm").mkdir()
    (root / "cloud-farm" / "trash").symlink_to(root / "projects")
    with pytest.raises(StoreError, match="is a link"):
        store.empty_trash("2026-11-01")
    (root / "cloud-farm" / "trash").unlink()
    (root / "cloud-farm" / "trash").mkdir()
    (root / "cloud-farm" / "trash" / "2026-11-01").symlink_to(root / "projects" / "2026-11-01")
    with pytest.raises(StoreError, match="is a link"):
        store.empty_trash("2026-11-01")
    assert precious.read_bytes() == b"x"


def test_a_walk_ends_where_links_lead_round(store: FolderStore, root: Path) -> None:
    store.put(b"x", PATH)
    (root / PATH.parent / "round").symlink_to(root)
    assert [str(path) for path, entry in store.walk(PATH.parent) if not entry.is_dir] == [str(PATH)]

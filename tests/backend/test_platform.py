"""What differs between systems; the branches of Windows and macOS by an injected name, as far as Linux can run them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cloud_farm import platform
from cloud_farm.platform import FileLock, user_folders


def wait_for_text(path: Path, seconds: float = 10) -> str:
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "nothing was written"
        time.sleep(0.01)
    return path.read_text().strip()


# -- user folders -------------------------------------------------------------------------------------------------------


def test_one_variable_puts_everything_below_one_folder(tmp_path: Path) -> None:
    for system in ("linux", "darwin", "win32"):
        found = user_folders({"CLOUD_FARM_HOME": str(tmp_path), "XDG_DATA_HOME": "/else"}, system=system)
        assert all(tmp_path in (folder, *folder.parents) for folder in vars(found).values())


def test_each_system_has_its_custom() -> None:
    home = Path.home()
    linux = user_folders({"XDG_STATE_HOME": "/state"}, system="linux")
    assert (linux.config, linux.state) == (home / ".config/cloud-farm", Path("/state/cloud-farm"))
    mac = user_folders({}, system="darwin")
    assert mac.config == home / "Library/Application Support/cloud-farm"
    windows = user_folders({"APPDATA": "/roaming", "LOCALAPPDATA": "/local"}, system="win32")
    assert (windows.config, windows.data) == (Path("/roaming/cloud-farm"), Path("/local/cloud-farm"))


# -- processes ----------------------------------------------------------------------------------------------------------


def test_a_detached_process_has_a_session_of_its_own(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = (
        f"import os; print(os.getsid(0), os.getpgid(0), os.getcwd(), file=open({str(told)!r}, 'w')); print('logged')"
    )
    log = tmp_path / "logs" / "log"
    pid = platform.start_detached((sys.executable, "-c", script), log=log, cwd=tmp_path)
    session, group, cwd = wait_for_text(told).split()
    assert (int(session), int(group), Path(cwd)) == (pid, pid, tmp_path)
    assert wait_for_text(log) == "logged"
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "a dead process stays in the list"
        time.sleep(0.01)


def test_flags_of_each_system() -> None:
    assert (
        platform.detached_flags(system="linux")
        == platform.detached_flags(system="darwin")
        == {"start_new_session": True}
    )
    assert platform.detached_flags(system="win32") == {"creationflags": 0x208}
    assert platform.child_flags((3, 4), system="linux") == {"pass_fds": (3, 4)}
    assert platform.child_flags((3, 4), system="win32") == {"creationflags": 0x08000000}


@pytest.mark.parametrize(("force", "number"), [(False, signal.SIGTERM), (True, signal.SIGKILL)])
def test_a_whole_group_is_ended(tmp_path: Path, force: bool, number: int) -> None:
    told = tmp_path / "told"
    script = f"import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, file=open({str(told)!r}, 'w')); sys.exit(p.wait())"
    process = subprocess.Popen((sys.executable, "-c", script), **platform.detached_flags())
    child = int(wait_for_text(told))
    platform.end_group(process.pid, force=force)
    assert process.wait(10) == -number
    deadline = time.monotonic() + 5
    while (
        Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split(")")[1].split()[0]
    ):
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.01)
    platform.end_group(process.pid)


def test_windows_ends_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_more: seen.append(command))
    platform.end_group(123, system="win32")
    assert seen == [["taskkill", "/PID", "123", "/T", "/F"]]


# -- renames ------------------------------------------------------------------------------------------------------------


def test_windows_waits_for_a_viewer_to_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = iter([1, 2])
    real = os.replace

    def busy(source: Path, target: Path) -> None:
        if next(refusals, None):
            raise PermissionError(errno.EACCES, "open elsewhere")
        real(source, target)

    monkeypatch.setattr(os, "replace", busy)
    (tmp_path / "a").write_text("new")
    platform.replace(tmp_path / "a", tmp_path / "b", system="win32")
    assert (tmp_path / "b").read_text() == "new"


def test_a_refusal_is_told_at_once_elsewhere_and_in_the_end_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "replace", refuse)
    began = time.monotonic()
    with pytest.raises(PermissionError):
        platform.replace(Path("a"), Path("b"), system="linux", patience=60)
    assert time.monotonic() - began < 5
    with pytest.raises(PermissionError):
        platform.replace(Path("a"), Path("b"), system="win32", patience=0.1)


# -- locks --------------------------------------------------------------------------------------------------------------


def test_one_holds_it(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "deep" / "lock"), FileLock(tmp_path / "deep" / "lock")
    assert not first.is_held()
    assert first.acquire()
    assert second.is_held() and first.is_held()
    assert not second.acquire(patience=0.1)
    first.release()
    first.release()
    assert not second.is_held()
    assert second.acquire()
    second.release()


def test_one_holds_it_also_where_each_removes_its_file(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(100):
            lock = FileLock(tmp_path / "lock")
            assert lock.acquire(patience=60)
            inside.append(number)
            time.sleep(0)
            most.append(len(inside))
            inside.remove(number)
            lock.release(remove=True)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert (len(most), max(most)) == (600, 1)
    assert list(tmp_path.iterdir()) == []


def test_lookers_do_not_take_each_other_for_holders(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire()
    lock.release()
    command = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from cloud_farm.platform import FileLock;"
        "l = FileLock(Path(sys.argv[2])); sys.exit(sum(l.is_held() for _ in range(20000)))"
    )
    source = str(Path(platform.__file__).parent.parent)
    lookers = [subprocess.Popen((sys.executable, "-c", command, source, str(tmp_path / "lock"))) for _ in range(3)]
    assert [looker.wait(60) for looker in lookers] == [0, 0, 0]


def test_a_child_that_inherits_it_holds_it(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire()
    child = subprocess.Popen(("sleep", "60"), **platform.child_flags((lock.descriptor,)))
    stranger = subprocess.Popen(("sleep", "60"))
    lock.release()
    assert lock.is_held()
    child.kill()
    child.wait()
    assert not lock.is_held(), "a process that was not meant to inherit it holds it"
    stranger.kill()
    stranger.wait()


def test_windows_locks_by_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: set[int] = set()

    def locking(handle: int, mode: int, count: int) -> None:
        inode = os.fstat(handle).st_ino
        assert (mode, count) == (2, 1)
        if inode in held:
            raise OSError(errno.EACCES, "locked")
        held.add(inode)

    fake: Any = types.ModuleType("msvcrt")
    fake.LK_NBLCK, fake.locking = 2, locking
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    lock = FileLock(tmp_path / "lock", system="win32")
    assert lock.acquire()
    assert FileLock(tmp_path / "lock", system="win32").is_held()


# -- files and folders ---------------------------------------------------------------------------------------------------


def test_a_name_that_must_be_new_is_never_replaced_on_windows_either(monkeypatch: pytest.MonkeyPatch) -> None:
    renamed: list[tuple[Path, Path]] = []
    monkeypatch.setattr(os, "rename", lambda source, target: renamed.append((source, target)))
    platform.rename_new(Path("a"), Path("b"), system="win32")
    assert renamed == [(Path("a"), Path("b"))], "it never replaces there"


@pytest.mark.parametrize(("system", "mode"), [("linux", 0o444), ("darwin", 0o444), ("win32", 0o666)])
def test_a_tree_is_removed_with_its_read_only_files(tmp_path: Path, system: str, mode: int) -> None:
    asset, twin = tmp_path / "tree" / "below" / "asset", tmp_path / "twin"
    asset.parent.mkdir(parents=True)
    asset.touch(0o444)
    os.link(asset, twin)
    platform.remove_tree(tmp_path / "tree", system=system)
    assert not (tmp_path / "tree").exists()
    assert twin.stat().st_mode & 0o777 == mode, "Windows removes none that is read-only"


def test_windows_takes_some_signs_for_more_than_a_name() -> None:
    for part in ("C:", "a\\b", "a:b"):
        assert platform.can_be_named(part, system="linux") and not platform.can_be_named(part, system="win32")
    assert platform.can_be_named("frame_0001.png", system="win32")


def test_a_folder_is_shared_with_its_group_where_there_is_one(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mode
    platform.share_folder(tmp_path, 0o2770, gid=None, system="win32")
    assert tmp_path.stat().st_mode == before
    platform.share_folder(tmp_path, 0o2770, gid=os.getgid(), system="darwin")
    assert tmp_path.stat().st_mode & 0o7777 == 0o2770


def test_blocks_are_shared_on_linux_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 4096)
    with open(tmp_path / "a", "rb") as source, open(tmp_path / "b", "w+b") as sink:
        assert not platform.share_blocks(source.fileno(), sink.fileno(), system="darwin")
        assert not platform.share_blocks(source.fileno(), sink.fileno(), system="win32")
        could = platform.share_blocks(source.fileno(), sink.fileno(), system="linux")
        assert sink.read() == (b"x" * 4096 if could else b"")

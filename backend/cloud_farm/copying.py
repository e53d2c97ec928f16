"""Copying files by hand between this computer and a farm's volume.

First all of it is planned, and refused where something else would be overwritten; then it is carried out. Files that are there
already, with the same bytes, are not copied again, so an interrupted copy is simply repeated.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from .errors import FrameNotLandedError, UsageError
from .events import CancelToken, Listener, Stage, counted, ignore
from .hashing import file_sha256
from .landing import check_inside, safe_relative
from .layout import PART, ROOT
from .parallel import for_each
from .platform import rename_if_absent, replace
from .stores import Progress, Store, StoreEntry
from .transfer import TransferMeter

_SHOWN = 3
_ROOT = PurePosixPath()


@dataclass(frozen=True)
class Copy:
    """One file, here and on the volume.

    Attributes:
        size: Bytes of the one that is copied.
    """

    here: Path
    there: PurePosixPath
    size: int


@dataclass(frozen=True)
class CopyPlan:
    """What is to be copied.

    Attributes:
        new: Their places are free.
        replaced: Other files are in their places.
        unchanged: The same bytes are there already.
        left_out: What can't be copied, each with its reason.
    """

    new: tuple[Copy, ...]
    replaced: tuple[Copy, ...]
    unchanged: tuple[Copy, ...]
    left_out: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes to copy."""
        return sum(copy.size for copy in (*self.new, *self.replaced))


def plan_put(
    store: Store, sources: Sequence[Path], folder: PurePosixPath, *, on_event: Listener = ignore,
    cancel: CancelToken | None = None,
) -> CopyPlan:  # fmt: skip
    """Plan the copying of files and folders, with all that is in them, into a folder of the volume.

    Raises:
        UsageError: A source is absent; the folder is our own; a folder is where a file should go, or two sources have one name.
    """
    copies: list[Copy] = []
    left_out: list[str] = []
    for source in sources:
        _find_here(source, folder, copies, left_out)
    _refuse_twins([str(copy.there) for copy in copies])
    if any(copy.there.parts[: len(ROOT.parts)] == ROOT.parts for copy in copies):
        raise UsageError(f"{ROOT} on the volume is the farm's own folder. Choose another one with --to.")
    sizes = _sizes_there(store, copies, cancel)
    return _plan(store, copies, sizes, left_out, on_event, cancel)


def plan_get(
    store: Store, sources: Sequence[PurePosixPath], folder: Path, *, on_event: Listener = ignore,
    cancel: CancelToken | None = None,
) -> CopyPlan:  # fmt: skip
    """Plan the copying of files and folders of the volume, with all that is in them, into a folder of this computer.

    Names that this computer can't store, or that would leave the folder, are left out.

    Raises:
        UsageError: A source is absent; something is where a file should go that is none, or two sources have one name.
    """
    copies: list[Copy] = []
    left_out: list[str] = []
    for source in sources:
        for path, size in _find_there(store, source, cancel):
            try:
                target = folder / safe_relative(path.relative_to(source.parent).as_posix())
                check_inside(target, folder)
                copies.append(Copy(target, path, size))
            except FrameNotLandedError as error:
                left_out.append(str(error))
    _refuse_twins([str(copy.here) for copy in copies])
    sizes = {copy: found for copy in copies if (found := _size_here(copy.here)) is not None}
    return _plan(store, copies, sizes, left_out, on_event, cancel)


def put_files(
    store: Store,
    plan: CopyPlan,
    *,
    replace_others: bool,
    on_event: Listener = ignore,
    cancel: CancelToken | None = None,
) -> None:
    """Carry out a plan of `plan_put`; every file is verified before it gets its name.

    Raises:
        UsageError: Other files are in the way, and `replace_others` is not set.
        StoreError: The volume does not take it.
        Cancelled: The user gave up; what is copied stays.
    """
    _refuse(() if replace_others else [copy.there for copy in plan.replaced])

    def put(copy: Copy, progress: Progress) -> None:
        if not store.put(copy.here, copy.there, if_absent=not replace_others, progress=progress):
            _refuse([copy.there])

    _carry_out(store, plan, "upload", put, on_event, cancel)


def get_files(
    store: Store,
    plan: CopyPlan,
    *,
    replace_others: bool,
    on_event: Listener = ignore,
    cancel: CancelToken | None = None,
) -> None:
    """Carry out a plan of `plan_get`; every file is verified before it gets its name.

    Raises:
        UsageError: Other files are in the way, and `replace_others` is not set; or they can't be written.
        StoreError: The volume does not give it.
        Cancelled: The user gave up; what is copied stays.
    """
    _refuse(() if replace_others else [copy.here for copy in plan.replaced])

    def get(copy: Copy, progress: Progress) -> None:
        part = copy.here.with_name(f".{secrets.token_hex(8)}{PART}")
        try:
            copy.here.parent.mkdir(parents=True, exist_ok=True)
            store.get(copy.there, part, sha256=store.sha256(copy.there), progress=progress)
            if replace_others:
                replace(part, copy.here)
            elif not rename_if_absent(part, copy.here):
                _refuse([copy.here])
        except OSError as error:
            raise UsageError(f"{copy.here} can't be written: {error.strerror or error}.") from error
        finally:
            part.unlink(missing_ok=True)

    _carry_out(store, plan, "download", get, on_event, cancel)


def _find_here(source: Path, folder: PurePosixPath, copies: list[Copy], left_out: list[str]) -> None:
    """Add what a source of this computer holds. Links to files are followed, links to folders are not."""
    if source.is_dir():

        def unreadable(error: OSError) -> None:
            raise UsageError(f"{error.filename} can't be read: {error.strerror}.") from error

        for place, folders, names in os.walk(source, onerror=unreadable):
            left_out.extend(
                f"{Path(place, name)} is a link to a folder." for name in folders if Path(place, name).is_symlink()
            )
            at = folder / source.resolve().name / PurePosixPath(Path(place).relative_to(source).as_posix())
            for name in sorted(names):
                _add_here(Path(place, name), at / name, copies, left_out)
    else:
        try:
            source.stat()
        except OSError as error:
            raise UsageError(f"{source} can't be read: {error.strerror}.") from error
        _add_here(source, folder / source.name, copies, left_out)


def _add_here(here: Path, there: PurePosixPath, copies: list[Copy], left_out: list[str]) -> None:
    try:
        found = here.stat()
    except OSError as error:
        left_out.append(f"{here} can't be read: {error.strerror}.")
        return
    if not stat.S_ISREG(found.st_mode):
        left_out.append(f"{here} is no file.")
    elif here.name.endswith(PART):
        left_out.append(f"{here} has the name of an unfinished file ({PART}). Rename it.")
    else:
        copies.append(Copy(here, there, found.st_size))


def _find_there(store: Store, source: PurePosixPath, cancel: CancelToken | None) -> Iterator[tuple[PurePosixPath, int]]:
    """Yield path and size of every file that a source on the volume holds."""
    found = None if source == _ROOT else store.stat(source)
    if found is None and source != _ROOT:
        raise UsageError(f"The farm's volume has nothing named {source}. Look around with: cloud-farm store ls")
    if found is not None and not found.is_dir:
        yield source, found.size
        return
    folders = [source]
    while folders:
        listed: dict[PurePosixPath, tuple[StoreEntry, ...]] = {}
        for_each(folders, partial(_list_into, listed, store), workers=store.connections, cancel=cancel)
        found_here = [(folder / entry.name, entry) for folder in folders for entry in listed[folder]]
        yield from ((path, entry.size) for path, entry in found_here if not entry.is_dir)
        folders = [path for path, entry in found_here if entry.is_dir]


def _list_into(
    listed: dict[PurePosixPath, tuple[StoreEntry, ...]], store: Store, folder: PurePosixPath, _stop: CancelToken
) -> None:
    listed[folder] = store.list(folder)


def _sizes_there(store: Store, copies: Sequence[Copy], cancel: CancelToken | None) -> dict[Copy, int]:
    """Tell the sizes of the files that lie on the volume in the places of copies."""
    folders = sorted({copy.there.parent for copy in copies})
    listed: dict[PurePosixPath, tuple[StoreEntry, ...]] = {}
    for_each(folders, partial(_list_into, listed, store), workers=store.connections, cancel=cancel)
    found = {folder / entry.name: entry for folder in folders for entry in listed[folder]}
    if in_the_way := [copy.there for copy in copies if copy.there in found and found[copy.there].is_dir]:
        raise UsageError(
            f"{in_the_way[0]} is a folder on the volume; it does not make way for a file. Rename one of them."
        )
    return {copy: found[copy.there].size for copy in copies if copy.there in found}


def _size_here(path: Path) -> int | None:
    """Tell the size of a file of this computer; None if its place is free."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.") from error
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is a folder or a link; it does not make way for a file. Rename it.")
    return found.st_size


def _refuse_twins(names: Sequence[str]) -> None:
    """Refuse two files for one place.

    Raises:
        UsageError: There are such.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"Two of the files would become {name}. Copy them one after the other, with --to.")
        seen.add(name)


def _plan(
    store: Store, copies: Sequence[Copy], target_sizes: Mapping[Copy, int], left_out: Sequence[str],
    on_event: Listener, cancel: CancelToken | None,
) -> CopyPlan:  # fmt: skip
    """Sort copies by what is in their places; what has the same size is compared by its hash."""
    alike = [copy for copy in copies if target_sizes.get(copy) == copy.size]
    same: set[Copy] = set()
    if alike:
        on_event(Stage("checking", f"Comparing {counted(len(alike), 'file')}"))

    def compare(copy: Copy, stop: CancelToken) -> None:
        if file_sha256(copy.here, stop) == store.sha256(copy.there):
            same.add(copy)

    for_each(alike, compare, workers=store.connections, cancel=cancel)
    return CopyPlan(
        new=tuple(copy for copy in copies if copy not in target_sizes),
        replaced=tuple(copy for copy in copies if copy in target_sizes and copy not in same),
        unchanged=tuple(copy for copy in copies if copy in same),
        left_out=tuple(left_out),
    )


def _carry_out(
    store: Store, plan: CopyPlan, direction: str, work: Callable[[Copy, Progress], None], on_event: Listener,
    cancel: CancelToken | None,
) -> None:  # fmt: skip
    copies = sorted((*plan.new, *plan.replaced), key=lambda copy: copy.size)
    meter = TransferMeter(direction, on_event, files=len(copies), size=plan.size)

    def one(copy: Copy, stop: CancelToken) -> None:
        work(copy, meter.progress(copy.there.name, stop))
        meter.finished(copy.there.name)

    for_each(copies, one, workers=store.connections, cancel=cancel)


def _refuse(taken: Iterable[object]) -> None:
    """Refuse to overwrite.

    Raises:
        UsageError: There is something to overwrite.
    """
    names = [str(name) for name in taken]
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise UsageError(
            f"Other files are there already: {', '.join(names[:_SHOWN])}{more}. Nothing was overwritten. Replace them with"
            " --replace, or choose another place with --to."
        )

"""Cleans up a volume: looks what is there, has `gc.py` plan, and carries the plan out so that no job loses a file.

A job may be submitted while we work: its job.json comes first, then it looks which assets are there. So we move a few
assets, then look for new jobs, and bring back what one of them names. Whoever comes later finds the asset gone and sends it.
A clean-up that is killed in between leaves an asset in the trash that a job needs; the next one brings it back first.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from .errors import ExistsError, NotFoundError, StoreError, StoreUnreachableError, UsageError
from .events import CancelToken, Listener, Stage, ignore
from .gc import Claim, GcPlan, Item, Survey, TrashEntry, claim_of, trashed_asset
from .layout import ASSETS, JOBS, PART, TRASH, JobLayout, asset
from .status import FINAL_STATES
from .stores import Store, StoreEntry

if TYPE_CHECKING:
    from .farm import Farm

_BATCH = 64
_FRESH_SECONDS = 30.0
"""How old our knowledge of the jobs may be when something is moved: a computer may fall asleep at any place."""
_PATIENCE_SECONDS, _LOOK_SECONDS = 60.0, 0.2
_CLOCK = re.compile(r"\.?clock-[0-9a-f]{8,16}\.part")
_ASSETS_IN_TRASH, _UNFINISHED_IN_TRASH = "assets", "unfinished"


@dataclass(frozen=True)
class Collected:
    """What a clean-up did.

    Attributes:
        restored: How many assets came back from the trash.
        assets: What went to the trash; less than was planned where a job came for one, or we were interrupted.
    """

    restored: int
    assets: tuple[Item, ...]
    unfinished: tuple[Item, ...]
    emptied: tuple[TrashEntry, ...]


class Claims:
    """What all jobs of a volume need. Jobs are only added: one that is deleted meanwhile keeps its files a while longer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Claim] = {}
        self._assets: set[str] = set()
        self._read_at = 0.0

    @property
    def all(self) -> tuple[Claim, ...]:
        """The claim of each job."""
        return tuple(self._known.values())

    @property
    def problems(self) -> bool:
        """Whether of some job it can't be known."""
        return any(claim.problem for claim in self._known.values())

    @property
    def age(self) -> float:
        """Seconds since we looked last; by the clock that goes on while the computer sleeps."""
        return time.time() - self._read_at

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._assets

    def refresh(self) -> None:
        """Read the job.json of every job that is new.

        Raises:
            StoreError: The jobs can't be listed.
        """
        now, read_at = self._store.server_time(), time.time()
        entries = [entry for entry in self._store.list(JOBS) if entry.is_dir and not self._is_known(entry.name)]
        with ThreadPoolExecutor(self._store.connections) as pool:
            claims = list(pool.map(lambda entry: self._read(entry, now), entries))
        for claim in claims:
            self._known[claim.job_id] = claim
            self._assets |= claim.assets
        self._read_at = read_at

    def _is_known(self, job_id: str) -> bool:
        return job_id in self._known and self._known[job_id].is_final

    def _read(self, entry: StoreEntry, now: float) -> Claim:
        try:
            raw = self._store.read(JobLayout(entry.name).job_json)
        except NotFoundError:
            if not self._store.list(JOBS / entry.name):
                return Claim(entry.name, is_final=False)  # deleted just now, or never begun
            return claim_of(entry.name, None, age=now - entry.mtime)
        except StoreUnreachableError:
            raise
        except StoreError as error:
            return Claim(entry.name, problem=f"The job.json of {entry.name} can't be read: {error}")
        return claim_of(entry.name, raw, age=now - entry.mtime)


class Collector:
    """Looks after one volume.

    Args:
        is_over: Tells by its id whether nothing of a job runs any more or ever will by itself.
    """

    def __init__(self, store: Store, is_over: Callable[[str], bool]) -> None:
        self._store = store
        self._is_over = is_over
        self._claims = Claims(store)

    # -- look -------------------------------------------------------------------------------------------------------

    def survey(self) -> Survey:
        """Look what lies on the volume; the jobs first, for what a job names must count even if it comes while we look."""
        self._claims.refresh()
        now = self._store.server_time()
        assets = tuple(self._assets())
        trash = tuple(self._trash_entry(entry) for entry in self._store.list(TRASH) if entry.is_dir)
        leftovers = tuple(self._leftovers())
        self._claims.refresh()
        return Survey(now, self._claims.all, assets, leftovers, trash)

    def _assets(self) -> Iterator[Item]:
        top = self._store.list(ASSETS, unfinished=True)
        yield from (_item(ASSETS, entry) for entry in top if not entry.is_dir)
        for folder, entries in self._listed([ASSETS / entry.name for entry in top if entry.is_dir]):
            yield from (_item(folder, entry) for entry in entries)

    def _leftovers(self) -> Iterator[Item]:
        """Unfinished things in the folders of jobs that are over, and tries of a clock that nobody removed."""
        root = PurePosixPath()
        yield from (_item(root, e) for e in self._store.list(root, unfinished=True) if _CLOCK.fullmatch(e.name))
        jobs = [JOBS / entry.name for entry in self._store.list(JOBS) if entry.is_dir]
        for folder, entries in self._listed(jobs):
            parts = [entry for entry in entries if entry.name.endswith(PART)]
            if parts and (len(parts) == len(entries) or self._is_over(folder.name)):
                yield from (self._measured(_item(folder, entry), entry) for entry in parts)

    def _trash_entry(self, entry: StoreEntry) -> TrashEntry:
        files = [(path, found) for path, found in self._store.walk(TRASH / entry.name) if not found.is_dir]
        assets = {
            sha256: path
            for path, _ in files
            if path.parent.name == _ASSETS_IN_TRASH and (sha256 := trashed_asset(path.name))
        }
        item = Item(TRASH / entry.name, sum(found.size for _, found in files), entry.mtime)
        return TrashEntry(item, len(files), assets)

    def _measured(self, item: Item, entry: StoreEntry) -> Item:
        """Add the size of what is in a folder, and take the time of what was changed last in it."""
        if not entry.is_dir:
            return item
        inside = [found for _, found in self._store.walk(item.path)]
        newest = max((found.mtime for found in inside), default=item.mtime)
        return Item(item.path, sum(found.size for found in inside), max(item.mtime, newest))

    def _listed(self, folders: Iterable[PurePosixPath]) -> Iterator[tuple[PurePosixPath, tuple[StoreEntry, ...]]]:
        folders = list(folders)
        with ThreadPoolExecutor(self._store.connections) as pool:
            yield from zip(folders, pool.map(lambda f: self._store.list(f, unfinished=True), folders), strict=True)

    # -- do ---------------------------------------------------------------------------------------------------------

    def collect(self, plan: GcPlan, *, on_event: Listener = ignore, cancel: CancelToken | None = None) -> Collected:
        """Carry a plan out; set, `cancel` ends it at the next safe place.

        Raises:
            StoreError: The volume does not let us. What was done so far is safe.
        """
        cancel = cancel or CancelToken()
        self._restore(plan.restore)
        assets = self._take_assets(plan.assets, on_event, cancel)
        unfinished: list[Item] = []
        emptied: list[TrashEntry] = []
        for item in plan.unfinished if not cancel.cancelled else ():
            if self._store.trash(item.path, job_id=_UNFINISHED_IN_TRASH) is not None:
                unfinished.append(item)
        for entry in plan.emptied:
            if cancel.cancelled:
                break
            on_event(Stage("cleaning", f"Emptying the trash of {entry.name}"))
            self._store.empty_trash(entry.name)
            emptied.append(entry)
        return Collected(len(plan.restore), tuple(assets), tuple(unfinished), tuple(emptied))

    def _restore(self, wanted: Mapping[str, PurePosixPath]) -> None:
        """Bring back what jobs need; returns when it is in its place, whoever put it there: then its trash may be emptied.

        Raises:
            StoreError: It does not come.
        """
        for sha256, path in wanted.items():
            self._bring_back(path, sha256)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for sha256 in wanted:
            while self._store.stat(asset(sha256)) is None:
                if time.monotonic() > deadline:
                    raise StoreError(f"{wanted[sha256]} is needed by a job but can't be brought back. Try again.")
                time.sleep(_LOOK_SECONDS)

    def _bring_back(self, path: PurePosixPath, sha256: str) -> None:
        """Where another clean-up is at it, or it was sent again, we leave it to them: who moves it then brings it back."""
        with contextlib.suppress(NotFoundError, ExistsError):
            self._store.move(path, asset(sha256))

    def _take_assets(self, items: Sequence[Item], on_event: Listener, cancel: CancelToken) -> list[Item]:
        """Move assets to the trash, a few at a time; after each few, what a new job names comes back."""
        taken: list[Item] = []
        self._claims.refresh()
        for start in range(0, len(items), _BATCH):
            if cancel.cancelled or self._claims.problems:
                break
            on_event(Stage("cleaning", f"Moving assets to the trash: {start:,} of {len(items):,}"))
            moved: dict[Item, PurePosixPath] = {}
            try:
                self._move(items[start : start + _BATCH], moved)
            finally:
                self._claims.refresh()
                self._give_back(moved)
            taken.extend(moved)
        return taken

    def _move(self, items: Sequence[Item], moved: dict[Item, PurePosixPath]) -> None:
        def move(item: Item) -> None:
            if item.path.name in self._claims or not 0 <= self._claims.age < _FRESH_SECONDS:
                return
            kept = self._store.trash(item.path, job_id=_ASSETS_IN_TRASH)
            if kept is not None:
                moved[item] = kept

        with ThreadPoolExecutor(self._store.connections) as pool:
            list(pool.map(move, items))

    def _give_back(self, moved: dict[Item, PurePosixPath]) -> None:
        """Bring back what a job needs; all of it if a new job can't be understood."""
        for item, path in list(moved.items()):
            if self._claims.problems or item.path.name in self._claims:
                self._bring_back(path, item.path.name)
                del moved[item]


def collector_of(farm: Farm) -> Collector:
    """Return what cleans up a farm's volume: assets that no job needs, unfinished uploads, old trash."""

    def is_over(job_id: str) -> bool:
        try:
            return farm.status(job_id).state in FINAL_STATES
        except UsageError:
            return False  # nobody understands the job, so nobody knows

    return Collector(farm.store, is_over)


def _item(folder: PurePosixPath, entry: StoreEntry) -> Item:
    return Item(folder / entry.name, entry.size, entry.mtime)

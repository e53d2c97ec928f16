"""Bringing assets to the volume: what is there is proven, what is missing is sent, and at the end all of it is looked at again.

The volume keeps assets by their hash, so nobody needs to be first: two who send the same one write the same bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath

from .asset_trust import AssetTrust
from .assets import Asset
from .errors import NotFoundError, StoreError
from .events import CancelToken, FindingFound, Listener, PauseSwitch, Stage, counted, ignore
from .job import Finding
from .json_data import to_json
from .layout import ASSETS, asset
from .parallel import for_each
from .stores import Store, StoreEntry
from .transfer import TransferMeter

_ROUNDS = 3
"""How often what vanished from the volume meanwhile is sent again."""


_LARGE, _LARGE_AT_A_TIME = 16 << 20, 4
"""Few large files at a time are done earlier: one that is half there when the line breaks for long begins anew."""
_LOOK_SECONDS = 0.1
_MOST_LISTINGS = 128
"""With more of the 256 folders of assets the whole tree is listed by one request: from here on that is fewer bytes, too."""


class Delivery:
    """Brings the assets of one job to a volume.

    Attributes:
        findings: Assets on the volume that were not what their names said; they are replaced.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_event: Listener = ignore,
        cancel: CancelToken | None = None,
        pause: PauseSwitch | None = None,
    ) -> None:
        self._store = store
        self._trust = AssetTrust(store.volume)
        self._on_event = on_event
        self._cancel = cancel
        self._pause = pause
        self._sent: set[str] = set()
        self.findings: list[Finding] = []

    def missing(self, assets: Mapping[str, Asset]) -> dict[str, Asset]:
        """Tell what the volume lacks: absent, of another size, or of other bytes than its name says.

        What neither we nor an earlier submission verified is hashed by the server.
        """
        there = find_assets(self._store, assets)
        doubtful: dict[str, StoreEntry] = {}
        broken: set[str] = set()
        for sha256, entry in there.items():
            if entry.is_dir or entry.size != assets[sha256].size:
                broken.add(sha256)
            elif sha256 in self._sent:  # verified by the store before it got its name
                self._trust.add(sha256, entry)
                self._sent.discard(sha256)
            elif not self._trust.knows(sha256, entry):
                doubtful[sha256] = entry
        gone = self._prove(doubtful, broken)
        for sha256 in sorted(broken):
            self._report(assets[sha256])
        self._trust.save()
        return {sha256: item for sha256, item in assets.items() if sha256 not in there or sha256 in broken | gone}

    def send(self, assets: Mapping[str, Asset]) -> None:
        """Send assets, several at a time, each verified before it gets its name.

        Raises:
            HashMismatchError: A file changed since it was packed.
            StoreError: The volume does not take it.
            Cancelled: The user gave up.
        """
        meter = TransferMeter(
            "upload",
            self._on_event,
            files=len(assets),
            size=sum(item.size for item in assets.values()),
            pause=self._pause,
        )

        room = threading.Semaphore(_LARGE_AT_A_TIME)

        def send_one(item: Asset, stop: CancelToken) -> None:
            with _place_for(item, room, stop):
                progress = meter.progress(item.label, stop)
                self._store.put(item.content(), asset(item.sha256), sha256=item.sha256, progress=progress)
            self._sent.add(item.sha256)
            meter.finished(item.label)

        for_each(
            sorted(assets.values(), key=lambda item: item.size),
            send_one,
            workers=self._store.connections,
            cancel=self._cancel,
            from_end=_LARGE_AT_A_TIME,
        )

    def settle(self, assets: Mapping[str, Asset]) -> None:
        """Look once more whether all is there, and send again what a clean-up took away meanwhile.

        Raises:
            StoreError: It vanishes as fast as it is sent.
        """
        for _ in range(_ROUNDS):
            missing = self.missing(assets)
            if not missing:
                return
            self._on_event(Stage("uploading", f"{counted(len(missing), 'file')} went missing meanwhile; sending again"))
            self.send(missing)
        if self.missing(assets):
            raise StoreError(
                "Files vanish from the farm's volume as fast as they are sent. Something cleans up cloud-farm/assets: stop it,"
                " then submit again."
            )

    def _prove(self, doubtful: Mapping[str, StoreEntry], broken: set[str]) -> set[str]:
        """Have the server hash what nobody of ours verified; returns what vanished meanwhile, adds to `broken`."""
        gone: set[str] = set()
        if doubtful:
            self._on_event(Stage("checking", f"Checking {counted(len(doubtful), 'file')} that others sent"))

        def prove(sha256: str, _stop: CancelToken) -> None:
            try:
                found = self._store.sha256(asset(sha256))
            except NotFoundError:
                gone.add(sha256)
                return
            if found == sha256:
                self._trust.add(sha256, doubtful[sha256])
            else:
                broken.add(sha256)

        for_each(sorted(doubtful), prove, workers=self._store.connections, cancel=self._cancel)
        return gone

    def _report(self, item: Asset) -> None:
        finding = Finding(
            "asset_corrupted",
            "warning",
            f"{item.label} on the farm's volume was not what was sent once (asset {item.sha256[:12]}); it is sent again.",
            path=item.label,
            fix="If it happens again, check the volume's disks, and who else writes there.",
        )
        self.findings.append(finding)
        self._on_event(FindingFound(**to_json(finding)))


@contextmanager
def _place_for(item: Asset, room: threading.Semaphore, stop: CancelToken) -> Iterator[None]:
    """Let only a few large files through at a time.

    Raises:
        Cancelled: `stop` was set meanwhile.
    """
    if item.size < _LARGE:
        yield
        return
    while not room.acquire(timeout=_LOOK_SECONDS):
        stop.raise_if_cancelled()
    try:
        yield
    finally:
        room.release()


def find_assets(store: Store, wanted: Collection[str]) -> dict[str, StoreEntry]:
    """Describe those of the wanted assets that the volume has, by few requests."""
    folders = {asset(sha256).parent for sha256 in wanted}
    if len(folders) > _MOST_LISTINGS:
        tree = ((path, entry) for path, entry in store.walk(ASSETS) if path.name in wanted)
        return {path.name: entry for path, entry in tree if path == asset(path.name)}
    found: dict[str, StoreEntry] = {}

    def look(folder: PurePosixPath, _stop: CancelToken) -> None:
        found.update({entry.name: entry for entry in store.list(folder) if entry.name in wanted})

    for_each(sorted(folders), look, workers=store.connections)
    return found

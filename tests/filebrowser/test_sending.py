"""Bringing a job's files through a real FileBrowser: only what is missing, proven, bounded, resumed; and what it costs."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from cloud_farm.assets import Asset
from cloud_farm.delivery import Delivery
from cloud_farm.errors import Cancelled, HashMismatchError, StoreError
from cloud_farm.events import CancelToken, Event, FindingFound, PauseSwitch, Transfer
from cloud_farm.history import SUBMITTED, read_history
from cloud_farm.layout import JobLayout, asset
from cloud_farm.profile import FarmProfile
from cloud_farm.sending import send
from cloud_farm.stores import Store, open_store

from ..backend.prepared_jobs import make_assets, prepare, sha256
from ..rigs.fault_proxy import FaultProxy
from .clients import MIB, Door, content, until

_SPAWN = multiprocessing.get_context("spawn")


def small_files(count: int, size: int = 4096) -> dict[str, bytes]:
    return {f"tex/{number:05d}.png": content(size, number) for number in range(count)}


def deliver(store: Store, assets: dict[str, Asset], **more: object) -> Delivery:
    delivery = Delivery(store, **more)  # type: ignore[arg-type]
    delivery.send(delivery.missing(assets))
    delivery.settle(assets)
    return delivery


def verbs(line: FaultProxy) -> Counter[str]:
    """How many requests of each kind went over the line: POST part, GET checksum, PATCH rename …"""
    return Counter(_verb(text) for text in line.requests)


def _verb(text: str) -> str:
    method, path = text.split()[:2]
    kinds = {"checksum=": "checksum", "action=rename": "rename", "resources/recursive/": "tree", "/api/tus/": "tus"}
    found = next((kind for mark, kind in kinds.items() if mark in path), path.removeprefix("/api").split("/")[1])
    return f"{method} {found}"


# -- what it costs ------------------------------------------------------------------------------------------------------


def test_a_small_asset_costs_three_requests(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    store = door.at(line.url).open()
    store.list(FOLDERLESS)
    line.requests.clear()
    delivery, assets = Delivery(store), make_assets(tmp_path / "scene", small_files(40))
    delivery.send(assets)
    assert verbs(line) == {"POST resources": 40, "GET checksum": 40, "PATCH rename": 40}
    delivery.settle(assets)
    assert {path.name for path in door.root.rglob("*") if path.is_file()} == set(assets)


def test_what_is_there_is_not_sent_and_not_hashed_again(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    assets = make_assets(tmp_path / "scene", small_files(300))
    deliver(door.open(), assets)
    line.requests.clear()
    deliver(door.at(line.url).open(), assets)  # the same volume by another address: the first time it is proven once
    assert verbs(line)["GET checksum"] == 300
    line.requests.clear()
    before = line.bytes_up
    deliver(door.at(line.url).open(), assets)
    asked = verbs(line)
    assert asked["GET tree"] == 2, "one look before, one after"
    assert asked.total() - asked["GET tree"] <= 3, f"not only the login: {asked}"
    assert line.bytes_up - before < 6000


def test_few_files_are_looked_up_in_their_folders(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    assets = make_assets(tmp_path / "scene", small_files(20))
    deliver(door.open(), assets)
    store = door.at(line.url).open()
    store.list(FOLDERLESS)
    line.requests.clear()
    delivery = Delivery(store)
    assert delivery.missing(assets) == {}
    assert verbs(line)["GET resources"] == len({sha[:2] for sha in assets})
    assert verbs(line)["GET tree"] == 0


def test_ten_thousand_tiny_files(door: Door, tmp_path: Path) -> None:
    events: list[Event] = []
    assets = make_assets(tmp_path / "scene", {f"cache/{n:05d}.bphys": n.to_bytes(4, "big") * 8 for n in range(10_000)})
    store = door.open()
    deliver(store, assets, on_event=events.append)
    found = {path.name: path.stat().st_size for path in door.root.rglob("*") if path.is_file()}
    assert found == dict.fromkeys(assets, 32)
    told = [event for event in events if isinstance(event, Transfer)]
    assert (told[-1].done_files, told[-1].total_files, told[-1].done_bytes) == (10_000, 10_000, 320_000)
    assert len(told) < 2000, "an event for each file"
    assert deliver(store, assets).findings == []


# -- trust --------------------------------------------------------------------------------------------------------------


def test_an_asset_of_others_is_hashed_by_the_server_once(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    assets = make_assets(tmp_path / "scene", small_files(3))
    for sha, item in assets.items():
        put_on_disk(door, sha, (tmp_path / "scene" / item.label).read_bytes())
    store = door.at(line.url).open()
    for expected in (3, 3):
        delivery = deliver(store, assets)
        assert delivery.findings == []
        assert verbs(line)["GET checksum"] == expected
    assert verbs(line)["POST resources"] == 0


@pytest.mark.parametrize("damage", [b"other bytes of the length", b"short", b""], ids=["same size", "short", "empty"])
def test_a_damaged_asset_is_replaced_and_reported(door: Door, tmp_path: Path, damage: bytes) -> None:
    events: list[Event] = []
    assets = make_assets(tmp_path / "scene", {"tex/wood.png": b"the bytes that it had", "b.png": b"b"})
    sha = sha256(b"the bytes that it had")
    place = put_on_disk(door, sha, damage.ljust(21, b"!") if len(damage) > 20 else damage)
    delivery = deliver(door.open(), assets, on_event=events.append)
    assert place.read_bytes() == b"the bytes that it had"
    assert [(found.code, found.severity, found.path) for found in delivery.findings] == [
        ("asset_corrupted", "warning", "tex/wood.png")
    ]
    assert [event.code for event in events if isinstance(event, FindingFound)] == ["asset_corrupted"]


def test_damage_after_the_first_submission_is_seen_by_the_next(door: Door, tmp_path: Path) -> None:
    assets = make_assets(tmp_path / "scene", small_files(2))
    store = door.open()
    deliver(store, assets)
    sha = next(iter(assets))
    put_on_disk(door, sha, b"\0" * 4096)
    assert [found.path for found in deliver(store, assets).findings] == [assets[sha].label]
    assert sha256(door.on_disk(asset(sha)).read_bytes()) == sha


# -- what others do meanwhile -------------------------------------------------------------------------------------------


def test_what_a_clean_up_takes_between_is_sent_again(door: Door, tmp_path: Path) -> None:
    assets = make_assets(tmp_path / "scene", small_files(4))
    store = door.open()
    deliver(store, assets)
    delivery = Delivery(store)
    assert delivery.missing(assets) == {}
    taken = list(assets)[:2]
    for sha in taken:
        store.trash(asset(sha), job_id="shot-20261123-abc123")
    delivery.settle(assets)
    assert all(door.on_disk(asset(sha)).exists() for sha in taken)
    assert delivery.findings == []


def test_what_vanishes_again_and_again_ends_with_a_sentence(door: Door, tmp_path: Path) -> None:
    class Unlucky(Delivery):
        def missing(self, assets: Mapping[str, Asset]) -> dict[str, Asset]:
            for sha in assets:
                door.on_disk(asset(sha)).unlink(missing_ok=True)
            return super().missing(assets)

    with pytest.raises(StoreError, match="vanish"):
        Unlucky(door.open()).settle(make_assets(tmp_path / "scene", small_files(2)))


def test_a_file_that_changes_while_it_is_sent(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    assets = make_assets(tmp_path / "scene", {"big.vdb": content(6 * MIB)})
    seen: list[Event] = []

    def change(event: Event) -> None:
        if isinstance(event, Transfer) and not seen:
            seen.append(event)
            with open(tmp_path / "scene" / "big.vdb", "r+b") as stream:
                stream.write(b"changed")

    with pytest.raises(HashMismatchError, match=r"big.vdb changed while it was sent"):
        deliver(door.at(line.url).open(), assets, on_event=change)
    assert door.files() == [], "an unfinished file stayed"


def _deliver(profile: FarmProfile, assets: dict[str, Asset], pipe: Connection) -> None:
    store = open_store(profile)
    pipe.send("ready")
    pipe.recv()
    found = deliver(store, assets).findings
    pipe.send(len(found))


def test_programs_that_send_the_same_scene_are_all_right(door: Door, tmp_path: Path) -> None:
    contents = {**small_files(60, 9000), "big.vdb": content(9 * MIB)}
    assets = make_assets(tmp_path / "scene", contents)
    pipes, processes = [], []
    for _ in range(3):
        ours, theirs = _SPAWN.Pipe()
        processes.append(_SPAWN.Process(target=_deliver, args=(door.profile, assets, theirs)))
        processes[-1].start()
        pipes.append(ours)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 3
    for pipe in pipes:
        pipe.send("go")
    assert [pipe.recv() for pipe in pipes] == [0, 0, 0], "somebody took another's asset for a damaged one"
    for process in processes:
        process.join(60)
    assert {path.name: sha256(path.read_bytes()) for path in door.root.rglob("*") if path.is_file()} == {
        sha: sha for sha in assets
    }


# -- ended, killed, halted, slowed --------------------------------------------------------------------------------------


def once_half(token: CancelToken) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        if isinstance(event, Transfer) and event.done_files * 2 >= event.total_files:
            token.cancel()

    return listen


def test_a_cancelled_submission_leaves_no_job_and_the_next_sends_only_the_rest(
    door: Door, line: FaultProxy, tmp_path: Path
) -> None:
    contents = {"shot.blend": content(5 * MIB), **small_files(200, 30_000)}
    store, cancel = door.at(line.url, bytes_per_second=20e6).open(), CancelToken()
    with pytest.raises(Cancelled):
        send(prepare(tmp_path / "scene", contents), store, cancel=cancel, on_event=once_half(cancel))
    assert not list(door.root.glob("cloud-farm/jobs/*")), "nobody submitted it, so it has to go"
    there = sum(path.stat().st_size for path in door.root.glob("cloud-farm/assets/*/*"))
    assert there > 0
    before = line.bytes_up
    ready = prepare(tmp_path / "scene", contents)
    send(ready, door.at(line.url).open())
    assert line.bytes_up - before < sum(map(len, contents.values())) - there + 1_200_000, "it was sent again"
    events = read_history(store, ready.plan.job_id)
    assert [event.kind for event in events] == [SUBMITTED]


def _send(profile: FarmProfile, folder: Path, contents: dict[str, bytes]) -> None:
    send(prepare(folder, contents), open_store(profile))


def test_a_killed_submission_leaves_what_it_sent(door: Door, tmp_path: Path) -> None:
    contents = {"shot.blend": content(3 * MIB), **small_files(300, 20_000)}
    slow = door.at(door.url, bytes_per_second=8e6)
    process = _SPAWN.Process(target=_send, args=(slow.profile, tmp_path / "scene", contents))
    process.start()
    until(lambda: len(list(door.root.glob("cloud-farm/assets/*/*"))) > 60, "the first files")
    process.kill()
    process.join(60)
    before = {path: path.stat().st_ino for path in door.root.glob("cloud-farm/assets/*/*") if path.suffix != ".part"}
    ready = prepare(tmp_path / "scene", contents)
    send(ready, door.open())
    assert {path: path.stat().st_ino for path in before} == before, "what was there was sent again"
    assert len(list(door.root.glob("cloud-farm/jobs/*"))) == 2, "the killed one is still there, to be deleted"


def test_a_pause_halts_and_keeps_the_upload_alive(
    door: Door, line: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_farm.stores.filebrowser_upload._SIGN_OF_LIFE_SECONDS", 0.1)
    assets = make_assets(tmp_path / "scene", {"a.vdb": content(12 * MIB)})
    pause, paused = PauseSwitch(), threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, Transfer) and event.done_bytes > 2 * MIB and not paused.is_set():
            pause.pause()
            paused.set()

    store = door.at(line.url, bytes_per_second=16e6).open()
    thread = threading.Thread(target=lambda: deliver(store, assets, on_event=listen, pause=pause) and None)
    thread.start()
    assert paused.wait(60)
    time.sleep(0.3)  # what was on its way arrives
    sent, asked = line.bytes_up, verbs(line)["GET tus"]
    until(lambda: verbs(line)["GET tus"] >= asked + 3, "signs of life")
    assert line.bytes_up - sent < 50_000, "it went on"
    pause.resume()
    thread.join(120)
    assert {path.name for path in door.root.rglob("*") if path.is_file()} == set(assets)


def test_the_limit_holds_for_all_connections_together(door: Door, tmp_path: Path) -> None:
    assets = make_assets(tmp_path / "scene", {f"{n}.png": content(500_000, n) for n in range(8)})
    began = time.monotonic()
    deliver(door.at(door.url, bytes_per_second=2e6, connections=8).open(), assets)
    assert time.monotonic() - began >= 4e6 / 2e6 - 0.3


def test_never_more_connections_than_wanted(door: Door, line: FaultProxy, tmp_path: Path) -> None:
    most = 0

    def listen(_event: Event) -> None:
        nonlocal most
        most = max(most, line.open_connections)

    assets = make_assets(tmp_path / "scene", {**small_files(100), "a": content(9 * MIB), "b": content(9 * MIB, 2)})
    deliver(door.at(line.url, connections=3).open(), assets, on_event=listen)
    assert 0 < most <= 3 + 2, "a large file may have a second one for its sign of life"


def put_on_disk(door: Door, sha: str, data: bytes) -> Path:
    """What another program, or a bad disk, left on the volume."""
    place = door.on_disk(asset(sha))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.write_bytes(data)
    return place


FOLDERLESS = JobLayout("shot-20261123-abc123").folder
"""Any path, to be logged in before requests are counted."""

"""Names that are awkward in addresses come through, directly and through a proxy that decodes and encodes them anew."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from cloud_farm.errors import StoreError

from ..rigs.filebrowser_server import FileBrowserServer
from ..rigs.reverse_proxy import Nginx
from .clients import FOLDER, MIB, Door, content

NAMES = [
    "a%2541%252F", "a%2Fb", "%", "%%", "100%", "a#b", "?", "a?b=c&d", "+", "a+b c", "a;b,c", "🎬 take 1.blend", "日" * 85,
    "x" * 255, "x" * 240 + ".blend", "trailing.", "trailing...", "trailing ", " leading", "new\nline", "tab\tcr\r",
    "back\\slash", "col:on", "~", "'\"`", "<|>*", "$(id)", "-rf", "con", "recursive", "x.part.blend", "a.claim", "\u202egpj.exe",
]  # fmt: skip


@pytest.fixture(scope="module")
def gate(server: FileBrowserServer) -> Iterator[Nginx]:
    """A proxy that takes a prefix away, for which it must understand the path."""
    with Nginx(server.url, prefix="/farm/", strip_prefix=True) as running:
        yield running


@pytest.fixture(params=["direct", "through nginx"])
def way(request: pytest.FixtureRequest, door: Door, gate: Nginx) -> Door:
    return door if request.param == "direct" else door.at(gate.url)


def names(door: Door, folder: PurePosixPath) -> list[str]:
    return sorted(path.name for path in door.on_disk(folder).iterdir())


def test_awkward_names_are_kept_by_all_calls(way: Door, tmp_path: Path) -> None:
    store = way.open()
    for number, name in enumerate(NAMES):
        data = content(100 + number)
        path = FOLDER / "in" / name
        assert store.put(data, path), name
        assert store.put(data, path), "the second one renames over the first"
        assert store.read(path) == data, name
        store.get(path, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data, name
        entry = store.stat(path)
        assert entry is not None and entry.name == name
    assert names(way, FOLDER / "in") == sorted(NAMES)
    assert [entry.name for entry in store.list(FOLDER / "in")] == sorted(NAMES)
    for name in NAMES:
        store.move(FOLDER / "in" / name, FOLDER / "out" / name)
    assert (names(way, FOLDER / "in"), names(way, FOLDER / "out")) == ([], sorted(NAMES))
    for name in NAMES[:5]:
        store.trash(FOLDER / "out" / name, job_id="shot")
    assert names(way, FOLDER / "out") == sorted(NAMES[5:])


def test_awkward_folders(way: Door) -> None:
    store = way.open()
    for name in NAMES:
        assert store.put(b"x", FOLDER / name / name / "x"), name
        assert [entry.name for entry in store.list(FOLDER / name / name)] == ["x"]
    assert names(way, FOLDER) == sorted(NAMES)


def test_new_names_and_large_files_too(way: Door) -> None:
    """They go by other requests: claims, and pieces."""
    store, data = way.open(), content(5 * MIB)
    awkward = ["a%2541#?+ 100%", "new\nline 🎬", "日" * 85, "trailing. "]
    for name in awkward:
        assert store.put(b"first", FOLDER / name, if_absent=True), name
        assert not store.put(b"second", FOLDER / name, if_absent=True), name
        assert store.put(data, FOLDER / name), name
        assert store.read(FOLDER / name, start=MIB, length=100) == data[MIB : MIB + 100]
    assert names(way, FOLDER) == sorted(awkward)


def test_two_spellings_of_one_name_are_two_files(way: Door) -> None:
    """As on every Linux volume; which one a path means is the business of who makes paths."""
    store = way.open()
    spellings = [unicodedata.normalize(form, "é" * 20) for form in ("NFC", "NFD")]
    for name in spellings:
        store.put(name.encode(), FOLDER / name)
    assert names(way, FOLDER) == sorted(spellings)
    for name in spellings:
        assert store.read(FOLDER / name) == name.encode()


@pytest.mark.parametrize(
    ("name", "words"),
    [("x" * 256, "more than 255 bytes"), ("日" * 86, "more than 255 bytes"), ("caf\udce9", "bytes in its name that are no text")],
)  # fmt: skip
def test_names_that_no_volume_takes(door: Door, name: str, words: str) -> None:
    store = door.open()
    for action in (lambda: store.put(b"x", FOLDER / name), lambda: store.read(FOLDER / name)):
        with pytest.raises(StoreError, match=words):
            action()
    assert door.files() == []

"""Contents of a pack: hashes, pieces, what is not read again, what changed meanwhile."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest
import zstandard
from cloud_farm import hashing
from cloud_farm.delta import SMALLEST
from cloud_farm.errors import HashMismatchError, PackingError, StoreError
from cloud_farm.hashing import packed_files
from cloud_farm.job import PackedFile
from cloud_farm.parallel import WORKER
from cloud_farm.profile import FarmProfile
from cloud_farm.submission import _pieces_from
from cloud_farm.tracing import TracedFile

from ..blender.stub_farm import INSIDE
from .blend_bytes import HEADERS, make_blend, random_blocks

import assemble  # isort: skip - a script of inside_blender: stub_farm knows where

SETTLED = sorted(INSIDE.glob("*.py"))
"""Files that nobody wrote in the last seconds."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path


def pack(place: Path, *sources: Path, pieces_from: int | None = 0) -> tuple[PackedFile, ...]:
    traced = [TracedFile(source, source.name) for source in sources]
    return packed_files(traced, workdir=place / "work", pieces_from=pieces_from, cache=place / "hashes.sqlite")


def make_scene(
    place: Path, compression: str = "", *, header: str = "5.x", seed: int = 1, session: int = 0
) -> tuple[Path, bytes]:
    raw = make_blend(random_blocks(seed, 120), header, session=session)
    path = place / f"shot{compression}.blend"
    packed = gzip.compress(raw) if compression == "gzip" else zstandard.compress(raw)
    path.write_bytes(packed if compression else raw)
    return path, raw


def poison(place: Path) -> None:
    """Spoil what is remembered, so that it can be seen whether it is used."""
    with sqlite3.connect(place / "hashes.sqlite") as database:
        database.execute("UPDATE files SET sha256 = ?", ("00" * 32,))
    database.close()


def bytes_of(entry: PackedFile) -> list[bytes]:
    """What is sent for a file, each checked against its name."""
    found = []
    for asset in entry.assets():
        content = asset.content()
        content = content if isinstance(content, bytes) else content.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (asset.size, asset.sha256)
        assert asset.label == entry.path
        found.append(content)
    return found


def put_together(entry: PackedFile, place: Path) -> bytes:
    """What the farm makes of it."""
    folder = place / "assets"
    folder.mkdir(exist_ok=True)
    for asset, content in zip(entry.assets(), bytes_of(entry), strict=True):
        (folder / asset.sha256).write_bytes(content)
    assemble.assemble([folder / part.sha256 for part in entry.parts], entry.size, place / "made")
    return (place / "made").read_bytes()


def test_files_keep_their_order_hashes_and_rights(place: Path) -> None:
    paths = [place / f"{number:03d}.png" for number in range(60)]
    for path in paths:
        path.write_bytes(os.urandom(5000))
    paths[3].chmod(0o755)
    packed = pack(place, *paths)
    assert [entry.path for entry in packed] == [path.name for path in paths]
    assert [entry.sha256 for entry in packed] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert {entry.path for entry in packed if entry.mode == 0o755} == {"003.png"}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_the_farm_makes_the_uncompressed_file_of_the_pieces(place: Path, compression: str, header: str) -> None:
    path, raw = make_scene(place, compression, header=header)
    before = path.read_bytes()
    [entry] = pack(place, path)
    assert len(entry.parts) > 10
    assert (entry.size, entry.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert put_together(entry, place) == raw
    assert path.read_bytes() == before


def test_pieces_do_not_depend_on_how_the_file_was_compressed(place: Path) -> None:
    entries = [pack(place, make_scene(place, compression)[0])[0] for compression in ("", "gzip", "zstd")]
    assert len({entry.sha256 for entry in entries}) == 1
    assert len({tuple(part.sha256 for part in entry.parts) for entry in entries}) == 1


def test_another_session_sends_the_small_strand_alone(place: Path) -> None:
    [first] = pack(place, make_scene(place)[0])
    path, raw = make_scene(place, session=1)
    [again] = pack(place, path)
    new = again.assets()
    sent = sum(part.size for part in new if part.sha256 not in {part.sha256 for part in first.parts})
    assert 0 < sent < 0.05 * len(raw)
    assert put_together(again, place) == raw


def test_what_can_not_be_cut_is_sent_whole(place: Path) -> None:
    path, raw = make_scene(place)
    odd = {
        "short.blend": raw[:-40],
        "torn.blend": zstandard.compress(raw)[:-100],
        "gone.blend": gzip.compress(raw)[:-9000],
        "text.blend": b"no scene " * 1000,
        "newer.blend": b"BLENDER19-02v0700" + raw[17:],
        "cache.abc": raw,
    }
    for name, content in odd.items():
        (place / name).write_bytes(content)
    packed = pack(place, *(place / name for name in odd))
    assert [(entry.parts, entry.sha256) for entry in packed] == [
        ((), hashlib.sha256(c).hexdigest()) for c in odd.values()
    ]
    assert not list((place / "work").rglob("*.blend")), "an unpacked file that nobody needs was left"


def test_what_does_not_pay_is_sent_whole(place: Path) -> None:
    path, _ = make_scene(place)
    assert not pack(place, path, pieces_from=path.stat().st_size + 1)[0].parts
    assert not pack(place, path, pieces_from=None)[0].parts
    repeated = random_blocks(5, 1)[0][1] + os.urandom(300_000)
    path.write_bytes(zstandard.compress(make_blend([(b"DATA", repeated * 3)])))  # zlib does not see that far
    assert not pack(place, path)[0].parts


def test_pieces_are_for_stores_that_are_far() -> None:
    """A folder would have to copy into the scene tree what it can link."""
    assert _pieces_from(FarmProfile("studio", store="filebrowser")) == SMALLEST
    assert _pieces_from(FarmProfile("local", store="folder")) is None


def test_an_unchanged_file_is_not_read_again(place: Path) -> None:
    first = pack(place, *SETTLED)
    poison(place)
    again = pack(place, *SETTLED)
    assert {entry.sha256 for entry in again} == {"00" * 32}
    assert [entry.size for entry in again] == [entry.size for entry in first]


def test_a_file_that_was_just_written_is_read_again(place: Path) -> None:
    path = place / "wood.png"
    path.write_bytes(b"oak")
    pack(place, path)
    kept = path.stat()
    path.write_bytes(b"elm")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert pack(place, path)[0].sha256 == hashlib.sha256(b"elm").hexdigest()


def test_a_file_whose_times_were_set_back_is_read_again(place: Path) -> None:
    """`cp -p`, archives and version control give a new content an old time."""
    path = place / "wood.png"
    shutil.copy2(SETTLED[0], path)
    time.sleep(2.1)
    pack(place, path)
    kept = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert pack(place, path)[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_unchanged_scene_is_not_cut_again(place: Path) -> None:
    path, raw = make_scene(place, "zstd")
    os.utime(path, (1, 1))
    time.sleep(2.1)
    [first] = pack(place, path)
    shutil.rmtree(place / "work")
    (place / "work").mkdir()
    [again] = pack(place, path)
    assert not list((place / "work").iterdir()), "it was unpacked again"
    assert [(part.sha256, part.size) for part in again.parts] == [(part.sha256, part.size) for part in first.parts]
    assert put_together(again, place) == raw


def test_pieces_that_were_packed_once_are_known_in_other_files(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = make_scene(place)
    [first] = pack(place, path)
    path.rename(place / "shot_v002.blend")
    with sqlite3.connect(place / "hashes.sqlite") as database:
        database.execute("UPDATE pieces SET size = 12345")
    database.close()
    [again] = pack(place, place / "shot_v002.blend")
    assert {part.size for part in again.parts[1:]} == {12345}
    monkeypatch.setattr(hashing, "packer", lambda: "another zlib")
    assert [part.size for part in pack(place, place / "shot_v002.blend")[0].parts] == [
        part.size for part in first.parts
    ]


def test_a_file_that_changes_while_it_is_packed_is_refused(place: Path) -> None:
    path = place / "cache.vdb"
    path.write_bytes(bytes(8 << 20))
    done = threading.Event()

    def keep_writing() -> None:
        with open(path, "r+b") as stream:
            while not done.is_set():
                stream.seek(0)
                stream.write(os.urandom(8))
                stream.flush()
                done.wait(0.001)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        with pytest.raises(PackingError, match=r"cache\.vdb changed while it was packed"):
            pack(place, path)
    finally:
        done.set()
        writer.join()


def test_a_scene_that_changed_before_it_was_sent_is_refused(place: Path) -> None:
    path, raw = make_scene(place)
    [entry] = pack(place, path)
    path.write_bytes(bytes(len(raw)))
    with pytest.raises(HashMismatchError, match="changed while it was sent"):
        entry.parts[-1].content()
    path.write_bytes(raw[:1000])
    with pytest.raises(HashMismatchError, match="changed while it was sent"):
        entry.parts[-1].content()
    path.unlink()
    with pytest.raises(StoreError, match="can't be read"):
        entry.parts[-1].content()


def test_where_there_is_no_room_to_unpack_the_file_is_sent_whole(place: Path) -> None:
    path, _ = make_scene(place, "zstd")
    shutil.rmtree(place / "work")
    (place / "work").symlink_to("/proc/self")  # a folder that takes no files, not even from root
    [entry] = pack(place, path)
    assert (entry.parts, entry.sha256) == ((), hashlib.sha256(path.read_bytes()).hexdigest())


def test_an_absent_file_is_named(place: Path) -> None:
    with pytest.raises(PackingError, match=r"nope\.png can't be read"):
        pack(place, *SETTLED, place / "nope.png")
    with pytest.raises(PackingError, match=r"nope\.blend can't be read"):
        pack(place, *SETTLED, place / "nope.blend")


def test_an_interruption_ends_all_threads(place: Path) -> None:
    big = place / "big.vdb"
    with open(big, "wb") as stream:
        stream.truncate(1 << 40)  # many minutes to hash

    def workers() -> int:
        return sum(1 for thread in threading.enumerate() if thread.name == WORKER)

    def interrupt_when_only_the_big_one_is_left() -> None:
        calm = 0
        while calm < 20:
            calm = calm + 1 if workers() == 1 else 0
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_when_only_the_big_one_is_left)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        pack(place, big, *SETTLED)
    watcher.join()
    deadline = time.monotonic() + 60
    while workers():
        assert time.monotonic() < deadline, "it goes on hashing"
        time.sleep(0.01)
    poison(place)
    assert pack(place, *SETTLED)[0].sha256 == "00" * 32, "what was hashed before the interruption is known"

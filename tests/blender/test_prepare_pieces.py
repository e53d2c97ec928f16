"""Files that came in pieces: made again byte by byte, in constant memory, and nonsense is refused with a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from .stub_farm import INSIDE, StubJob, sha256

import assemble  # isort: skip - a script of inside_blender: stub_farm knows where

SMALL = [b"BLENDER head " * 50, b"between" * 9]
LARGE = [bytes(range(256)) * 900, os.urandom(70_000)]
RUNS = [600, 200_000, 50, 100_000, 63, 400]
WHOLE = b"".join(
    (b"".join(SMALL)[:600], b"".join(LARGE)[:200_000], b"".join(SMALL)[600:650], b"".join(LARGE)[200_000:300_000],
     b"".join(SMALL)[650:], b"".join(LARGE)[300_000:])
)  # fmt: skip


def make_recipe(**changes: Any) -> dict[str, Any]:
    sizes = {"small": [len(piece) for piece in SMALL], "large": [len(piece) for piece in LARGE]}
    return {"schema": 1, **sizes, "runs": RUNS, **changes}


class PiecesJob(StubJob):
    """A job with one file in pieces, `big.blend`."""

    def __init__(self, base: Path, *, recipe: Any = None, whole: bytes = WHOLE) -> None:
        super().__init__(base)
        self.parts = [zlib.compress(json.dumps(recipe or make_recipe()).encode())]
        self.parts += [zlib.compress(piece, level) for piece, level in zip(SMALL + LARGE, (6, 6, 1, 0), strict=True)]
        self.whole = whole
        self.write()
        self.send()

    def send(self, **changes: Any) -> None:
        for part in self.parts:
            self.put_asset(part)
        entry = {"path": "big.blend", "size": len(self.whole), "sha256": sha256(self.whole), "mode": 0o644}
        self.write_job_json([*self.entries(), {**entry, "parts": [sha256(part) for part in self.parts], **changes}])
        plan = json.loads(self.paths.plan.read_bytes())
        plan["manifest_sha256"] = json.loads(self.paths.job_json.read_bytes())["pack"]["manifest_sha256"]
        self.paths.plan.write_bytes(json.dumps(plan).encode())
        self.plan_sha256 = sha256(self.paths.plan.read_bytes())

    def asset(self, number: int) -> Path:
        name = sha256(self.parts[number])
        return self.paths.assets / name[:2] / name

    def refusal(self) -> str:
        """Prepare it; it must end for good with cause 17, and leave nothing."""
        code, output = self.run("prepare")
        end = self.ends()[-1]
        assert (code, end["exit"], end["cause"]) == (78, 78, 17), output
        assert not self.paths.scene.exists()
        assert not list(self.paths.job_dir.glob("scene.*.part"))
        assert "big.blend" in end["reason"] and "Submit the job again" in end["reason"]
        return str(end["reason"])


def test_pieces_make_the_file_and_it_is_read_only(tmp_path: Path) -> None:
    job = PiecesJob(tmp_path)
    code, output = job.run("prepare")
    assert code == 0, output
    made = job.paths.scene / "big.blend"
    assert made.read_bytes() == WHOLE
    assert made.stat().st_mode & 0o777 == 0o444
    assert (job.paths.scene / "tex" / "a.png").read_bytes() == b"a picture"
    assert all(job.asset(number).read_bytes() == part for number, part in enumerate(job.parts))


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("damage", ["missing", "changed", "short", "empty", "long"])
def test_a_piece_that_is_not_what_was_sent_is_named(tmp_path: Path, number: int, damage: str) -> None:
    job = PiecesJob(tmp_path)
    asset, part = job.asset(number), job.parts[number]
    asset.unlink()
    if damage != "missing":
        middle = len(part) // 2
        flipped = part[:middle] + bytes([part[middle] ^ 0x55]) + part[middle + 1 :]
        asset.write_bytes({"changed": flipped, "short": part[:-5], "empty": b"", "long": part + b"x"}[damage])
    assert asset.name in job.refusal()


def test_pieces_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    job = PiecesJob(tmp_path)
    job.parts[3], job.parts[4] = job.parts[4], job.parts[3]
    job.send()
    assert "promised" in job.refusal()


def test_pieces_of_the_same_size_in_the_wrong_order_do_not_have_the_hash(tmp_path: Path) -> None:
    sizes = [len(piece) for piece in (SMALL[0], SMALL[0])]
    recipe = {"schema": 1, "small": sizes, "large": [], "runs": [sum(sizes)]}
    job = PiecesJob(tmp_path, recipe=recipe, whole=SMALL[0] + SMALL[0][::-1])
    job.parts = [job.parts[0], zlib.compress(SMALL[0][::-1]), zlib.compress(SMALL[0])]
    job.send()
    assert "its hash differs" in job.refusal()


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2}, {"schema": None}, {"runs": [600, 200_000]}, {"runs": [*RUNS, 1]}, {"runs": [-1, *RUNS[1:]]}, {"runs": "600"},
        {"small": [650, True]}, {"small": [650]}, {"small": [10**15, 63]}, {"large": [230_400, 70_000.0]}, {"large": {"a": 1}},
        {"small": [649, 64]}, {"large": [230_400, 69_999]},
    ],
)  # fmt: skip
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    PiecesJob(tmp_path, recipe=make_recipe(**change)).refusal()


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"schema": 1e999}'])
def test_a_recipe_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    job = PiecesJob(tmp_path)
    job.parts[0] = zlib.compress(text)
    job.send()
    assert "recipe" in job.refusal()


def test_an_unknown_packing_is_refused(tmp_path: Path) -> None:
    job = PiecesJob(tmp_path)
    job.parts[2] = b"\x28\xb5\x2f\xfd" + job.parts[2]
    job.send()
    assert "is damaged" in job.refusal()


def weave_apart(target: Path, size: int, parts: list[Path]) -> tuple[str, int]:
    """Weave in a process of its own: (what it said, by how many KiB its memory grew)."""
    code = (
        "import resource, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import assemble\n"
        "memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before, said = memory(), ''\n"
        "try: assemble.assemble([Path(name) for name in sys.argv[4:]], int(sys.argv[3]), Path(sys.argv[2]))\n"
        "except assemble.BadPieces as error: said = str(error)\n"
        "print(memory() - before, said)"
    )
    command = [sys.executable, "-c", code, str(INSIDE), str(target), str(size), *map(str, parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, _, said = done.stdout.strip().partition(" ")
    return said, int(grown)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    size, count = 1 << 20, 60
    recipe = {"schema": 1, "small": [size] * count, "large": [size] * count, "runs": [size // 2] * 4 * count}
    (tmp_path / "recipe").write_bytes(zlib.compress(json.dumps(recipe).encode()))
    (tmp_path / "piece").write_bytes(zlib.compress(bytes(size)))
    parts = [tmp_path / "recipe", *[tmp_path / "piece"] * 2 * count]
    said, grown = weave_apart(tmp_path / "made", 2 * count * size, parts)
    assert (said, (tmp_path / "made").stat().st_size) == ("", 2 * count * size)
    assert grown < 16 << 10


@pytest.mark.parametrize("number", [0, 1])
def test_a_bomb_is_defused(tmp_path: Path, number: int) -> None:
    """A piece of 256 KiB that unpacks to 256 MiB is left at the size that was promised."""
    job = PiecesJob(tmp_path)
    packer = zlib.compressobj(1)
    zeros = bytes(1 << 20)
    job.parts[number] = b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()
    job.send()
    assert "larger than" in job.refusal()
    said, grown = weave_apart(tmp_path / "made", len(WHOLE), [job.asset(index) for index in range(5)])
    assert "larger than" in said
    assert grown < 100 << 10


def test_a_full_disk_is_no_fault_of_the_scene(tmp_path: Path) -> None:
    job = PiecesJob(tmp_path)
    assets = [job.asset(number) for number in range(5)]
    with pytest.raises(OSError, match="No space left"):
        assemble.assemble(assets, len(WHOLE), Path("/dev/full"))

"""One large file to and from a real FileBrowser, against curl that does as much: hash on both sides, and a rename.

Hashing is sha256sum's, and beside it OpenSSL's, which uses the processor's instructions for it where sha256sum does not.

uv run python benchmarks/bench_store_large.py [--mib 1024] [--runs 3] [--folder DIR]

On loopback, and over a line of 1 Gbit/s with 100 ms added to each round trip. Prints the median of the paired ratios: 1.00
is as fast as curl, more is faster.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from cloud_farm.stores import Store
from store_bench import HASHERS, Bench, arguments, bench, curl, random_file, seconds, settle, sha256

_GBIT = 125e6
_MIB = 1 << 20
_MEMORY = """
import resource, sys
from pathlib import Path, PurePosixPath
from store_bench import Bench
from cloud_farm.profile import FarmProfile, Volume
from cloud_farm.stores import open_store
url, user, password, source = sys.argv[1:]
login = {"url": url, "user": user, "password": {"file": password}}
store = open_store(FarmProfile("bench", store="filebrowser", volume=Volume(), filebrowser=login))
store.free_space()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.put(Path(source), PurePosixPath("memory.bin"))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


class Comparison:
    """Ours and curl's seconds, run in turn."""

    def __init__(self) -> None:
        self._ours: list[float] = []
        self._anchors: dict[str, list[float]] = {"curl and sha256sum": [], "curl and OpenSSL": [], "bare curl": []}

    def add(self, ours: float, *, curl: float, rest: float, hashes: Sequence[float]) -> None:
        """Note one pair of runs.

        Args:
            curl: The bare transfer.
            rest: What else is needed until the file is safe under its name.
            hashes: Hashing by each of `HASHERS`.
        """
        self._ours.append(ours)
        for spent, anchor in zip(
            (*(curl + rest + spent for spent in hashes), curl), self._anchors.values(), strict=True
        ):
            anchor.append(spent)

    def print(self, title: str, mib: int) -> None:
        """Print one row."""
        ratios = [
            f"{statistics.median(a / o for a, o in zip(anchor, self._ours, strict=True)):5.2f} of {name}"
            for name, anchor in self._anchors.items()
        ]
        spent = statistics.median(self._ours)
        print(f"{title:27}{spent:7.2f} s {mib / spent:6.0f} MiB/s  {'  '.join(ratios)}")


def compare_uploads(made: Bench, source: Path, url: str, runs: int) -> Comparison:
    """Upload in turn with both."""
    found, store, token = Comparison(), made.store(url), f"X-Auth: {made.token()}"
    for _ in range(runs):
        _upload_in_turn(made.server.root, source, url, store, token, found)
    return found


def _upload_in_turn(root: Path, source: Path, url: str, store: Store, token: str, found: Comparison) -> None:
    name = uuid.uuid4().hex
    settle()
    ours = seconds(lambda: store.put(source, PurePosixPath(f"ours-{name}")))
    (root / f"ours-{name}").unlink()
    settle()
    part = f"{url}/api/resources/{name}.part"
    raw = seconds(lambda: curl("-T", str(source), "-X", "POST", "-H", token, "-H", "Expect:", part))
    hashes = [seconds(partial(_hash_all, tool, source, root / f"{name}.part")) for tool in HASHERS]
    rest = seconds(lambda: curl("-X", "PATCH", "-H", token, f"{part}?action=rename&destination=%2F{name}"))
    found.add(ours, curl=raw, rest=rest, hashes=hashes)
    (root / name).unlink()


def compare_downloads(made: Bench, source: Path, url: str, runs: int) -> Comparison:
    """Download in turn with both."""
    found, store, token = Comparison(), made.store(url), f"X-Auth: {made.token()}"
    made.store().put(source, PurePosixPath("down"))
    promised, target, part = sha256(HASHERS[1], source), made.folder / "fetched", made.folder / "curl.part"
    for _ in range(runs):
        settle()
        ours = seconds(lambda: store.get(PurePosixPath("down"), target, sha256=promised))
        settle()
        raw = seconds(lambda: curl("-H", token, f"{url}/api/raw/down", output=part))
        hashes = [seconds(partial(_hash_all, tool, part)) for tool in HASHERS]
        # ours is on the disk when it returns, so the anchor has to be as well
        rest = seconds(lambda: (subprocess.run(["sync", str(part)], check=True), part.replace(target)))
        found.add(ours, curl=raw, rest=rest, hashes=hashes)
    return found


def _hash_all(tool: Sequence[str], *paths: Path) -> None:
    assert len({sha256(tool, path) for path in paths}) == 1


def memory_of_upload(made: Bench, source: Path) -> int:
    """How many MiB an upload adds to a process."""
    login = made.profile().filebrowser
    command = [sys.executable, "-c", _MEMORY, made.server.url, login["user"], login["password"]["file"], str(source)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
    return int(done.stdout)


def main() -> None:
    """Print a row for each way and line."""
    options = arguments(mib=1024, runs=3, memory_mib=4096)
    with bench(options.folder) as made:
        source = random_file(made.folder / "source.bin", options.mib * _MIB)
        compare_uploads(made, source, made.server.url, options.runs).print("upload, loopback", options.mib)
        compare_downloads(made, source, made.server.url, options.runs).print("download, loopback", options.mib)
        with made.line(latency_s=0.05, bytes_per_second=_GBIT) as line:
            compare_uploads(made, source, line.url, options.runs).print("upload, 100 ms, 1 Gbit/s", options.mib)
            compare_downloads(made, source, line.url, options.runs).print("download, 100 ms, 1 Gbit/s", options.mib)
        source.unlink()
        sparse = made.folder / "sparse.bin"
        with sparse.open("wb") as stream:
            stream.truncate(options.memory_mib * _MIB)
        print(f"memory added by an upload of {options.memory_mib} MiB: {memory_of_upload(made, sparse)} MiB")


if __name__ == "__main__":
    main()

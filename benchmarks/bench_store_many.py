"""Many small files and long jobs through a real FileBrowser.

uv run python benchmarks/bench_store_many.py [--files 10000] [--frames 10000] [--folder DIR]

Small files: ours (each one verified and given its name at once) against the best of several parallel curls that only send.
A long job: what one more refresh costs when all of its frames are finished and one more comes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bench_plan import JOB, make_plan, profile_of
from cloud_farm.assets import Asset
from cloud_farm.delivery import Delivery
from cloud_farm.layout import JobLayout
from cloud_farm.tracking import JobTracker
from store_bench import Bench, arguments, bench, seconds, settle

_SIZE = 4096
_PARALLEL_CURLS = (4, 8, 16, 32)


def make_files(folder: Path, count: int) -> dict[str, Asset]:
    """Make files that differ."""
    folder.mkdir()
    assets = {}
    for number in range(count):
        content = os.urandom(_SIZE)
        path = folder / f"{number:05d}.bin"
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        assets[sha256] = Asset(sha256, _SIZE, path.name, path)
    return assets


def deliver(made: Bench, assets: Mapping[str, Asset], url: str) -> float:
    """Send everything as a submission does; seconds."""
    delivery = Delivery(made.store(url))

    def send() -> None:
        delivery.send(delivery.missing(assets))
        delivery.settle(assets)

    settle()
    return seconds(send)


def send_by_curl(made: Bench, folder: Path, parallel: int) -> float:
    """Send everything by one curl with so many connections; seconds."""
    target, token = f"curl-{parallel}-{time.time_ns()}", made.token()
    transfers = [
        f'url = "{made.server.url}/api/resources/{target}/{path.name}"\nupload-file = "{path}"\nrequest = POST\n'
        f'header = "X-Auth: {token}"\nfail\noutput = "/dev/null"\nnoproxy = "*"\n'
        for path in sorted(folder.iterdir())
    ]
    config = made.folder / "curl.config"
    config.write_text("next\n".join(transfers))
    settle()
    command = ["curl", "-sS", "--no-progress-meter", "-Z", "--parallel-max", str(parallel), "-K", str(config)]
    return seconds(lambda: subprocess.run(command, check=True))


def compare_small_files(made: Bench, count: int) -> None:
    """Print files a second of both, and seconds over a longer line."""
    folder = made.folder / "small"
    assets = make_files(folder, count)
    best, parallel = min((send_by_curl(made, folder, number), number) for number in _PARALLEL_CURLS)
    ours = deliver(made, assets, made.server.url)
    print(
        f"{count} files of 4 KiB, loopback: {count / ours:6.0f} files/s in {ours:.1f} s; curl with {parallel} connections"
        f" {count / best:6.0f} files/s: {best / ours:.2f} of it, with three requests a file in place of one"
    )
    others = make_files(made.folder / "others", count)
    with made.line(latency_s=0.01) as line:
        spent = deliver(made, others, line.url)
        print(f"{count} files of 4 KiB, 20 ms: {spent:.1f} s, {count / spent:.0f} files/s")
        store, before = made.store(line.url), line.traffic()
        spent = seconds(lambda: Delivery(store).missing(others))
        passed = line.traffic().since(before)
    print(
        f"the same once more: {spent:.2f} s, {passed.requests} requests,"
        f" {passed.bytes_up / 1e3:.1f} kB up, {passed.bytes_down / 1e3:.0f} kB down"
    )


def fill(root: Path, frames: int) -> None:
    """Lay out a job with all but one of its frames recorded, as renderers leave it."""
    layout = JobLayout(JOB)
    _write(root / layout.plan(1), make_plan(frames + 1, profile_of(root)).content)
    for frame in range(1, frames + 1):
        _record(root, frame)


def _record(root: Path, frame: int) -> None:
    path = root / PurePosixPath(JobLayout(JOB).record(1, None, frame))
    _write(path.with_suffix(".claim"), b"x")
    _write(path, json.dumps({"schema": 1}).encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def compare_refresh(made: Bench, frames: int) -> None:
    """Print what a refresh costs after one more frame, and without any."""
    fill(made.server.root, frames)
    with made.line() as line:
        tracker = JobTracker(made.store(line.url), JOB)
        first = seconds(lambda: tracker.refresh((1,)))
        time.sleep(4)  # until no folder counts as just changed
        tracker.refresh((1,), at_once=True)
        for title in ("nothing new", "one new frame"):
            before = line.traffic()
            if title != "nothing new":
                _record(made.server.root, frames + 1)
            fresh = tracker.refresh((1,), at_once=True)
            passed = line.traffic().since(before)
            print(
                f"{frames} finished frames, {title}: {len(fresh)} found, {passed.requests} requests,"
                f" {(passed.bytes_up + passed.bytes_down) / 1e3:.1f} kB (first look: {first:.2f} s)"
            )


def main() -> None:
    """Print a line for each."""
    options = arguments(files=10_000, frames=10_000)
    with bench(options.folder) as made:
        compare_small_files(made, options.files)
        compare_refresh(made, options.frames)


if __name__ == "__main__":
    main()

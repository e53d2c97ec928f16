"""Publishes frames at given moments, in a race with others; prints who won each: racer.py SCRIPTS ROOT JOB ATTEMPT ROUNDS BEGIN."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])
import publish  # noqa: E402
import volume  # noqa: E402


def main() -> None:
    root, job, attempt, rounds, begin = sys.argv[2:]
    paths = volume.JobPaths(root, job, 1)
    scratch = Path(tempfile.mkdtemp())
    winners = {}
    for frame in range(int(rounds)):
        files, entries = [], []
        for name in (f"f_{frame:04d}.png", f"depth/f_{frame:04d}.exr"):
            source = scratch / name.replace("/", "_")
            content = f"{name} {attempt} ".encode() * (2000 + 10 * int(attempt[-1]))
            source.write_bytes(content)
            files.append((source, name))
            digest = hashlib.sha256(content).hexdigest()
            entries.append({"path": name, "role": "main", "bytes": len(content), "sha256": digest})
        record: dict[str, Any] = {"schema": 1, "frame": frame, "camera": None, "files": entries}
        record.update(render_hash="5" * 64, attempt=attempt)
        while time.time() < float(begin) + frame * 0.03:
            time.sleep(0.0002)
        winners[frame] = publish.publish(paths, record, files)["attempt"]
    shutil.rmtree(scratch)
    sys.stdout.write(json.dumps(winners))


main()

"""What the add-on costs Blender when it is enabled, against the smallest add-on that Blender ships.

uv run python benchmarks/bench_enable.py [--runs 9]

Each run is a fresh Blender. Time is that of `addon_utils.enable` by the clock, "own" what its thread worked meanwhile; memory is what
the process grew by (Linux only). An extension's libraries are unpacked by Blender when it is ticked and deleted when it is unticked,
which takes most of the time of those lines; at the start of a Blender in which it is ticked they lie there already.

The worker is the process that does the add-on's work. It is started when it is first needed, and measured until it answers; the
anchor is its Python when that has nothing to do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODULE = "bl_ext.user_default.cloud_farm"
_INSTALL = """
import os, sys
import bpy
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
os._exit(0)
"""
_ENABLE = """
import json, os, sys, time
from pathlib import Path
import bpy
import addon_utils

def memory():
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0

def size(module):
    home = Path(module.__file__)
    files = home.parent.rglob("*.py") if home.name == "__init__.py" else [home]
    return sum(path.stat().st_size for path in files)

name = sys.argv[1]
if not name:
    own = [module for module in addon_utils.modules(refresh=True) if "addons_core" in module.__file__]
    name = min(own, key=size).__name__
if addon_utils.check(name)[1] or "--ticked-anew" in sys.argv:
    addon_utils.disable(name, default_set=True)
loaded, before, begin, busy = set(sys.modules), memory(), time.perf_counter(), time.thread_time()
module = addon_utils.enable(name, default_set=True)
spent, own, after = time.perf_counter() - begin, time.thread_time() - busy, memory()
assert module is not None, f"{name} can't be enabled"
found = {"name": name, "ms": spent * 1e3, "own": own * 1e3, "kib": (after - before) / 1024, "modules": len(set(sys.modules) - loaded)}
print("\\n" + json.dumps({**found, "blender": bpy.app.version_string}), flush=True)
os._exit(0)
"""
_WORKER = """
import importlib, json, os, subprocess, sys, tempfile, time
from pathlib import Path
import bpy

package = sys.argv[1]
client = importlib.import_module(f"{package}.worker_client").WorkerClient(Path(tempfile.mkdtemp()) / "worker.log")
answers, begin = [], time.perf_counter()
client.ask("hello", answers.append)
while not answers:
    client.poll()
    time.sleep(0.001)
spent = time.perf_counter() - begin
assert "result" in answers[0], answers
client.close()
begin = time.perf_counter()
subprocess.run([sys.executable, *getattr(bpy.app, "python_args", ()), "-c", "pass"], check=True)
print("\\n" + json.dumps({"ms": spent * 1e3, "bare": (time.perf_counter() - begin) * 1e3}), flush=True)
os._exit(0)
"""


def run(code: str, environment: Mapping[str, str], *words: str) -> str:
    """Run code in a Blender; returns its last line."""
    command = [sys.executable, "-I", "-c", code, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return (done.stdout.strip().splitlines() or [""])[-1]


def samples(environment: Mapping[str, str], runs: int, *words: str, code: str = _ENABLE) -> list[dict[str, Any]]:
    """Enable an add-on in fresh Blenders; the first one only compiles and warms the caches."""
    return [json.loads(run(code, environment, *words)) for _ in range(runs + 1)][1:]


def show(title: str, found: list[dict[str, Any]], anchor: list[dict[str, Any]]) -> None:
    """Print one line a measure."""
    for key, unit in (("ms", "ms"), ("own", "ms own"), ("kib", "KiB"), ("modules", "modules")):
        if key not in found[0]:
            continue
        values, base = [one[key] for one in found], statistics.median(one[key] for one in anchor)
        middle = statistics.median(values)
        spread = f"min {min(values):8.1f}  median {middle:8.1f}  max {max(values):8.1f} {unit:<8}"
        print(f"{title:<38} {spread} {middle / base:5.1f}x" if base else f"{title:<38} {spread}     -")


def main() -> None:
    """Build, install into an empty profile, measure both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--wheels", default=str(ROOT / "build" / "wheels"), help="where libraries are kept")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "build.py"), "--output", folder, "--wheels", words.wheels]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        environment = {**os.environ, "BLENDER_USER_RESOURCES": str(Path(folder) / "profile")}
        run(_INSTALL, environment, str(next(Path(folder).glob("*.zip"))))
        anchor, ours = samples(environment, words.runs, ""), samples(environment, words.runs, MODULE)
        anew = samples(environment, words.runs, MODULE, "--ticked-anew")
        workers = samples(environment, words.runs, MODULE, code=_WORKER)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, Blender {ours[0]['blender']}; {words.runs} runs, each a fresh Blender")
    show(f"Blender's {anchor[0]['name']}", anchor, anchor)
    show("Cloud Farm", ours, anchor)
    show("Cloud Farm, unticked and ticked", anew, anchor)
    show("Cloud Farm's worker, until it answers", workers, [{"ms": one["bare"]} for one in workers])


if __name__ == "__main__":
    main()

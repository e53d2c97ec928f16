"""The benchmarks run and print a ratio to their anchor. What they measure is no test's business."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cloud_farm
import pytest

from ..rigs.go_build import cache_folder

ROOT = Path(__file__).parents[2]
_WHEELS = ("--wheels", str(cache_folder() / "wheels"))


@pytest.mark.blender
@pytest.mark.parametrize(
    ("script", "words", "ratios"),
    [
        ("bench_cli.py", ("--runs", "1"), 3),
        ("bench_plan.py", ("--sizes", "20", "40"), 8),
        ("bench_enable.py", ("--runs", "1", *_WHEELS), 10),
        ("bench_ticks.py", ("--mebibytes", "0", "--frames", "3", "--stores", "folder", *_WHEELS), 20),
        ("bench_visible.py", ("--frames", "2", "--pause", "0.1", "--stores", "folder", *_WHEELS), 2),
        ("bench_render.py", ("--frames", "2", "--percentage", "5", "--samples", "1"), 2),
    ],
)
def test_a_benchmark_prints_its_ratios(script: str, words: tuple[str, ...], ratios: int) -> None:
    backend = str(Path(cloud_farm.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *words],
        env={**os.environ, "PYTHONPATH": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d+\.\d+x", done.stdout)) >= ratios, done.stdout

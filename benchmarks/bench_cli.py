"""Start-up of the command line against `python -c pass`, in one run.

uv run python benchmarks/bench_cli.py [--runs 9]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time


def milliseconds(command: list[str], environment: dict[str, str], runs: int) -> list[float]:
    """Run a command several times; the first run only warms the caches."""
    spent = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        spent.append((time.perf_counter() - begin) * 1e3)
    return spent[1:]


def main() -> None:
    """Print minimum, median and maximum of each command, and its ratio to the anchor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; {runs} runs, milliseconds"
    )
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "CLOUD_FARM_HOME": home}
        anchor = statistics.median(milliseconds([sys.executable, "-c", "pass"], environment, runs))
        print(f"{'python -c pass':<24} median {anchor:6.1f}")
        for words in (["--help"], ["status"], ["jobs"]):
            spent = milliseconds([sys.executable, "-m", "cloud_farm", *words], environment, runs)
            median = statistics.median(spent)
            name = f"cloud-farm {' '.join(words)}"
            print(
                f"{name:<24} min {min(spent):6.1f}  median {median:6.1f}  max {max(spent):6.1f}  {median / anchor:5.1f}x"
            )


if __name__ == "__main__":
    main()

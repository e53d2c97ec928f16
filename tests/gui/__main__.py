"""python -m tests.gui: make the file systems of the Blenders with a window; tests make what is missing themselves."""

from __future__ import annotations

import sys
import time

from .window import SUITES, blender_root

for suite, version in SUITES.items():
    begin = time.monotonic()
    blender_root(suite)
    sys.stdout.write(f"Blender {version} of {suite}: {time.monotonic() - begin:.0f} s\n")
    sys.stdout.flush()

"""How our scripts in a Blender of their own end: with one JSON object, and without Blender's own clean-up."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable


def answer(main: Callable[[], object]) -> None:
    """Run a script and print what it returns; Blender's clean-up has much to say after an exception."""
    code = 1
    try:
        sys.stdout.write("\n" + json.dumps(main()))
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it is printed
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

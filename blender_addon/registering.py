"""Blender's own maker of register and unregister, with its types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bpy


def of_classes(classes: Sequence[type]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what registers classes in order, and what removes them in the other."""
    made: Any = bpy.utils.register_classes_factory(classes)  # type: ignore[func-returns-value]
    register, unregister = made
    return register, unregister

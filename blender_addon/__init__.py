"""Cloud Farm in Blender: registers what the artist sees."""

from __future__ import annotations

from . import farm_operators, handlers, operators, panels, preferences, preflight, properties, render_presets

_MODULES = (preferences, properties, operators, farm_operators, preflight, render_presets, panels, handlers)


def register() -> None:
    """Take part in this Blender."""
    for module in _MODULES:
        module.register()


def unregister() -> None:
    """Leave nothing behind."""
    for module in reversed(_MODULES):
        module.unregister()

"""Cloud Farm in Blender: registers what the artist sees."""

from __future__ import annotations

from . import (
    farm_operators,
    frame_strip,
    handlers,
    job_operators,
    jobs_panel,
    operators,
    panels,
    preferences,
    preflight,
    properties,
    render_presets,
    status_bar,
)

_MODULES = (
    preferences, properties, operators, job_operators, farm_operators, preflight, render_presets, frame_strip, panels, jobs_panel,
    status_bar, handlers,
)  # fmt: skip


def register() -> None:
    """Take part in this Blender."""
    for module in _MODULES:
        module.register()


def unregister() -> None:
    """Leave nothing behind."""
    for module in reversed(_MODULES):
        module.unregister()

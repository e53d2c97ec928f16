"""What Blender calls by itself: the timer that listens to the worker, and what is to be done after a file was opened."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from .session import SESSION

_SOON_SECONDS = 1.0


@persistent  # type: ignore[untyped-decorator, unused-ignore]
def _after_load(*_arguments: object) -> None:
    """Another file is open: Blender has emptied the list."""
    SESSION.show_again()


def register() -> None:
    """Begin to listen; nothing is started before somebody wants something."""
    bpy.app.handlers.load_post.append(_after_load)
    bpy.app.timers.register(SESSION.tick, first_interval=_SOON_SECONDS, persistent=True)


def unregister() -> None:
    """Stop, and end the worker: jobs that were sent go on."""
    if bpy.app.timers.is_registered(SESSION.tick):
        bpy.app.timers.unregister(SESSION.tick)
    bpy.app.handlers.load_post.remove(_after_load)
    SESSION.end()

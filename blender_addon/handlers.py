"""What Blender calls by itself: the timer, who opened another file, and `blender --command cloud_farm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.handlers import persistent

from . import image_editors
from .session import SESSION

if TYPE_CHECKING:
    from collections.abc import Sequence

_SOON_SECONDS = 1.0


@persistent  # type: ignore[untyped-decorator, unused-ignore]
def _after_load(*_arguments: object) -> None:
    """Another file is open: Blender has emptied the list."""
    SESSION.show_again()


@persistent  # type: ignore[untyped-decorator, unused-ignore]
def _before_undo(*_arguments: object) -> None:
    """Undo may take out of the file what editors show: the next turn puts it back, for images are not to be touched before it is over."""
    image_editors.note_shown()


def tick() -> float:
    """Let the session take its turn. A function and no method: Blender knows its timers again by what they are."""
    return SESSION.tick()


def _command(words: Sequence[str]) -> int:
    from .submit import command

    return command(words)


_COMMANDS: list[Any] = []  # Blender's handle on the command, to take it back with


def register() -> None:
    """Begin to listen; nothing is started before somebody wants something."""
    _COMMANDS.append(bpy.utils.register_cli_command("cloud_farm", _command))  # type: ignore[func-returns-value]
    bpy.app.handlers.load_post.append(_after_load)
    bpy.app.handlers.undo_pre.append(_before_undo)
    bpy.app.handlers.redo_pre.append(_before_undo)
    bpy.app.timers.register(tick, first_interval=_SOON_SECONDS, persistent=True)


def unregister() -> None:
    """Stop, and end the worker: jobs that were sent go on."""
    bpy.utils.unregister_cli_command(_COMMANDS.pop())
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.undo_pre.remove(_before_undo)
    bpy.app.handlers.redo_pre.remove(_before_undo)
    SESSION.end()

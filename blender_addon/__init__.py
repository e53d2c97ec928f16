"""Cloud Farm in Blender: registers what the artist sees."""

from __future__ import annotations


def register() -> None:
    """Take part in this Blender."""


def unregister() -> None:
    """Leave nothing behind."""

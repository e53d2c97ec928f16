"""Blender's own translators by the names that its own scripts give them, with their types.

What is written out in a layout, a property or an operator Blender translates by itself. These are for sentences with a value in them:
they are translated first, the value goes in afterwards, and the layout is told not to translate what came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

_translations: Any = bpy.app.translations
iface_: Callable[[str], str] = _translations.pgettext_iface
rpt_: Callable[[str], str] = _translations.pgettext_rpt

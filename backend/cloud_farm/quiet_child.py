"""A child process that is spoken to over pipes, by who must not wait and wants no window: on Linux, Windows and macOS.

Apart from `platform`, which is ten times as long: the add-on loads this into Blender.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

CREATE_NEW_PROCESS_GROUP = 0x00000200
CREATE_NO_WINDOW = 0x08000000
_PIPE_NOWAIT = 0x00000001


def quiet_child_flags(*, system: str = sys.platform) -> dict[str, Any]:
    """Return what `Popen` needs for a child that ends with us, shows no window and gets no Ctrl-C of our terminal."""
    if system == "win32":
        return {"creationflags": CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def never_wait(descriptor: int, *, system: str = sys.platform) -> None:
    """Make a pipe say at once that it has nothing, or no room, in place of waiting.

    Raises:
        OSError: It is no pipe.
    """
    if system != "win32":
        os.set_blocking(descriptor, False)
        return
    # Python before 3.12 can't do it there.
    ctypes, msvcrt = importlib.import_module("ctypes"), importlib.import_module("msvcrt")
    mode = ctypes.c_ulong(_PIPE_NOWAIT)
    handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
    if not ctypes.windll.kernel32.SetNamedPipeHandleState(handle, ctypes.byref(mode), None, None):
        raise ctypes.WinError()

"""A child that is spoken to over pipes, as each system makes one."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from cloud_farm.quiet_child import never_wait, quiet_child_flags


def test_a_child_has_no_window_and_gets_no_ctrl_c_of_ours() -> None:
    assert quiet_child_flags(system="linux") == quiet_child_flags(system="darwin") == {"start_new_session": True}
    assert quiet_child_flags(system="win32") == {"creationflags": 0x08000200}


@pytest.mark.skipif(sys.platform == "win32", reason="as POSIX does it")
def test_a_pipe_with_nothing_in_it_says_so_at_once() -> None:
    read, write = os.pipe()
    try:
        never_wait(read)
        with pytest.raises(BlockingIOError):
            os.read(read, 1)
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("is_pipe", [True, False])
def test_windows_is_asked_by_its_own_call(monkeypatch: pytest.MonkeyPatch, is_pipe: bool) -> None:
    asked: list[Any] = []

    def set_state(handle: int, mode: int, *_rest: None) -> bool:
        asked.append((handle, mode))
        return is_pipe

    kernel = SimpleNamespace(SetNamedPipeHandleState=set_state)
    same = lambda value: value  # noqa: E731
    fake = {"c_ulong": same, "c_void_p": same, "byref": same, "WinError": OSError}
    monkeypatch.setitem(sys.modules, "ctypes", SimpleNamespace(windll=SimpleNamespace(kernel32=kernel), **fake))
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(get_osfhandle=lambda descriptor: descriptor + 100))
    if is_pipe:
        never_wait(7, system="win32")
    else:
        with pytest.raises(OSError):
            never_wait(7, system="win32")
    assert asked == [(107, 1)]

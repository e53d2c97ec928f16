"""Parts of the add-on that need no Blender, and a worker for them that says what the test says."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

_ADD_ON = Path(__file__).parents[2] / "blender_addon"


def alone(name: str) -> ModuleType:
    """Return a module of the add-on, without the add-on."""
    spec = importlib.util.spec_from_file_location(f"{name}_alone", _ADD_ON / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[f"{name}_alone"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Client:
    """Takes requests, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.stopped: list[int] = []
        self._answers: list[Callable[[dict[str, Any]], None]] = []

    def ask(self, verb: str, answer: Callable[[dict[str, Any]], None], **data: Any) -> int:
        self.asked.append((verb, str(next((data[key] for key in ("snapshot", "folder", "job") if key in data), ""))))
        self._answers.append(answer)
        return len(self.asked)

    def stop(self, number: int) -> None:
        self.stopped.append(number)

    def answer(self, number: int, **line: Any) -> None:
        self._answers[number - 1](line)

    @property
    def dropped(self) -> list[str]:
        return [snapshot for verb, snapshot in self.asked if verb == "drop"]

"""Runs in a Blender of its own: what single turns of the add-on do, one after the other.

python -I turns.py ZIP FOLDER ; prints one JSON object
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
desk: Any = importlib.import_module("desk")
part = desk.part


def first_turns() -> dict[str, Any]:
    """Let the add-on take its turns until it has looked back; returns which of our modules each of them loaded."""
    session, loaded = part("session").SESSION, []
    while not session._has_looked_back:
        before = set(sys.modules)
        session.tick()
        loaded.append(sorted(name for name in set(sys.modules) - before if name.startswith(desk.MODULE)))
    return {
        "loaded": loaded,
        "has all": f"{desk.MODULE}.worker_client" in sys.modules,
        "asked": session._client is not None,
    }


def last_words(folder: Path) -> dict[str, Any]:
    """Have a worker greet, say what is no answer, and end: one of those who asked can't take it, another asks again."""
    client = part("worker_client").WorkerClient(folder / "worker.log")
    hello = json.dumps({"protocol": part("cloud_farm.version").PROTOCOL})
    client._command = [sys.executable, "-I", "-c", f"print({hello!r}); print('no answer'); print('nor this')"]
    told: list[str] = []

    def ask_again(line: Any) -> None:
        told.append(line["error"]["message"])
        client.ask("jobs", lambda line: told.append(line["error"]["message"]))

    client.ask("hello", lambda line: told.append(line["result"]))
    client.ask("jobs", ask_again)
    client._start()
    client._process.wait()
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        has_news = client.poll()
    found = {"has news": has_news, "told": list(told), "printed": printed.getvalue().splitlines()[-1:]}
    return {**found, "waits": client.busy, "runs": client.running}


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Take one turn after the other."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    return {"first": first_turns(), "last words": last_words(folder)}


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))

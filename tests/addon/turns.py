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
from types import SimpleNamespace
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


class Panel:
    """The list of jobs in a window, and a farm that is asked for it. Blender draws it when it is told to, if it is to be seen."""

    def __init__(self, session: Any) -> None:
        self.is_seen, self.redraws, self.asked = True, 0, 0
        self._session = session
        self._answers: list[Any] = []
        session._client = SimpleNamespace(poll=self._poll, busy=False, ask=self._ask)
        part("session").redraw = self._redraw

    def _ask(self, _verb: str, answer: Any, **_data: str) -> int:
        self._answers.append(answer)
        self.asked += 1
        return self.asked

    def _poll(self) -> bool:
        answers, self._answers = self._answers, []
        for answer in answers:
            answer({"result": {"jobs": []}})
        return bool(answers)

    def _redraw(self) -> None:
        self.redraws += 1
        if self.is_seen:
            self._session.watch("local")

    def pass_time(self) -> list[int]:
        """Let the last list grow old, and the add-on have some turns; returns how often the farm was asked, and the panel drawn."""
        self._session._asked_at -= 60.0
        asked, redraws = self.asked, self.redraws
        for _ in range(8):
            self._session.tick()
        return [self.asked - asked, self.redraws - redraws]


def mouse_rests() -> dict[str, Any]:
    """Look at the jobs without touching anything; then close the panel, before and after a list came."""
    session, redraw = part("session").SESSION, part("session").redraw
    panel = Panel(session)
    session.watch("local")
    found: dict[str, Any] = {"seen": [panel.pass_time() for _ in range(3)]}
    panel.is_seen = False
    found["closed"] = [panel.pass_time() for _ in range(3)]
    panel.is_seen = True
    session.watch("local")
    found["open again"] = panel.pass_time()
    session._client, part("session").redraw = None, redraw
    return found


def status_bar() -> dict[str, Any]:
    """Have another add-on set a status text, first before ours was there; then send, and count how often the bar is drawn."""
    session, bar, header = part("session").SESSION, part("status_bar"), bpy.types.STATUSBAR_HT_header
    before_us = header.draw._draw_funcs[0]
    header._draw_orig = before_us
    for text in ("Busy", None):
        bpy.context.workspace.status_text_set(text)
    found: dict[str, Any] = {"lost": header.draw is before_us}
    redraw, drawn = bar.redraw, []
    bar.redraw = lambda: drawn.append(redraw())
    session._client = SimpleNamespace(poll=lambda: False, busy=False)
    sending = session.outbox.sending = part("outbox").Sending("local", "shot", Path("/nowhere"), request=3)
    for fraction in (0.4, 0.4, 0.401, 0.5):
        sending.fraction = fraction
        session.tick()
    found["is there"] = header.draw._draw_funcs.count(bar._draw)
    session.outbox.sending = None
    session.tick()
    session.tick()
    session._client, bar.redraw = None, redraw
    bar.windows = lambda: [SimpleNamespace(modal_operators=["knife"])]  # nothing else of it may be touched
    bar.redraw()
    header._draw_orig = header.draw
    bar.unregister()
    return {**found, "drawn": len(drawn), "left": header.draw._draw_funcs.count(bar._draw)}


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


def job(number: int) -> dict[str, Any]:
    """Return a job as the worker tells of it."""
    return {
        "id": f"shot-{number}", "title": "shot", "state": "done", "owner": "ada", "created": "2026-11-29T10:00:00Z", "is_ours": True,
        "frames_done": 3, "frames_failed": 0, "frames_total": 3, "landed": 3, "message": "",
    }  # fmt: skip


def turns_until_listed(session: Any, jobs: list[dict[str, Any]]) -> list[Any]:
    """Be told of jobs; returns after how many turns Blender's own list has them, and which of them is chosen then."""
    session._take_jobs("local", {"result": {"jobs": jobs}})
    session._changed, turns = True, 0
    while session._changed:
        session.tick()
        turns += 1
    state = bpy.context.window_manager.cloud_farm
    assert [item.name for item in state.jobs] == [one["id"] for one in jobs]
    assert [item.done for item in state.jobs] == [one["frames_done"] for one in jobs]
    return [turns, state.jobs[state.active_job].name]


def many_jobs() -> dict[str, Any]:
    """Be told of a thousand jobs, of one that is new while another is chosen, and open another file."""
    session, jobs = part("session").SESSION, [job(number) for number in range(1000)]
    session._client = SimpleNamespace(poll=lambda: False, busy=False)
    found: dict[str, Any] = {"at first": turns_until_listed(session, jobs)}
    bpy.context.window_manager.cloud_farm.active_job = 700
    jobs = [job(5000), *[{**one, "frames_done": 2, "landed": 2} if one["id"] == "shot-3" else one for one in jobs]]
    found["new"] = turns_until_listed(session, jobs)
    bpy.ops.wm.read_homefile(use_empty=True)
    found["another file"] = turns_until_listed(session, jobs)
    session._client = None
    return found


def main(zip_file: str, folder: Path) -> dict[str, Any]:
    """Take one turn after the other."""
    bpy.ops.extensions.package_install_files(filepath=zip_file, repo="user_default", enable_on_install=True)
    return {
        "first": first_turns(),
        "many": many_jobs(),
        "rests": mouse_rests(),
        "bar": status_bar(),
        "last words": last_words(folder),
    }


if __name__ == "__main__":
    importlib.import_module("answering").answer(lambda: main(sys.argv[1], Path(sys.argv[2])))

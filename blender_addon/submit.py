"""Headless: send the scene that a background Blender has open. The add-on need not be installed.

All that this file takes lies beside it, or is a part of `cloud-farm`, of which `cloud-farm submit-script` prints this file's path.

    blender -b scene.blend --online-mode --python submit.py -- --frames 1-250 --wait
    blender scene.blend --online-mode --command cloud_farm submit --frames 1-250 --wait

Exit codes: 0 ok, 1 the job failed or was cancelled, 2 refused before anything was sent, 3 not reachable, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import bpy

_HERE = Path(__file__).resolve().parent
_POLL_SECONDS = 0.05
_REFUSED, _OFFLINE, _INTERRUPTED = 2, 3, 130


def _homes() -> list[str]:
    """Return the folders of our modules: the backend is beside us, around us where Python installed it, or in the checkout."""
    places = (_HERE, _HERE.parents[1], _HERE.parent / "backend")
    return [str(_HERE), *(str(place) for place in places if (place / "cloud_farm" / "options.py").is_file())]


def _package() -> str:
    """Return the name of the package that this file is in; run as a script it is none yet, so it becomes one."""
    if __package__:
        return __package__
    name = "cloud_farm_beside"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _HERE / "__init__.py", submodule_search_locations=_homes())
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return name


def _part(name: str) -> ModuleType:
    return importlib.import_module(f"{_package()}.{name}")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; its options are those of `cloud-farm render`."""
    options = _part("cloud_farm.options")
    parser = argparse.ArgumentParser("submit.py", description="Send the open scene to a farm.", allow_abbrev=False)
    for option in (*options.JOB_OPTIONS, *options.FRONT_OPTIONS):
        words: dict[str, Any] = {"help": option.usage.replace("%", "%%"), "dest": option.name}
        if option.kind == "switch":
            words["action"] = "store_true"
        else:
            words["metavar"] = option.metavar or None
            words["action"] = "append" if option.many else "store"
            words["type"] = {"integer": int, "number": float}.get(option.kind, str)
        parser.add_argument(*option.flags, **words)
    parser.add_argument("--wait", action="store_true", help="Follow the job to its end and land its frames.")
    parser.add_argument("--detach", dest="wait", action="store_false", help="Leave the job to the farm; the default.")
    return parser


class _Front:
    """Asks the worker one thing after the other and waits for each answer."""

    def __init__(self, folder: Path, *, as_json: bool) -> None:
        self._client = _part("worker_client").WorkerClient(folder / "worker.log")
        self._as_json = as_json

    def ask(self, verb: str, **data: Any) -> Mapping[str, Any]:
        """Return the last answer; what is told on the way is printed."""
        answers: list[Mapping[str, Any]] = []
        self._client.ask(verb, lambda line: self._take(line, answers), **data)
        while not answers:
            if not self._client.poll():
                time.sleep(_POLL_SECONDS)
        return answers[0]

    def close(self) -> None:
        """End the worker, and with it what it was asked."""
        self._client.close()

    def _take(self, line: Mapping[str, Any], answers: list[Mapping[str, Any]]) -> None:
        if "event" not in line:
            answers.append(line)
        elif line["event"]["event"] != "status":
            self.say(line["event"])

    def say(self, event: Mapping[str, Any]) -> None:
        """Print an event, for people or for programs."""
        text = json.dumps(event) if self._as_json else _part("cloud_farm.events").plain_line(event)
        if text:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


def main(words: Sequence[str]) -> int:
    """Submit the open scene; returns an exit code."""
    try:
        values = vars(make_parser().parse_args(words))
    except SystemExit as end:
        return int(end.code or 0)
    farm = values["farm"] or "local"
    if farm != "local" and not bpy.app.online_access:
        _complain(f"Blender may not go online, which farm '{farm}' needs. Add --online-mode to Blender's own options.")
        return _OFFLINE
    signal.signal(signal.SIGINT, signal.default_int_handler)  # without a window Blender only counts them
    errors = _part("cloud_farm.errors")
    with TemporaryDirectory(prefix="cloud-farm-submit-") as below:
        front = _Front(Path(below), as_json=values["json"])
        try:
            return _submit(front, values, farm, Path(below))
        except (errors.CloudFarmError, RuntimeError, OSError) as error:
            _complain(str(error))
            return int(getattr(error, "exit_code", _REFUSED))
        except KeyboardInterrupt:
            _complain("Interrupted. A job that was submitted already goes on.")
            return _INTERRUPTED
        finally:
            front.close()


def _submit(front: _Front, values: Mapping[str, Any], farm: str, below: Path) -> int:
    options, reader = _part("cloud_farm.options"), _part("scene_reader")
    if not bpy.data.filepath:
        raise RuntimeError("No scene is open. Name one before --python: blender -b scene.blend --python submit.py -- …")
    chosen = {**values, "scene": values["scene"] or (bpy.context.scene.name if bpy.context.scene is not None else None)}
    job = options.job_from_values(bpy.data.filepath, chosen)
    snapshot = reader.write_snapshot(job, farm=farm, below=below)
    verb = "preflight" if values["dry_run"] else "submit"
    answer = front.ask(
        verb, snapshot=str(snapshot), allow_scripts=values["allow_scripts"], job_id=values["job_id"] or ""
    )
    if "error" in answer:
        return _failed(answer["error"])
    result = answer["result"]
    if values["dry_run"]:
        front.say({"event": "note", "message": _plan_text(result), **result})
        return 0
    frames = _part("cloud_farm.events").counted(result["frames"], "frame")
    said = f"Job {result['job']} is on farm {farm}: {frames}, to land in {result['landing']}."
    front.say({"event": "submitted", **result} if values["json"] else {"event": "note", "message": said})
    if not values["wait"]:
        return 0
    answer = front.ask("follow", farm=farm, job=result["job"])
    if "error" in answer:
        return _failed(answer["error"])
    return _ended(front, answer["result"])


def _ended(front: _Front, status: Mapping[str, Any]) -> int:
    """Say how a job ended; returns the exit code that `cloud-farm` has for it."""
    counts = {"done": status["frames_done"], "total": status["frames_total"]}
    front.say({"event": "result", "job": status["id"], "state": status["state"], **counts, "stages": status["stages"]})
    for reason in status["not_landed"][:10]:
        _complain(f"Not landed: {reason}")
    for told in status["set_aside"][:10]:
        _complain(told)
    return 0 if status["state"] in ("done", "paused") and not status["not_landed"] else 1


def _plan_text(result: Mapping[str, Any]) -> str:
    counted = _part("cloud_farm.events").counted
    return (
        f"{counted(result['frames'], 'frame')} in {counted(result['chunks'], 'chunk')}; {counted(result['files'], 'file')},"
        f" {counted(result['bytes'], 'byte')}; frames would land in {result['landing']}. Nothing was sent."
    )


def _failed(error: Mapping[str, Any]) -> int:
    _complain(str(error["message"]))
    return int(error["exit_code"])


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def command(words: Sequence[str]) -> int:
    """Answer `blender --command cloud_farm …`."""
    if not words or words[0] != "submit":
        _complain("Usage: blender SCENE --command cloud_farm submit [OPTIONS]")
        return 0 if words and words[0] in ("-h", "--help") else _REFUSED
    return main(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []))

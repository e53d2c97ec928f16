"""The supervisor's front door: nothing of the volume is run before it is proven to be what the submitter hashed.

    python run_attempt.py --root R --job ID --revision N --task prepare|CHUNK --plan-sha256 X --[no-]allow-scripts -- BLENDER…

The plan's hash comes with the command; the plan names the hash of every script. Each script is read once, checked, and
run from a private copy: what is changed, added or planted beside them on the volume later is never run. The attempt itself
is `attempt.py`. Standard library only.
"""

# ruff: noqa: E402 - the path is cleaned before anything that a planted file could stand in for is imported
from __future__ import annotations

import os
import sys

# A file beside this one that is called like a module of Python would be imported instead of it (os and sys are there already).
_HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != _HERE]
import argparse
import hashlib
import json
import shutil
import signal
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, NoReturn

_UNHANDLED, _OUTPUT, _NEVER, _CAUSE_HASH = 10, 13, 78, 17


class Refused(Exception):
    """Nothing of the job is run; carries exit code and cause."""

    def __init__(self, code: int, cause: int | None, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.cause = cause
        self.reason = reason


def main(argv: list[str]) -> int:
    """Check everything, then run the attempt; returns an exit code of the contract."""
    options = parse_arguments(argv)
    os.umask(0o002)
    stops: list[int] = []  # a stop that comes before the attempt listens for it
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stops.append(number))
    job = Path(options.root) / "cloud-farm" / "jobs" / options.job
    folder = None
    try:
        plan = read_plan(job / "plans" / f"{options.revision}.json", options.plan_sha256, options.task)
        folder = Path(tempfile.mkdtemp(prefix="cloud-farm-scripts-", dir=_scratch()))
        copy_scripts(job / "scripts", plan["scripts"], folder)
        sys.path.insert(0, str(folder))
        import attempt
        from child import Stopper

        return attempt.supervise(options, plan, Stopper(stopped=bool(stops)))
    except Refused as refusal:
        return _end(job, options, refusal)
    except OSError as error:
        return _end(job, options, Refused(_OUTPUT, None, f"A file can't be written or read: {error}."))
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def read_plan(path: Path, plan_sha256: str, task: str) -> dict[str, Any]:
    """Read the plan if it is the one that was submitted.

    Raises:
        Refused: It can't be read yet (10), differs, or does not have this task (78, cause 17).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refused(_UNHANDLED, None, f"The plan can't be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != plan_sha256:
        message = "The plan on the volume is not the one that was submitted. Submit the job again."
        raise Refused(_NEVER, _CAUSE_HASH, message)
    plan: dict[str, Any] = json.loads(content)
    if task not in ("prepare", *(chunk["id"] for chunk in plan["chunks"])):
        raise Refused(_NEVER, _CAUSE_HASH, f"The plan has no chunk {task}. Submit the job again.")
    return plan


def copy_scripts(source: Path, hashes: dict[str, str], target: Path) -> None:
    """Copy every script of the plan into a private folder.

    Raises:
        Refused: One can't be read (10) or was changed (78, cause 17).
        OSError: This machine's disk can't be written.
    """
    for name, sha256 in hashes.items():
        try:
            content = (source / name).read_bytes()
        except OSError as error:
            raise Refused(_UNHANDLED, None, f"The script {name} can't be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != sha256 or "/" in name:
            message = f"{name} on the volume was changed after the job was submitted; it was not run."
            raise Refused(_NEVER, _CAUSE_HASH, f"{message} Submit the job again.")
        (target / name).write_bytes(content)


def _end(job: Path, options: argparse.Namespace, refusal: Refused) -> int:
    """Leave a trace of an attempt that was refused before it began: a line in the log, and the attempt's end."""
    fatal = {"cloud_farm": "fatal", "code": refusal.code, "cause": refusal.cause, "message": refusal.reason}
    sys.stdout.write(json.dumps(fatal) + "\n")
    _last_words(refusal.reason)
    attempt = f"{options.task}.{uuid.uuid4().hex[:8]}"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    document = {
        "schema": 1, "attempt": attempt, "chunk": options.task, "revision": options.revision, "camera": None, "frames": "",
        "exit": refusal.code, "cause": refusal.cause, "reason": refusal.reason, "started": now, "ended": now, "done": "",
        "failed": [], "death": None, "peak_memory": None,
    }  # fmt: skip
    target = job / "attempts" / f"{attempt}.end.json"
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(part, target)
    except OSError as error:
        sys.stderr.write(f"The attempt's end can't be written: {error}\n")
    return refusal.code


def _last_words(text: str) -> None:
    """Print why nothing runs, also where a container is asked for it."""
    sys.stderr.write(f"{text}\n")
    try:
        Path(os.environ["CLOUD_FARM_LAST_WORDS"]).write_text(text, encoding="utf-8")
    except (KeyError, OSError):
        return


def _scratch() -> str | None:
    folder = os.environ.get("CLOUD_FARM_SCRATCH")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    return folder


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Refuse a command line with a code of the contract: argparse's 2 means something else there."""
        self.exit(_NEVER, f"{self.format_usage()}{self.prog}: {message}\n")


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line; what follows `--` is how Blender is started, as `blender`."""
    own, blender = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = _Parser(prog="run_attempt", allow_abbrev=False)
    parser.add_argument("--root", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--revision", type=int, required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--plan-sha256", required=True)
    # Two words, so that a template for every job always passes one of them.
    parser.add_argument("--allow-scripts", action=argparse.BooleanOptionalAction, default=False)
    options = parser.parse_args(own)
    options.blender = blender
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

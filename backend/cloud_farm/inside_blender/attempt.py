"""One supervised attempt: what is still to do, the Blender that does it, and how that ended (contract §3, §4).

`run_attempt.py` has checked plan and scripts and imports this file from a private copy of them. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import prepare_job
import publish
import tries
import volume
from child import Child, ChildEnd, Stopper

_SCRIPTS = Path(__file__).resolve().parent
# Makes Cycles of Blender 4.x print what it rendered on ("Path tracing on: …"), and nothing else of its inner life.
_CYCLES_REPORT = {"GLOG_logtostderr": "1", "GLOG_vmodule": "session=2"}


class Refused(Exception):
    """The attempt ends before or without Blender; carries exit code and cause."""

    def __init__(self, code: int, cause: int | None, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.cause = cause
        self.reason = reason


@dataclass
class Outcome:
    """How the attempt ends, as its end file says it."""

    code: int = volume.OK
    cause: int | None = None
    reason: str = ""
    failed: list[dict[str, Any]] = field(default_factory=list)
    death: dict[str, Any] | None = None
    peak_memory: int | None = None
    spent: dict[str, float] = field(default_factory=dict)


@dataclass
class Attempt:
    """One attempt at one task."""

    options: argparse.Namespace
    paths: volume.JobPaths
    plan: dict[str, Any]
    id: str
    chunk: dict[str, Any] | None
    started: str = field(default_factory=volume.iso_now)

    @property
    def frames(self) -> list[int]:
        """Every frame of the task; none for prepare."""
        return volume.parse_frames(self.chunk["frames"]) if self.chunk else []

    @property
    def slug(self) -> str:
        """The camera in file names."""
        return volume.camera_slug(self.chunk["camera"] if self.chunk else None)

    @property
    def limits(self) -> dict[str, Any]:
        """The plan's limits."""
        return dict(self.plan["limits"])

    def todo(self) -> tuple[list[int], list[dict[str, Any]]]:
        """Return the frames that are still to render, and those that are given up."""
        camera = self.chunk["camera"] if self.chunk else None
        counted = tries.read_tries(self.paths, self.slug, self.frames, prefix=f"r{self.paths.revision}c")
        left, given_up = [], []
        for frame in self.frames:
            if publish.finished_record(self.paths, self.slug, frame, self.plan["render_hash"]) is not None:
                continue
            verdict = counted[frame].verdict(int(self.limits["frame_tries"])) if frame in counted else ""
            if verdict:
                given_up.append({"frame": frame, "camera": camera, "message": verdict})
            else:
                left.append(frame)
        return left, given_up

    def done(self) -> list[int]:
        """Return the frames that have a record now."""
        return [frame for frame in self.frames if self.paths.record(self.slug, frame).exists()]


def supervise(options: argparse.Namespace, plan: dict[str, Any], stopper: Stopper) -> int:
    """Run one attempt at a task of a verified plan; returns an exit code of the contract."""
    paths = volume.JobPaths(
        options.root, options.job, options.revision, visibility_s=float(plan["limits"]["visibility_s"])
    )
    os.umask(int(plan["limits"]["umask"]))
    chunk = next((dict(chunk) for chunk in plan["chunks"] if chunk["id"] == options.task), None)
    # The id is drawn here: a pod that is tried again has the same command line.
    attempt = Attempt(options, paths, plan, f"{options.task}.{uuid.uuid4().hex[:8]}", chunk)
    try:
        volume.write_json(paths.attempt_start(attempt.id), _start(attempt))
        outcome = _run(attempt, stopper)
    except Refused as refusal:
        outcome = Outcome(refusal.code, refusal.cause, refusal.reason)
    except OSError as error:
        outcome = Outcome(
            volume.OUTPUT, None, f"A file can't be written or read: {error}. Is the volume or the disk full?"
        )
    except Exception as error:  # noqa: BLE001 - a fault of ours must still leave an end and a code of the contract
        traceback.print_exc()
        outcome = Outcome(volume.UNHANDLED, None, f"The supervisor failed: {type(error).__name__}: {error}")
    return _end(attempt, outcome)


def _run(attempt: Attempt, stopper: Stopper) -> Outcome:
    if stopper.stopped or attempt.paths.stop.exists():
        return Outcome(volume.STOPPED, None, "The job was asked to stop.")
    _check_manifest(attempt.paths, attempt.plan)
    if attempt.chunk is None:
        return _prepare(attempt, stopper)
    _check_cost(attempt)
    left, given_up = attempt.todo()
    if not left:
        _tidy(attempt, [])  # a killed attempt may have done the last frame and left parts of others
        return _nothing_left(given_up)
    with _scratch(attempt) as scratch:
        child = _child(attempt, _render_command(attempt, left), scratch)
        limit = attempt.limits["frame_seconds"]
        end = child.run(stopper, frame_seconds=limit, over_budget=lambda: _over_budget(attempt))
    _tidy(attempt, left)
    return _judge(attempt, end, given_up)


def _tidy(attempt: Attempt, frames: list[int]) -> None:
    """Finish what the child claimed and could not finish; remove its parts, and everybody's once the chunk is whole."""
    paths, slug = attempt.paths, attempt.slug
    try:
        for frame in frames:
            if paths.claim(slug, frame).exists() and not paths.record(slug, frame).exists():
                publish.finished_record(paths, slug, frame, attempt.plan["render_hash"])
        publish.remove_parts_of(paths, attempt.id, frames, slug)
        if attempt.chunk is not None and len(attempt.done()) == len(attempt.frames):
            publish.sweep(paths, attempt.chunk["id"], attempt.frames, slug)
    except OSError as error:
        sys.stderr.write(f"{attempt.id}: what it left on the volume can't be tidied: {error}\n")


def _check_manifest(paths: volume.JobPaths, plan: dict[str, Any]) -> None:
    try:
        manifest = prepare_job.read_manifest(paths)
    except prepare_job.BadScene as error:
        raise Refused(volume.NEVER, volume.CAUSE_HASH, str(error)) from error
    if manifest["manifest_sha256"] != plan["manifest_sha256"]:
        message = "job.json names other files than the plan. Submit the job again."
        raise Refused(volume.NEVER, volume.CAUSE_HASH, message)


def _prepare(attempt: Attempt, stopper: Stopper) -> Outcome:
    arguments = [*_common(attempt), "--attempt", attempt.id]
    with _scratch(attempt) as scratch:
        end = _child(attempt, _script_command(attempt, "prepare_job.py", arguments), scratch).run(
            stopper, frame_seconds=None, over_budget=lambda: False
        )
    prepare_job.remove_aside(attempt.paths, attempt.id)
    return _by_exit_code(end, Outcome(), all_done=end.code == volume.OK)


def _script_command(attempt: Attempt, name: str, arguments: list[str]) -> list[str]:
    """Return how a script that needs no bpy is run: by our Python, or where a Blender lends us its own, by that Blender."""
    script = str(_SCRIPTS / name)
    if "bpy" not in sys.modules:
        return [sys.executable, script, *arguments]
    # Some images have no Python beside Blender's, and then sys.executable is not one.
    blender = [*attempt.options.blender, "-b", "--factory-startup", "--python-exit-code", str(volume.UNHANDLED)]
    return [*blender, "--python", script, "--", *arguments]


def _render_command(attempt: Attempt, frames: list[int]) -> list[str]:
    assert attempt.chunk is not None
    autoexec = "--enable-autoexec" if attempt.options.allow_scripts else "--disable-autoexec"
    script = str(_SCRIPTS / "render_chunk.py")
    return [
        *attempt.options.blender, "-b", "--factory-startup", autoexec, "--python", script, "--", *_common(attempt),
        "--chunk", attempt.chunk["id"], "--camera", attempt.chunk["camera"] or "", "--attempt", attempt.id,
        f"--frames={volume.format_frames(frames)}",
    ]  # fmt: skip


def _common(attempt: Attempt) -> list[str]:
    return ["--root", str(attempt.paths.root), "--job", attempt.paths.job, "--revision", str(attempt.paths.revision)]


def _child(attempt: Attempt, command: list[str], scratch: Path) -> Child:
    log = scratch / "blender.log"
    environment = {
        **os.environ,
        **_CYCLES_REPORT,
        "CLOUD_FARM_LOG": str(log),
        "CLOUD_FARM_SCRATCH": str(scratch),
        # Blender's own temporary folder goes with ours, however it ends.
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)),
        "PYTHONUNBUFFERED": "1",
    }
    return Child(command, environment, log, attempt.paths.log(attempt.id), log_bytes=int(attempt.limits["log_bytes"]))


def _judge(attempt: Attempt, end: ChildEnd, given_up: list[dict[str, Any]]) -> Outcome:
    """Turn the child's end into the attempt's: what counts is which frames have a record."""
    outcome = Outcome(peak_memory=end.peak_memory, failed=[*given_up], spent=end.spent)
    done = set(attempt.done())
    camera = attempt.chunk["camera"] if attempt.chunk else None
    for frame, message in end.failed.items():
        if frame not in done:
            outcome.failed.append({"frame": frame, "camera": camera, "message": message})
    all_done = done.issuperset(attempt.frames)
    if end.over_budget and not all_done:
        return _with(outcome, volume.NEVER, volume.CAUSE_COST, _cost_message(attempt))
    if end.timed_out is not None and end.timed_out not in done:
        limit = attempt.limits["frame_seconds"]
        message = f"The frame took longer than its limit of {limit:g} s. Raise it with --frame-limit, or make the frame lighter."
        outcome.failed.append({"frame": end.timed_out, "camera": camera, "message": message})
        end = end.as_exit(volume.SOME_FAILED)
    return _by_exit_code(end, outcome, attempt=attempt, all_done=all_done)


def _by_exit_code(end: ChildEnd, outcome: Outcome, *, all_done: bool, attempt: Attempt | None = None) -> Outcome:
    if all_done:
        return _with(outcome, volume.OK, None, "")  # whatever Blender did after its last frame
    if end.stopped or end.signal == "SIGTERM":
        return _with(outcome, volume.STOPPED, None, "Stopped from outside.")
    if end.signal:
        outcome.death = {"signal": end.signal, "frame": end.frame}
        where = f" while it rendered frame {end.frame}" if end.frame is not None else " before its first frame"
        return _with(outcome, volume.UNHANDLED, None, f"Blender was ended by {end.signal}{where}.")
    if end.code in (volume.OK, volume.SOME_FAILED) and attempt is not None:
        return _some_failed(outcome, attempt)
    known = {volume.NO_DEVICE, volume.OUTPUT, volume.DEVICE_ERROR, volume.NEVER, volume.STOPPED}
    reason = end.message or f"Blender ended with exit code {end.code}. The log has its last words."
    return _with(outcome, end.code if end.code in known else volume.UNHANDLED, end.cause, reason)


def _some_failed(outcome: Outcome, attempt: Attempt) -> Outcome:
    """Frames are missing: again, until each of them had its tries."""
    frames = ", ".join(str(item["frame"]) for item in outcome.failed)
    reason = (
        f"Frames failed: {frames}. {outcome.failed[-1]['message']}"
        if outcome.failed
        else "Blender left frames out without a word."
    )
    outcome = _with(outcome, volume.SOME_FAILED, None, reason)
    volume.write_json(attempt.paths.attempt_end(attempt.id), _end_document(attempt, outcome))  # what `todo` counts
    left, given_up = attempt.todo()
    if left:
        return outcome
    messages = {item["frame"]: item for item in [*given_up, *outcome.failed]}
    outcome.failed = [messages[frame] for frame in sorted(messages)]
    return _with(outcome, volume.NEVER, volume.CAUSE_FRAMES, reason)


def _nothing_left(given_up: list[dict[str, Any]]) -> Outcome:
    if not given_up:
        return Outcome()
    frames = ", ".join(str(item["frame"]) for item in given_up)
    return Outcome(
        volume.NEVER, volume.CAUSE_FRAMES, f"Frames were given up: {frames}. {given_up[-1]['message']}", failed=given_up
    )


def _with(outcome: Outcome, code: int, cause: int | None, reason: str) -> Outcome:
    outcome.code, outcome.cause, outcome.reason = code, cause, reason
    return outcome


# -- the cost cap ------------------------------------------------------------------------------------------------------


def spent(paths: volume.JobPaths, price_per_hour: float) -> float:
    """Sum what all attempts of the job cost so far, by the volume's clock.

    An attempt without an end runs, or was killed: it counts up to its log's last sign of life.
    """
    total = 0.0
    for start in paths.attempts.glob("r*.start.json"):
        attempt = start.name.removesuffix(".start.json")
        until = _modified(paths.attempt_end(attempt)) or _modified(paths.log(attempt))
        total += max(0.0, (until or 0.0) - (_modified(start) or 0.0))
    return total / 3600 * price_per_hour


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _over_budget(attempt: Attempt) -> bool:
    cap, price = attempt.limits["cost_cap"], attempt.limits["price_per_hour"]
    return bool(cap and price and spent(attempt.paths, price) >= cap)


def _check_cost(attempt: Attempt) -> None:
    if _over_budget(attempt):
        raise Refused(volume.NEVER, volume.CAUSE_COST, _cost_message(attempt))


def _cost_message(attempt: Attempt) -> str:
    return f"The job reached its cost cap of {attempt.limits['cost_cap']:g}. Finished frames are kept. Raise it with --cost-cap."


# -- start and end -----------------------------------------------------------------------------------------------------


def _start(attempt: Attempt) -> dict[str, Any]:
    return {
        **_identity(attempt),
        "pid": os.getpid(),
        "started": attempt.started,
        "blender": list(attempt.options.blender),
    }


def _identity(attempt: Attempt) -> dict[str, Any]:
    chunk = attempt.chunk or {"id": attempt.options.task, "camera": None, "frames": ""}
    return {
        "schema": 1, "attempt": attempt.id, "chunk": chunk["id"], "revision": attempt.paths.revision,
        "camera": chunk["camera"], "frames": chunk["frames"], "host": os.environ.get("CLOUD_FARM_NODE") or socket.gethostname(),
    }  # fmt: skip


def _end_document(attempt: Attempt, outcome: Outcome) -> dict[str, Any]:
    return {
        **_identity(attempt), "exit": outcome.code, "cause": outcome.cause, "reason": outcome.reason, "started": attempt.started,
        "ended": volume.iso_now(), "done": volume.format_frames(attempt.done()), "failed": outcome.failed, "death": outcome.death,
        "peak_memory": outcome.peak_memory, "spent": outcome.spent,
    }  # fmt: skip


def _end(attempt: Attempt, outcome: Outcome) -> int:
    if outcome.code not in (volume.OK, volume.STOPPED):
        volume.last_words(f"{attempt.id}: {outcome.reason}")
    try:
        volume.write_json(attempt.paths.attempt_end(attempt.id), _end_document(attempt, outcome))
    except OSError as error:
        sys.stderr.write(f"{attempt.id}: the attempt's end can't be written: {error}\n")
        return volume.OUTPUT if outcome.code == volume.OK else outcome.code
    return outcome.code


@contextmanager
def _scratch(attempt: Attempt) -> Iterator[Path]:
    """A private folder on this machine, gone afterwards."""
    folder = os.environ.get("CLOUD_FARM_SCRATCH")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    prefix = f"cloud-farm-{attempt.id}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as scratch:
        yield Path(scratch)

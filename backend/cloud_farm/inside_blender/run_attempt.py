"""The supervisor of one attempt: stands outside the Blender that renders, and can say how it ended even if it was killed.

    python run_attempt.py --root R --job ID --revision N --task prepare|CHUNK --plan-sha256 X [--allow-scripts] -- BLENDER…

It checks the hashes of plan, scripts and scene manifest, starts Blender as a child, forwards SIGTERM, keeps the per-frame
limit and the cost cap, removes parts, tees the log, and writes the attempt's start and end (contract §3, §4).
Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import prepare_job
import publish
import tries
import volume
from child import Child, ChildEnd, Stopper


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


def main(argv: list[str]) -> int:
    """Run one attempt; returns an exit code of the contract."""
    options = _arguments(argv)
    stopper = Stopper()
    paths = volume.JobPaths(options.root, options.job, options.revision)
    try:
        plan = check_plan(paths, options.plan_sha256)
        attempt = Attempt(options, paths, plan, _draw_id(options.task), _chunk(plan, options.task))
    except Refused as refusal:
        volume.emit("fatal", code=refusal.code, cause=refusal.cause, message=refusal.reason)
        _write_refusal(paths, options.task, refusal)
        return refusal.code
    os.umask(int(attempt.limits["umask"]))
    paths.visibility_s = float(attempt.limits["visibility_s"])
    try:
        volume.write_json(paths.attempt_start(attempt.id), _start(attempt))
        outcome = _run(attempt, stopper)
    except Refused as refusal:
        outcome = Outcome(refusal.code, refusal.cause, refusal.reason)
        volume.emit("fatal", code=refusal.code, cause=refusal.cause, message=refusal.reason)
    except OSError as error:
        outcome = Outcome(volume.OUTPUT, None, f"The farm's volume can't be written: {error}")
        volume.emit("fatal", code=outcome.code, cause=None, message=outcome.reason)
    return _end(attempt, outcome)


def check_plan(paths: volume.JobPaths, plan_sha256: str) -> dict[str, Any]:
    """Read the plan; it, every script and the scene's file list must be what the submitter hashed.

    Raises:
        Refused: Something differs; nothing of it is run.
    """
    try:
        content = paths.plan.read_bytes()
    except OSError as error:
        raise Refused(volume.UNHANDLED, None, f"The plan can't be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != plan_sha256:
        raise Refused(
            volume.NEVER,
            volume.CAUSE_HASH,
            "The plan on the volume is not the one that was submitted. Submit the job again.",
        )
    plan = volume.read_json(paths.plan)
    for name, sha256 in plan["scripts"].items():
        try:
            found = volume.sha256_file(paths.scripts / name)
        except OSError as error:
            raise Refused(volume.UNHANDLED, None, f"The script {name} can't be read: {error}") from error
        if found != sha256:
            message = (
                f"{name} on the volume was changed after the job was submitted; it was not run. Submit the job again."
            )
            raise Refused(volume.NEVER, volume.CAUSE_HASH, message)
    _check_manifest(paths, plan)
    return plan


def _check_manifest(paths: volume.JobPaths, plan: dict[str, Any]) -> None:
    try:
        manifest = prepare_job.read_manifest(paths)
    except prepare_job.BadScene as error:
        raise Refused(volume.NEVER, volume.CAUSE_HASH, str(error)) from error
    if manifest["manifest_sha256"] != plan["manifest_sha256"]:
        raise Refused(
            volume.NEVER, volume.CAUSE_HASH, "job.json names other files than the plan. Submit the job again."
        )


def _run(attempt: Attempt, stopper: Stopper) -> Outcome:
    if stopper.stopped or attempt.paths.stop.exists():
        return Outcome(volume.STOPPED, None, "The job was asked to stop.")
    if attempt.chunk is None:
        return _prepare(attempt, stopper)
    _check_cost(attempt)
    left, given_up = attempt.todo()
    if not left:
        return _nothing_left(given_up)
    with tempfile.TemporaryDirectory(prefix=f"cloud-farm-{attempt.id}-", dir=_scratch()) as scratch:
        child = _child(attempt, _render_command(attempt, left), Path(scratch))
        end = child.run(
            stopper, frame_seconds=attempt.limits["frame_seconds"], over_budget=lambda: _over_budget(attempt)
        )
        publish.remove_parts_of(attempt.paths, attempt.id, left, attempt.slug)
    return _judge(attempt, end, given_up)


def _prepare(attempt: Attempt, stopper: Stopper) -> Outcome:
    script = attempt.paths.scripts / "prepare_job.py"
    command = [sys.executable, str(script), *_common(attempt), "--attempt", attempt.id]
    with tempfile.TemporaryDirectory(prefix=f"cloud-farm-{attempt.id}-", dir=_scratch()) as scratch:
        end = _child(attempt, command, Path(scratch)).run(stopper, frame_seconds=None, over_budget=lambda: False)
    return _by_exit_code(end, Outcome())


def _render_command(attempt: Attempt, frames: list[int]) -> list[str]:
    assert attempt.chunk is not None
    autoexec = "--enable-autoexec" if attempt.options.allow_scripts else "--disable-autoexec"
    script = str(attempt.paths.scripts / "render_chunk.py")
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
        "PYTHONUNBUFFERED": "1",
    }
    return Child(command, environment, log, attempt.paths.log(attempt.id), log_bytes=int(attempt.limits["log_bytes"]))


def _judge(attempt: Attempt, end: ChildEnd, given_up: list[dict[str, Any]]) -> Outcome:
    """Turn the child's end into the attempt's: what counts is which frames have a record."""
    outcome = Outcome(peak_memory=end.peak_memory, failed=[*given_up])
    done = set(attempt.done())
    camera = attempt.chunk["camera"] if attempt.chunk else None
    for frame, message in end.failed.items():
        if frame not in done:
            outcome.failed.append({"frame": frame, "camera": camera, "message": message})
    if end.over_budget:
        return _with(outcome, volume.NEVER, volume.CAUSE_COST, _cost_message(attempt))
    if end.timed_out is not None:
        limit = attempt.limits["frame_seconds"]
        message = f"The frame took longer than its limit of {limit:g} s. Raise it with --frame-limit, or make the frame lighter."
        outcome.failed.append({"frame": end.timed_out, "camera": camera, "message": message})
        end = end.as_exit(volume.SOME_FAILED)
    return _by_exit_code(end, outcome, attempt=attempt, all_done=done.issuperset(attempt.frames))


def _by_exit_code(end: ChildEnd, outcome: Outcome, *, attempt: Attempt | None = None, all_done: bool = True) -> Outcome:
    if end.stopped:
        return _with(outcome, volume.STOPPED, None, "Stopped from outside.")
    if end.signal:
        outcome.death = {"signal": end.signal, "frame": end.frame}
        where = f" while it rendered frame {end.frame}" if end.frame is not None else ""
        return _with(outcome, volume.UNHANDLED, None, f"Blender was ended by {end.signal}{where}.")
    if end.code in (volume.OK, volume.SOME_FAILED) and all_done:
        return _with(outcome, volume.OK, None, "")
    if end.code in (volume.OK, volume.SOME_FAILED):
        return _some_failed(outcome, attempt)
    known = {volume.NO_DEVICE, volume.OUTPUT, volume.DEVICE_ERROR, volume.NEVER, volume.STOPPED}
    reason = end.message or f"Blender ended with exit code {end.code}. The log has its last words."
    return _with(outcome, end.code if end.code in known else volume.UNHANDLED, end.cause, reason)


def _some_failed(outcome: Outcome, attempt: Attempt | None) -> Outcome:
    """Frames are missing: again, until each of them had its tries."""
    frames = ", ".join(str(item["frame"]) for item in outcome.failed)
    reason = (
        f"Frames failed: {frames}. {outcome.failed[-1]['message']}"
        if outcome.failed
        else "Blender left frames out without a word."
    )
    outcome = _with(outcome, volume.SOME_FAILED, None, reason)
    if attempt is None:
        return outcome
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
    """Sum what all attempts of the job cost so far: their time, running ones until now."""
    total = 0.0
    for start in paths.attempts.glob("r*.start.json"):
        try:
            begun = start.stat().st_mtime
            end = start.with_name(start.name.replace(".start.", ".end."))
            until = end.stat().st_mtime if end.exists() else time.time()
        except OSError:
            continue
        total += max(0.0, until - begun)
    return total / 3600 * price_per_hour


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
        "peak_memory": outcome.peak_memory,
    }  # fmt: skip


def _end(attempt: Attempt, outcome: Outcome) -> int:
    if outcome.code not in (volume.OK, volume.STOPPED):
        sys.stderr.write(f"{attempt.id}: {outcome.reason}\n")
    try:
        volume.write_json(attempt.paths.attempt_end(attempt.id), _end_document(attempt, outcome))
    except OSError as error:
        sys.stderr.write(f"{attempt.id}: the attempt's end can't be written: {error}\n")
        return volume.OUTPUT if outcome.code == volume.OK else outcome.code
    return outcome.code


def _write_refusal(paths: volume.JobPaths, task: str, refusal: Refused) -> None:
    """Leave a trace of an attempt that was refused before it began."""
    attempt = _draw_id(task)
    document = {
        "schema": 1, "attempt": attempt, "chunk": task, "revision": paths.revision, "exit": refusal.code, "cause": refusal.cause,
        "reason": refusal.reason, "ended": volume.iso_now(), "done": "", "failed": [], "death": None,
    }  # fmt: skip
    try:
        volume.write_json(paths.attempt_end(attempt), document)
    except OSError as error:
        sys.stderr.write(f"{attempt}: the attempt's end can't be written: {error}\n")


def _draw_id(task: str) -> str:
    """Draw the attempt's id here: a retried pod has the same command line."""
    return f"{task}.{uuid.uuid4().hex[:8]}"


def _chunk(plan: dict[str, Any], task: str) -> dict[str, Any] | None:
    if task == "prepare":
        return None
    for chunk in plan["chunks"]:
        if chunk["id"] == task:
            return dict(chunk)
    raise Refused(volume.NEVER, volume.CAUSE_HASH, f"The plan has no chunk {task}. Submit the job again.")


def _scratch() -> str | None:
    folder = os.environ.get("CLOUD_FARM_SCRATCH")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    return folder


def _arguments(argv: list[str]) -> argparse.Namespace:
    own, blender = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = argparse.ArgumentParser(prog="run_attempt")
    parser.add_argument("--root", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--revision", type=int, required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--plan-sha256", required=True)
    parser.add_argument("--allow-scripts", action="store_true")
    options = parser.parse_args(own)
    options.blender = blender
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

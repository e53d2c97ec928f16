"""Renders a chunk's frames inside Blender: each one to scratch, checked, published, recorded (contract §3, §4, design §7).

blender -b --factory-startup --disable-autoexec --python render_chunk.py -- --root R --job ID --revision N
    --chunk C --camera CAM --attempt A --frames=TEXT
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import socket
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bpy  # type: ignore[import-not-found,unused-ignore]
import cycles_devices
import publish
import render_errors
import scene_setup
import volume
from frame_outputs import BadOutput, FrameOutputs, OutputFile
from render_errors import FrameError
from render_log import RenderLog, StatsListener

_SCRATCH_FULL = 1 << 20
"""Bytes that a disk which is full may still call free."""


@dataclass
class Chunk:
    """What this Blender renders, and how it goes."""

    paths: volume.JobPaths
    plan: dict[str, Any]
    camera: str | None
    attempt: str
    frames: list[int]
    scene: Any
    outputs: FrameOutputs
    device: cycles_devices.DeviceUse | None
    log: RenderLog
    stats: StatsListener
    findings: list[dict[str, Any]] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    @property
    def slug(self) -> str:
        """The camera in file names."""
        return volume.camera_slug(self.camera)


def main(argv: list[str]) -> int:
    """Render the chunk; returns an exit code of the contract."""
    options = _arguments(argv)
    try:
        chunk = load(options)
    except scene_setup.BadJob as error:
        return fatal(volume.NEVER, error.cause, str(error))
    except cycles_devices.DeviceAbsent as error:
        return fatal(volume.NO_DEVICE, None, str(error))
    try:
        return render_all(chunk)
    except OSError as error:
        return fatal(
            volume.OUTPUT,
            None,
            f"The frame can't be written: {error}. Is the volume full, or not writable for this user?",
        )
    finally:
        chunk.stats.close()
        chunk.outputs.clear()


def fatal(code: int, cause: int | None, message: str) -> int:
    """Say why the chunk ends; the supervisor reads it."""
    volume.emit("fatal", code=code, cause=cause, message=message)
    return code


def load(options: argparse.Namespace) -> Chunk:
    """Open and set up the scene; everything that can be wrong for the whole chunk is found here.

    Raises:
        BadJob: Another Blender than the plan's, or a file, scene, camera, layer, engine or format that is not there.
        DeviceAbsent: The wanted device is not on this machine.
    """
    began = time.monotonic()
    paths = volume.JobPaths(options.root, options.job, options.revision)
    plan = volume.read_json(paths.plan)
    paths.visibility_s = float(plan["limits"]["visibility_s"])
    settings = plan["settings"]
    scene_setup.check_blender(plan["blender"])
    scene, findings = scene_setup.open_scene(paths, settings, options.camera or None)
    for finding in findings:
        volume.emit("finding", **finding)
    device = None
    if scene.render.engine == "CYCLES":
        device = cycles_devices.enable(settings["device"], with_cpu=bool(settings["device_with_cpu"]))
        cycles_devices.use_for(list(bpy.data.scenes), settings["device"])
    scratch = Path(os.environ.get("CLOUD_FARM_SCRATCH") or bpy.app.tempdir) / options.attempt
    prefix = f"{volume.slugify(options.camera)}_" if settings["camera_prefix"] and options.camera else ""
    outputs = FrameOutputs(scene, scratch, settings["template"], prefix)
    frames = volume.parse_frames(options.frames)
    volume.emit(
        "scene_loaded",
        seconds=round(time.monotonic() - began, 3),
        engine=scene.render.engine,
        device=device and device.type,
    )
    return Chunk(
        paths,
        plan,
        options.camera or None,
        options.attempt,
        frames,
        scene,
        outputs,
        device,
        RenderLog(),
        StatsListener(),
        findings,
    )


def render_all(chunk: Chunk) -> int:
    """Render every frame in order; a failed one does not end the chunk."""
    parent = os.getppid()
    for index, frame in enumerate(chunk.frames):
        if index:
            volume.reach("between_frames", frame)
        if chunk.paths.stop.exists() or os.getppid() != parent:
            return volume.STOPPED
        try:
            render_one(chunk, frame, index)
        except FrameError as error:
            chunk.failed.append(frame)
            volume.emit("frame_failed", frame=frame, camera=chunk.camera, message=str(error))
            if error.device:
                return fatal(volume.DEVICE_ERROR, None, f"Frame {frame}: {error}")
    return volume.SOME_FAILED if chunk.failed else volume.OK


def render_one(chunk: Chunk, frame: int, index: int) -> None:
    """Render, check and publish one frame, unless it is there.

    Raises:
        FrameError: Blender, Cycles or the check of the files said no.
        OSError: The volume can't be written.
    """
    if publish.finished_record(chunk.paths, chunk.slug, frame, chunk.plan["render_hash"]) is not None:
        volume.emit("frame_done", frame=frame, camera=chunk.camera, skipped=True)
        return
    marker = chunk.paths.marker(chunk.slug, frame, chunk.attempt)
    volume.write_file(marker, b"started\n")
    chunk.stats.begin(frame)
    volume.emit(
        "frame_started",
        frame=frame,
        camera=chunk.camera,
        index=index,
        of=len(chunk.frames),
        started=chunk.stats.started,
    )
    began = time.monotonic()
    files, device = _render(chunk, frame)
    seconds = round(time.monotonic() - began, 3)
    volume.reach("verify", frame)
    record = _record(chunk, frame, files, seconds, device)
    record = publish.publish(chunk.paths, record, [(item.source, item.name) for item in files])
    marker.unlink(missing_ok=True)
    chunk.outputs.clear()
    main_file = next(item for item in record["files"] if item["role"] == "main")
    volume.emit(
        "frame_done", frame=frame, camera=chunk.camera, seconds=seconds, main=main_file["path"], bytes=main_file["bytes"],
        device=record["device"], skipped=record["attempt"] != chunk.attempt, peak_memory=record["peak_memory"],
    )  # fmt: skip


def _render(chunk: Chunk, frame: int) -> tuple[list[OutputFile], cycles_devices.DeviceUse | None]:
    chunk.outputs.begin()
    chunk.log.mark()
    chunk.scene.frame_set(frame)
    try:
        # A still render: it leaves the scene's frame range alone, which drivers and burnt-in stamps may read.
        with scene_setup.steady_camera(chunk.scene, frame):
            result = bpy.ops.render.render(write_still=True, scene=chunk.scene.name)
    except RuntimeError as error:
        raise _frame_error(chunk, render_errors.raised(str(error))) from error
    text = chunk.log.since_mark()
    if said := render_errors.printed(text):
        raise _frame_error(chunk, said)
    if "FINISHED" not in result:
        raise FrameError(f"Blender ended the render as {', '.join(result)}.")
    device = cycles_devices.reported(text, chunk.device) if chunk.device is not None else None
    if device is not None and chunk.device is not None and not _fits(device, chunk):
        raise FrameError(
            f"Cycles rendered on {device.type} ({device.name}) although {chunk.device.type} was asked for.", device=True
        )
    try:
        return chunk.outputs.collect(frame), device
    except BadOutput as error:
        free = shutil.disk_usage(chunk.outputs.scratch).free
        if free < _SCRATCH_FULL:
            raise OSError(
                errno.ENOSPC, f"the disk of {socket.gethostname()} is full", str(chunk.outputs.scratch)
            ) from error
        raise FrameError(str(error)) from error


def _fits(device: cycles_devices.DeviceUse, chunk: Chunk) -> bool:
    """Tell whether the device that was used is the one asked for; the CPU may help only if that was asked for too."""
    assert chunk.device is not None
    allowed = {chunk.device.type} | ({"CPU"} if chunk.plan["settings"]["device_with_cpu"] else set())
    return set(device.type.split("+")) <= allowed and chunk.device.type in device.type.split("+")


def _frame_error(chunk: Chunk, said: str) -> FrameError:
    """Make what Blender said the frame's error, with what is known about where it was rendered."""
    gpu = ""
    if chunk.device is not None and chunk.device.type != "CPU":
        names = dict.fromkeys(chunk.device.name.split(", "))  # a pod's GPUs are of one kind
        gpu = f"{', '.join(names)}, {chunk.device.type}"
    return render_errors.frame_error(
        said,
        gpu=gpu,
        in_pod="CLOUD_FARM_NODE" in os.environ,
        keeps_data=bool(chunk.scene.render.use_persistent_data),
    )


def _record(
    chunk: Chunk, frame: int, files: list[OutputFile], seconds: float, device: cycles_devices.DeviceUse | None
) -> dict[str, Any]:
    scene = chunk.scene
    return {
        "schema": 1,
        "frame": frame,
        "camera": chunk.camera,
        "files": [_file_entry(item) for item in files],
        "render_hash": chunk.plan["render_hash"],
        "resolution": list(files[0].size),
        "seconds": seconds,
        "device": device.type if device else None,
        "device_name": device.name if device else None,
        "device_evidence": device.evidence if device else None,
        "samples": scene.cycles.samples if scene.render.engine == "CYCLES" else None,
        "host": os.environ.get("CLOUD_FARM_NODE") or socket.gethostname(),
        "attempt": chunk.attempt,
        "blender": f"{bpy.app.version_string} ({bpy.app.build_hash.decode('ascii', 'replace')})",
        "image": os.environ.get("CLOUD_FARM_IMAGE"),
        "peak_memory": scene_setup.peak_memory(),
        "findings": chunk.findings,
    }


def _file_entry(item: OutputFile) -> dict[str, Any]:
    return {
        "path": item.name,
        "role": item.role,
        "layer": None,
        "view": item.view,
        "bytes": item.source.stat().st_size,
        "sha256": volume.sha256_file(item.source),
    }


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="render_chunk")
    for name in ("--root", "--job", "--chunk", "--camera", "--attempt", "--frames"):
        parser.add_argument(name, required=True)
    parser.add_argument("--revision", type=int, required=True)
    return parser.parse_args(argv)


def _leave(code: int) -> None:
    """End Blender at once: with handlers registered, bpy 4.2 crashes and 4.5 hangs at a normal exit."""
    RenderLog.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        exit_code = main(sys.argv[sys.argv.index("--") + 1 :])
    except SystemExit as stop:
        exit_code = volume.UNHANDLED if stop.code else volume.OK
    except BaseException as error:  # noqa: BLE001 - a bug of ours or of Blender's Python must become exit code 10
        traceback.print_exc()
        exit_code = fatal(volume.UNHANDLED, None, f"{type(error).__name__}: {error}")
    _leave(exit_code)

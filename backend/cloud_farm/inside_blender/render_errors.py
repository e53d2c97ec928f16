"""What Blender and Cycles say when a frame goes wrong: whether it counts, whom it blames, and what people read of it.

Needs no Blender. Cycles raises some of its errors and only prints others, and then it saves a picture all the same.
"""

from __future__ import annotations

import re

# The device has no room for the scene, in the words of CUDA, OptiX, HIP, oneAPI, Metal, Vulkan and of Cycles about each of them.
_VIDEO_MEMORY = re.compile(
    r"out of (GPU|device|video)( and (shared )?host)? memory|out of memory in (?-i:(cu|hip|optix|ze)[A-Z])"
    r"|\b(CUDA|OptiX|HIP|oneAPI|Metal)(_\w*| error\b.*|\W+)out.?of.?memory|hipErrorOutOfMemory|kIOGPU\w*OutOfMemory"
    r"|out_of_device_memory|GPU memory was likely exceeded|unable to allocate (index|vertex|uniform) buffer"
    r"|out of memory (in|on) .*(queue|device)",
    re.IGNORECASE,
)
# What the device says when it is broken for this process: no later frame would fare better.
_DEVICE_ERROR = re.compile(
    r"(CUDA|OptiX|HIP|oneAPI|Metal)\b.*\b(error|fail(ed|ure)|illegal|launch|unknown)|illegal (memory )?address"
    r"|no Cycles device|out of memory",
    re.IGNORECASE,
)
# What Blender only prints while it saves a picture that is not what the scene says.
_RENDER_ERROR = re.compile(
    r"out of (system )?memory|malloc returns null|(failed|unable) to (denoise|allocate|build)", re.IGNORECASE
)
_ERROR_LINE = re.compile(r"^(?:\d\d:\d\d\.\d{3}\s+\S+\s+\|\s+)?(?:ERROR|Error)\b[:\s]*(?P<text>.+)$", re.MULTILINE)


class FrameError(Exception):
    """This frame failed; others may not."""

    def __init__(self, message: str, *, device: bool = False) -> None:
        super().__init__(message)
        self.device = device


def printed(log: str) -> str:
    """Return the first error in a frame's log for which its picture is not to be trusted; empty if there is none."""
    said = (match["text"].strip() for match in _ERROR_LINE.finditer(log))
    return next((text for text in said if _is_of_device(text) or _RENDER_ERROR.search(text)), "")


def raised(message: str) -> str:
    """Return what an exception of Blender's says, each line once and without the word before it."""
    lines = [line.removeprefix("Error:").strip() for line in message.splitlines()]
    return " ".join(dict.fromkeys(line for line in lines if line)) or "Blender could not render the frame."


def frame_error(said: str, *, gpu: str = "", in_pod: bool = False, keeps_data: bool = False) -> FrameError:
    """Make what Blender said the frame's error, in plain words where it is the GPU's memory that was too small.

    Frames that failed alike are told of in one sentence, so a frame's number is not among the words.

    Args:
        gpu: The GPU that was rendered on; empty where it is not known.
        in_pod: A farm's profile chose the GPU.
        keeps_data: The scene stays in memory between frames.
    """
    if not _VIDEO_MEMORY.search(said):
        return FrameError(said, device=_is_of_device(said))
    ways = ["choose one with more in the farm's profile (gpu.models)" if in_pod else "render on one with more"]
    ways += ["use smaller textures or fewer subdivisions", *(["turn off persistent data"] if keeps_data else [])]
    has = f"has ({gpu})" if gpu else "has"
    words = f"It needs more video memory than the GPU {has}: {', '.join(ways[:-1])}, or {ways[-1]}."
    return FrameError(f"{words} Blender: {said}", device=True)


def _is_of_device(said: str) -> bool:
    return bool(_VIDEO_MEMORY.search(said) or _DEVICE_ERROR.search(said))

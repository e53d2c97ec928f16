"""The backend's sentences for who has buttons and no terminal: a command in one becomes the button that does the same.

Sentences end with what to do next, and many were written by machines that render, who know nothing of the reader; so it is the text
that is changed, here, on its way from the worker to the panel. A test goes through every sentence of the backend.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

_KEYS = {"message", "messages", "fix", "not_landed"}
"""Where sentences are in what the worker says."""
_LATER = "jobs"
"""A list of thousands, each with a sentence: who shows one of them words it then."""
_COMMAND = r"cloud-farm (?P<verb>retry|resume|cancel|delete)(?P<rest>(?: (?:--[a-z-]+|…|\d+d|[\w-]+-\d{8}-\w{6}))*)"
_SENTENCES = (
    # what the command line shows, and the panel shows anyway
    (r" ?(?:Follow it|List them|Start one) with: cloud-farm [a-z]+(?: \S+)?", ""),
    (r"(?P<what>Free some(?: space)?): cloud-farm (?:store gc, cloud-farm )?delete --older-than \d+d", r"\g<what>: delete old jobs"),
    (r"Make the movie afterwards: cloud-farm fetch \S+ --encode", "Make the movie of them afterwards, in the video sequencer"),
    (r"(?P<what>To render (?:some|chosen frames) again)(?:: cloud-farm retry .*--force|, add --force\.)", r"\g<what>: Render Frames Again"),
    (r"what 'cloud-farm template' prints for this farm", "this farm's WorkflowTemplate"),
    (r" with: kubectl get nodes --show-labels", ", or ask who runs the cluster"),
    (r" \(Ctrl-C where it was started\)", ", where it was started"),
    # which Blender: it is this one
    (r" Name one with --blender or CLOUD_FARM_BLENDER, or install Blender's Python module: uv sync --group \w+", " Restart Blender."),
    (r"CLOUD_FARM_BLENDER names '(?P<path>[^']*)', which is not a program that can be run\.",
     r"This Blender's program is not at \g<path> any more. Restart Blender."),
    (r"--blender, or the farm's profile,", "The farm's profile"),
    (r" Name (?:another|a Blender|a newer one) with --blender\.", " The farm's profile can name another one (blender)."),
    (r"Name a (?P<which>.+?) with --blender, or", r"Retry it in a \g<which>, or"),
    # options of the command line
    (r", or allow it to be absent: --allow-missing '[^']*'", "."),
    (r", or submit with --allow-missing NAME", ""),
    (r" ?If you trust the scene, submit it with --allow-scripts\.", ""),
    (r"choose one with --camera", "choose one in the Cloud Farm panel"),
    (r"choose --device", "choose a device in the Cloud Farm panel"),
    (r"render with --device (?P<device>\w+)", r"choose the device \g<device> in the Cloud Farm panel"),
    (r"Choose Cycles with --engine CYCLES", "Choose Cycles in the Render properties"),
    (r"with --frame-limit", "as limits.frame_seconds in the farm's profile"),
    (r", or leave --cost-cap out", ""),
    (r" Raise it with --cost-cap\.", " Who submitted it can raise it."),
    (r"hoose another folder with -o", "hoose another output path"),
    (r"(?P<what>volume\.mount_path in the farm's profile), or CLOUD_FARM_HOME", r"\g<what>"),
    (r", or choose another folder: CLOUD_FARM_HOME", ""),
    # the dialog's names
    (r"filebrowser needs user and password together(?P<or>, .*)\.",
     r"it needs User and Password together\g<or>. Give them with Edit, in Cloud Farm's preferences."),
    (r"filebrowser\.user and filebrowser\.password", "User and Password"),
    (r"filebrowser\.ca_file", "the farm's CA File"),
    (r"(?P<how> of| in) the farm's profile", r"\g<how> the farm's profile (Edit, in Cloud Farm's preferences)"),
)  # fmt: skip


@cache
def _rules() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), words) for pattern, words in _SENTENCES)


@cache
def _command() -> re.Pattern[str]:
    return re.compile(rf"(?P<with> with)?(?P<colon>:)? {_COMMAND}")


@lru_cache(maxsize=1024)  # what is told of a job is told again with each of its frames, and drawn again and again
def worded(text: str) -> str:
    """Return a sentence as the panel says it."""
    said = text
    for pattern, words in _rules():
        said = pattern.sub(words, said)
    said = _command().sub(_button, said)
    return f"{said}." if said != text and said[-1:].isalnum() else said


def reword(data: Any, *, key: str = "") -> Any:
    """Return what the worker said with every sentence in it as the panel says it, but for those of listed jobs."""
    if isinstance(data, str):
        return worded(data) if key in _KEYS else data
    if isinstance(data, dict):
        return {name: value if name == _LATER else reword(value, key=name) for name, value in data.items()}
    if isinstance(data, list):
        return [reword(value, key=key) for value in data]
    return data


def _button(found: re.Match[str]) -> str:
    is_forced = "--force" in found["rest"]
    button = "Render Frames Again" if is_forced else found["verb"].title()
    lead = " with" if found["with"] else found["colon"] or ""
    return f"{lead} {button}"

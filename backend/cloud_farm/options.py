"""The one table of user options. The CLI, submit.py, Blender's --command and the add-on's tooltips are made from it.

Standard library only: it is read in Blender's own process too.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .choices import DEVICES, STILL_FORMATS
from .errors import UsageError

if TYPE_CHECKING:
    from .job import RenderJob

_FEW_CHOICES = 8


@dataclass(frozen=True)
class Option:
    """One option of a submission.

    Attributes:
        flags: As typed, the short one first.
        field: The RenderJob field that it sets; empty for options of the front itself.
        kind: text, frames, integer, number, duration, choice, engine or switch.
        help: One sentence, for a command line as well as a tooltip.
        many: May be given several times.
        default: What happens without it, for help texts; empty if nothing to say.
    """

    flags: tuple[str, ...]
    field: str
    kind: str
    help: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    many: bool = False
    default: str = ""

    @property
    def name(self) -> str:
        """The long flag as a Python name."""
        return self.flags[-1].lstrip("-").replace("-", "_")

    @property
    def usage(self) -> str:
        """The help of a command line, which shows no list to choose from."""
        parts = [self.help]
        if 0 < len(self.choices) <= _FEW_CHOICES:
            parts.append(f"One of {', '.join(self.choices)}.")
        if self.many:
            parts.append("Give it again for more.")
        return " ".join(parts)

    @property
    def tooltip(self) -> str:
        """The help as Blender writes its own: without a full stop."""
        return self.help.removesuffix(".")


JOB_OPTIONS: tuple[Option, ...] = (
    Option(("-f", "--frames"), "frames", "frames", "Frames to render: 1-250, 1-250x5, 3,17,240, or 'scene'.", "FRAMES", default="scene"),
    Option(("-o", "--output"), "landing", "text", "Where frames land, as a Blender output path (// and # work).", "PATH", default="the scene's"),
    Option(("--scene",), "scene", "text", "Scene to render.", "NAME", default="the file's active one"),
    Option(("--camera",), "cameras", "text", "Camera to render, in place of the scene's and of those that its markers name.", "NAME", many=True, default="as the scene says"),
    Option(("--view-layer",), "view_layers", "text", "View layer to render, in place of those that the scene renders.", "NAME", many=True, default="as the scene says"),
    Option(("--device",), "device", "choice", "What Cycles renders on; fails rather than fall back.", "DEVICE", choices=DEVICES, default="auto"),
    Option(("--device-with-cpu",), "device_with_cpu", "switch", "Let the CPU help the GPU."),
    Option(("--engine",), "engine", "engine", "Render engine in place of the scene's: cycles, eevee, workbench or its own name.", "ENGINE"),
    Option(("--format",), "file_format", "choice", "File format in place of the scene's: png, exr, multilayer, jpeg, tiff, webp …", "FORMAT", choices=STILL_FORMATS),
    Option(("--percentage",), "percentage", "integer", "Resolution percentage in place of the scene's.", "N"),
    Option(("--samples",), "samples", "integer", "Cycles samples in place of the scene's.", "N"),
    Option(("--seed",), "seed", "integer", "Cycles seed in place of the scene's.", "N"),
    Option(("--persistent-data",), "persistent_data", "switch", "Keep the scene in memory between the frames of a chunk: faster, but single pixels may depend on the chunks.", default="as the scene says"),
    Option(("--chunk-size",), "chunk_size", "integer", "Frames that one Blender renders in a row.", "N", default="chosen by the plan"),
    Option(("--retries",), "retries", "integer", "How often a frame that fails is tried.", "N", default="3"),
    Option(("--frame-limit",), "frame_seconds", "duration", "Longest time for one frame: 90, 10m, 2h.", "TIME"),
    Option(("--cost-cap",), "cost_cap", "number", "Stop when the job has cost this much, in the profile's currency.", "AMOUNT"),
    Option(("--priority",), "priority", "integer", "0 to 100; more goes first.", "N", default="50"),
    Option(("--name",), "name", "text", "What the job is called.", "TEXT", default="the file's name"),
    Option(("--comment",), "comment", "text", "A note for people.", "TEXT"),
    Option(("--tag",), "tags", "text", "A word to find the job by.", "WORD", many=True),
    Option(("--allow-missing",), "allowed_missing", "text", "A file that may be absent: path, name or glob.", "FILE", many=True),
)  # fmt: skip

FRONT_OPTIONS: tuple[Option, ...] = (
    Option(("--farm",), "", "text", "Farm to use: a name or a profile file.", "FARM", default="local"),
    Option(
        ("--allow-scripts",),
        "",
        "switch",
        "Let Python in the scene run (drivers, handlers). Only for scenes you trust.",
    ),
    Option(
        ("--job-id",),
        "",
        "text",
        "The job's id, as shot-20261130-abc123: repeated with the same one it is one job.",
        "ID",
        default="drawn",
    ),
    Option(("--dry-run",), "", "switch", "Check and plan everything, send nothing."),
    Option(("--json",), "", "switch", "One JSON event a line, for programs."),
)

TOOLTIPS: Mapping[str, str] = {option.name: option.tooltip for option in JOB_OPTIONS}
"""What Blender says of a setting that is an option too, by the option's name."""

FRONT_ONLY_FIELDS: Mapping[str, str] = {
    "scene_file": "the argument itself",
    "on_volume": "set by --on-volume, which takes the argument's place",
    "schema": "the version of the data",
    "extra": "fields of newer versions",
}
"""RenderJob fields without an option of their own, each with its reason."""

_FORMAT_WORDS = {
    "exr": "OPEN_EXR", "multilayer": "OPEN_EXR_MULTILAYER", "jpg": "JPEG", "tif": "TIFF", "tga": "TARGA", "jp2": "JPEG2000",
}  # fmt: skip
_ENGINE_WORDS = {"cycles": "CYCLES", "eevee": "BLENDER_EEVEE", "workbench": "BLENDER_WORKBENCH"}
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(text: str) -> float:
    """Read a time such as `90`, `90s`, `10m`, `1h30m`, `30d` as seconds.

    Raises:
        UsageError: It is not a time.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw]?)", text.replace(" ", ""))
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text.replace(" ", "") or not 0 < seconds < math.inf:
        raise UsageError(f"'{text}' is not a time. Write 90, 90s, 10m, 1h30m or 30d.")
    return seconds


def job_from_values(scene_file: str, values: Mapping[str, Any], *, on_volume: bool = False) -> RenderJob:
    """Make a job of option values by name; None and empty ones keep the default.

    Raises:
        InvalidJobError: A value that no job can have.
        UsageError: A value that can't be understood; the message says what can.
    """
    from .job import RenderJob  # here, because a tooltip in Blender does not wait for it

    fields: dict[str, Any] = {}
    for option in JOB_OPTIONS:
        value = values.get(option.name)
        if value is None or value == () or value is False:
            continue
        fields[option.field] = _convert(option, value)
    return RenderJob(scene_file, on_volume=on_volume, **fields)


def overrides_from_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the RenderJob fields that were given, for a further revision."""
    given = {o.field for o in JOB_OPTIONS if values.get(o.name) not in (None, (), False)}
    job = job_from_values("-", values)
    return {field.name: getattr(job, field.name) for field in dataclasses.fields(job) if field.name in given}


def _convert(option: Option, value: Any) -> Any:
    """Return a value as its field wants it; text of a command line and typed values of Blender become the same."""
    if option.kind == "duration":
        return parse_duration(value) if isinstance(value, str) else float(value)
    if option.kind == "frames":
        # Only the words are checked here: what `scene` stands for is known when the file was read.
        from .frames import FrameRange  # not for tooltips, which Blender reads as it starts

        FrameRange.parse(str(value), scene=(1, 1, 1))
    if option.kind == "choice":
        return _choose(option, str(value))
    if option.kind == "engine":
        return _ENGINE_WORDS.get(str(value).lower(), str(value))
    return tuple(value) if option.many else value


def _choose(option: Option, text: str) -> str:
    wanted = _FORMAT_WORDS.get(text.lower(), text).lower() if option.field == "file_format" else text.lower()
    for choice in option.choices:
        if choice.lower() == wanted:
            return choice
    raise UsageError(f"There is no {option.name} '{text}'. Choose one of {', '.join(option.choices)}.")

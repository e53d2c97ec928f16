"""Which devices Cycles renders on: enables exactly the wanted ones, and finds out what it really used.

Setting `compute_device_type` to a device that is not there succeeds silently and Cycles then renders on the CPU. So devices
are counted first, and Cycles' own override makes the render itself fail if the device vanishes in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import bpy  # type: ignore[import-not-found,unused-ignore]

TYPES = {"cpu": "CPU", "cuda": "CUDA", "optix": "OPTIX", "hip": "HIP", "oneapi": "ONEAPI", "metal": "METAL"}
_REPORT = re.compile(r"^Path tracing on: (?P<name>.*?)(?: \[(?P<type>[A-Z]+(?: \+ [A-Z]+)*)\])?\s*$", re.MULTILINE)


class DeviceAbsent(Exception):
    """The wanted device is not on this machine."""


@dataclass(frozen=True)
class DeviceUse:
    """What a frame was rendered on.

    Attributes:
        type: CPU, CUDA, OPTIX, HIP, ONEAPI or METAL.
        name: As Cycles names it.
        evidence: `log` when Cycles said so; `enforced` when this build says nothing, but was told to fail on any other
            device type and did not.
    """

    type: str
    name: str
    evidence: str


def preferences() -> Any:
    """Return Cycles' preferences, with the add-on enabled."""
    if "cycles" not in bpy.context.preferences.addons:
        import addon_utils  # type: ignore[import-not-found,unused-ignore]

        addon_utils.enable("cycles")
    return bpy.context.preferences.addons["cycles"].preferences


def available() -> dict[str, list[str]]:
    """Return every device type that this build knows and its devices' names, the CPU included."""
    prefs = preferences()
    found: dict[str, list[str]] = {}
    for kind in TYPES.values():
        if kind == "CPU":
            continue
        devices = _devices(prefs, kind)
        if devices is not None:
            found[kind] = [device.name for device in devices if device.type == kind]
    found["CPU"] = [device.name for device in prefs.devices if device.type == "CPU"][:1] or ["CPU"]
    return found


def enable(device: str, *, with_cpu: bool = False) -> DeviceUse:
    """Make Cycles render on exactly this device type, all devices of it.

    Raises:
        DeviceAbsent: There is none; the message lists what there is.
    """
    kind = TYPES[device]
    prefs = preferences()
    if kind == "CPU":
        prefs.compute_device_type = "NONE"
        _override("CPU")
        return DeviceUse("CPU", available_cpu(prefs), "enforced")
    devices = [found for found in _devices(prefs, kind) or [] if found.type == kind]
    if not devices:
        raise DeviceAbsent(_absent(kind))
    wanted = {found.id for found in devices}
    for found in prefs.devices:
        found.use = (found.type == kind and found.id in wanted) or (with_cpu and found.type == "CPU")
    _override(f"{kind}+CPU" if with_cpu else kind)
    return DeviceUse(kind, ", ".join(found.name for found in devices), "enforced")


def available_cpu(prefs: Any) -> str:
    """Return the CPU's name."""
    return next((str(device.name) for device in prefs.devices if device.type == "CPU"), "CPU")


def use_for(scenes: list[Any], device: str) -> None:
    """Point every Cycles scene at the chosen device."""
    for scene in scenes:
        if scene.render.engine == "CYCLES" and hasattr(scene, "cycles"):
            scene.cycles.device = "CPU" if device == "cpu" else "GPU"


def reported(log: str, enabled: DeviceUse) -> DeviceUse:
    """Return what Cycles says in the log of a frame that it rendered on, else what was enforced.

    Blender 4.x writes "Path tracing on: <name> [<type>]"; 5.x as a module writes nothing about it.
    """
    matches = list(_REPORT.finditer(log))
    if not matches:
        return enabled
    kinds = {kind for match in matches for kind in (match["type"] or _kind_by_name(match["name"])).split(" + ")}
    # A frame of which one view layer fell back to the CPU was not rendered on the GPU.
    kind = "CPU" if kinds == {"CPU"} else "+".join(sorted(kinds))
    return DeviceUse(kind, matches[-1]["name"], "log")


def _kind_by_name(name: str) -> str:
    return next(
        (kind for kind in TYPES.values() if f"({kind}" in name or name.startswith(kind)),
        "CPU" if "CPU" in name else "UNKNOWN",
    )


def _devices(prefs: Any, kind: str) -> list[Any] | None:
    """Devices of a type; None if this build does not know the type."""
    try:
        prefs.compute_device_type = kind
    except TypeError:
        return None
    if hasattr(prefs, "refresh_devices"):
        prefs.refresh_devices()
    return list(prefs.get_devices_for_type(kind) or [])


def _override(kind: str) -> None:
    """Make Cycles itself fail ("Found no Cycles device of the specified type") rather than fall back."""
    try:
        import _cycles  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return  # a build without Cycles; the engine's absence is reported elsewhere
    if hasattr(_cycles, "set_device_override"):
        _cycles.set_device_override(kind)


def _absent(kind: str) -> str:
    there = "; ".join(f"{found}: {', '.join(names)}" for found, names in sorted(available().items()) if names)
    return (
        f"This machine has no {kind} device that Cycles can use. It has {there}."
        f" Check the driver, or render with --device {'cpu' if there.startswith('CPU') else there.split(':')[0].lower()}."
    )

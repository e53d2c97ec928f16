"""The farm profile: where a farm is and what its nodes are called (contract §2).

One YAML file per farm. Each value remembers where it came from: flag > environment > user file > studio file > preset.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .choices import DEVICES
from .errors import ProfileError, SchemaError
from .json_data import from_json, require_schema, to_json
from .platform import user_folders
from .presets import PRESETS

SCHEMA = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_SECTIONS = ("volume", "gpu", "limits")
LAYERED = (*_SECTIONS, "kubernetes", "filebrowser")
"""Parts whose values are set one by one: a layer replaces those that it names."""
_OWN = "user file"
_NAMES_OF_SECRETS = ("image_pull_secrets", "token_in_pods")
_SECRET_FORMS = ({"env"}, {"keyring"}, {"file"})
_Layered = tuple[dict[str, Any], dict[str, str]]  # values, and where each came from


@dataclass(frozen=True)
class Volume:
    """The farm's shared volume.

    Attributes:
        claim: Name of the PersistentVolumeClaim; empty for `local`.
        sub_path: Folder of the claim that is our root.
        mount_path: Where engines see the root (for `local`: a folder of this computer).
        store_prefix: Folder of the store that is our root.
        gid: Group that FileBrowser and the renderers share; None leaves it alone.
        umask: Permission bits that new files lack.
    """

    claim: str = ""
    sub_path: str = ""
    mount_path: str = ""
    store_prefix: str = ""
    gid: int | None = None
    umask: int = 0o002
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Gpu:
    """What the nodes render on.

    Attributes:
        device: What `auto` means on this farm: cpu, cuda, optix, hip, oneapi or metal; empty until a probe filled it.
        resource: Kubernetes' name of one GPU.
        count: GPUs of one pod; they render one frame together. 1 runs one process for each GPU.
        count_max: Most GPUs for one frame while others would have nothing to do; None never takes more than `count`.
        model_label: The label by which nodes tell the model of their GPUs.
        models: Values of that label that will do; empty takes any model.
        node_labels: Label to allowed values; a node must match each.
    """

    device: str = ""
    resource: str = "nvidia.com/gpu"
    count: int = 1
    count_max: int | None = None
    model_label: str = ""
    models: tuple[str, ...] = ()
    node_labels: Mapping[str, Any] = field(default_factory=dict)
    tolerations: tuple[Any, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Limits:
    """How much a job may take.

    Attributes:
        workers: Blenders at a time on this computer; None fits cores and memory.
        parallelism: Pods at a time on a cluster.
        frame_seconds: Longest time of one frame where the job sets none; None has no limit.
        log_bytes: Longest log of one attempt.
    """

    workers: int | None = None
    parallelism: int | None = None
    frame_seconds: float | None = None
    log_bytes: int = 16 * 1024 * 1024
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class FarmProfile:
    """One farm. See `Volume`, `Gpu` and `Limits` for the parts.

    Attributes:
        preset: Name of built-in values (`presets.py`) below everything that the files say.
        images: Blender's major.minor to a container image reference, or {image, version, blender}: see `images.py`.
        visibility_s: Seconds until a file written on one node is surely seen on another.
        blender: For `local`: the Blender binary; empty looks for one.
        origins: Dotted key to where its value came from.
    """

    name: str
    schema: int = SCHEMA
    preset: str = ""
    engine: str = "local"
    store: str = "folder"
    volume: Volume = field(default_factory=Volume)
    gpu: Gpu = field(default_factory=Gpu)
    limits: Limits = field(default_factory=Limits)
    images: Mapping[str, Any] = field(default_factory=dict)
    kubernetes: Mapping[str, Any] = field(default_factory=dict)
    filebrowser: Mapping[str, Any] = field(default_factory=dict)
    argo_version: str = ""
    instance_id: str = ""
    visibility_s: float = 0.0
    price_per_gpu_hour: float | None = None
    blender: str = ""
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether this computer is the farm."""
        return self.engine == "local"

    def with_values(self, values: Mapping[str, Any], *, origin: str) -> FarmProfile:
        """Return a copy with dotted keys set (`gpu.device`), each marked with its origin."""
        data = nest(to_json(self), values)
        origins = {**self.origins, **{key: origin for key in values}}
        return _build(data, origins, where=origin)

    def values(self) -> Iterator[tuple[str, Any, str]]:
        """Yield (dotted key, value, origin) of everything that is set, in order."""
        for key, value in _flatten(to_json(self)):
            if not key.startswith("origins"):
                yield key, value, self.origins.get(key, "preset")


def local_preset() -> dict[str, Any]:
    """Return the built-in farm: Blender on this computer, volume in the user's data folder."""
    return {
        "schema": SCHEMA,
        "name": "local",
        "engine": "local",
        "store": "folder",
        "volume": {"mount_path": str(user_folders().data / "farm")},
    }


def load_profile(
    farm: str,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    own: Mapping[str, Any] | None = None,
) -> FarmProfile:
    """Read a farm's profile with every layer on top of the other.

    Args:
        farm: A name (`local` is built in) or the path of a YAML file.
        flags: Dotted key to value, from the command line.
        own: Taken for what the user's own file of this farm says: to judge it before it is written.

    Raises:
        ProfileError: No such farm, unreadable YAML, a value of the wrong type, or a secret that is not a reference.
    """
    environ = os.environ if environ is None else environ
    data, origins = _layers(farm, environ, own)
    data = _on_preset(data, where=f"Farm profile '{farm}'")
    profile = _build(data, origins, where=f"Farm profile '{farm}'")
    for values, origin in (
        _environment(profile, environ),
        ({k: v for k, v in (flags or {}).items() if v is not None}, "flag"),
    ):
        if values:
            profile = profile.with_values(values, origin=origin)
    _check(profile)
    return profile


def named_file(value: Any, what: str) -> str:
    """Return the file that a profile names, `~` written out; empty if it names none.

    Raises:
        ProfileError: It is not there.
    """
    if not value:
        return ""
    path = Path(str(value)).expanduser()
    if not path.is_file():
        raise ProfileError(f"{what}: there is no file {path}.")
    return str(path)


def refuse_unknown(data: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise ProfileError for a key that nobody reads: it is a slip of the pen."""
    unknown = sorted(data.keys() - set(known))
    if unknown:
        raise ProfileError(f"{where}.{unknown[0]} is not known. It takes: {', '.join(sorted(known))}.")


def profile_names(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """List every farm that has a profile, `local` first."""
    found = {
        path.stem
        for folder, _ in _folders(os.environ if environ is None else environ)
        for path in sorted(folder.glob("*.yaml"))
    }
    return ("local", *sorted(found - {"local"}))


def _on_preset(data: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Lay the values over those of the preset that they name."""
    name = data.get("preset") or ""
    if name and name not in PRESETS:
        raise ProfileError(f"{where} names the preset '{name}', which does not exist. There are: {', '.join(PRESETS)}.")
    return nest(PRESETS[name], dict(_flatten(data))) if name else dict(data)


def _layers(farm: str, environ: Mapping[str, str], own: Mapping[str, Any] | None) -> _Layered:
    if farm.endswith((".yaml", ".yml")) or "/" in farm or os.sep in farm:
        path = Path(farm).expanduser()
        data = read_profile_file(path)
        data.setdefault("name", path.stem)
        return data, {key: str(path) for key, _ in _flatten(data)}
    if not NAME.fullmatch(farm):
        raise ProfileError(
            f"'{farm}' is not a farm's name: use letters, digits, '-' and '_', or the path of a YAML file."
        )
    return _named_layers(farm, environ, own)


def _named_layers(farm: str, environ: Mapping[str, str], own: Mapping[str, Any] | None) -> _Layered:
    data: dict[str, Any] = local_preset() if farm == "local" else {}
    origins: dict[str, str] = {}
    found = farm == "local"
    for folder, origin in _folders(environ):
        path = folder / f"{farm}.yaml"
        is_given = own is not None and origin == _OWN
        if is_given or path.is_file():
            layer = dict(own or {}) if is_given else read_profile_file(path)
            data = nest(data, dict(_flatten(layer)))
            origins.update({key: f"{origin} {path}" for key, _ in _flatten(layer)})
            found = True
    if not found:
        raise ProfileError(
            f"There is no farm '{farm}'. Known farms: {', '.join(profile_names(environ))}. A profile is one YAML file: {_folders(environ)[-1][0] / (farm + '.yaml')}"
        )
    data.setdefault("name", farm)
    return data, origins


def _folders(environ: Mapping[str, str]) -> list[tuple[Path, str]]:
    """Folders of profiles, the weakest first."""
    studio = environ.get("CLOUD_FARM_STUDIO_PROFILES", "/etc/cloud-farm/farms")
    return [(Path(studio), "studio file"), (user_folders(environ).config / "farms", _OWN)]


def read_profile_file(path: Path, *, what: str = "farm profile") -> dict[str, Any]:
    """Read one profile file as it is, without what lies below it; or another YAML file, which errors call `what`.

    Raises:
        ProfileError: It is not there, or no YAML mapping.
    """
    import yaml  # here, because most commands on the local farm never need it and it costs start-up time

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProfileError(f"There is no {what} at {path}.") from error
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise ProfileError(f"The {what} {path} can't be read: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ProfileError(f"The {what} {path} should be a YAML mapping of names to values.")
    return data


def _environment(profile: FarmProfile, environ: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Values like CLOUD_FARM_GPU_DEVICE or CLOUD_FARM_LIMITS_WORKERS, converted to the type of what they replace."""
    values: dict[str, Any] = {}
    for section in _SECTIONS:
        part = getattr(profile, section)
        for item in dataclasses.fields(part):
            name = f"CLOUD_FARM_{section.upper()}_{item.name.upper()}"
            if item.name != "extra" and environ.get(name):
                values[f"{section}.{item.name}"] = _convert(environ[name], str(item.type), name)
    return values, "environment"


def _convert(text: str, type_name: str, variable: str) -> Any:
    try:
        if type_name.startswith("int"):
            return int(text, 0)
        if type_name.startswith("float"):
            return float(text)
    except ValueError as error:
        raise ProfileError(f"{variable} should be a number, but it is '{text}'.") from error
    return text


def _build(data: Mapping[str, Any], origins: Mapping[str, str], *, where: str) -> FarmProfile:
    plain = {key: value for key, value in data.items() if key != "origins"}
    try:
        profile = from_json(FarmProfile, {"schema": SCHEMA, **plain}, where=where)
        require_schema({"schema": profile.schema}, SCHEMA, where=where)
    except SchemaError as error:
        raise ProfileError(str(error)) from error
    return dataclasses.replace(profile, origins=dict(origins))


def _check(profile: FarmProfile) -> None:
    problems = (
        (NAME.fullmatch(profile.name) is not None, f"'{profile.name}' is not a farm's name."),
        (
            profile.gpu.device in ("", *DEVICES) and profile.gpu.device != "auto",
            f"gpu.device '{profile.gpu.device}' is none of {', '.join(DEVICES[1:])}.",
        ),
        (
            profile.gpu.count >= 1 and (profile.gpu.count_max or profile.gpu.count) >= profile.gpu.count,
            "gpu.count must be at least 1, and gpu.count_max not less than it.",
        ),
        (
            not profile.gpu.models or bool(profile.gpu.model_label),
            "gpu.models needs gpu.model_label: the label by which nodes tell their GPU's model (or choose a preset).",
        ),
        (profile.limits.workers is None or profile.limits.workers >= 1, "limits.workers must be at least 1."),
        (
            profile.limits.parallelism is None or profile.limits.parallelism >= 1,
            "limits.parallelism must be at least 1.",
        ),
        (
            profile.limits.frame_seconds is None or profile.limits.frame_seconds > 0,
            "limits.frame_seconds must be more than 0.",
        ),
        (profile.limits.log_bytes >= 1, "limits.log_bytes must be at least 1."),
        (
            profile.price_per_gpu_hour is None or profile.price_per_gpu_hour >= 0,
            "price_per_gpu_hour can't be negative.",
        ),
        (
            bool(profile.volume.mount_path),
            "volume.mount_path is missing: it says where the farm's volume is.",
        ),
        (0 <= profile.volume.umask <= 0o777, "volume.umask goes from 0 to 0777."),
        (profile.visibility_s >= 0, "visibility_s can't be negative."),
        (
            profile.name != "local" or profile.is_local,
            "'local' is this computer. Call a farm elsewhere by another name.",
        ),
    )
    for good, message in problems:
        if not good:
            raise ProfileError(f"Farm profile '{profile.name}': {message}")
    _check_secrets(profile)


def _check_secrets(profile: FarmProfile) -> None:
    for section in ("kubernetes", "filebrowser"):
        for key, value in getattr(profile, section).items():
            secret = any(word in key.lower() for word in ("password", "token", "secret"))
            if (
                secret
                and key not in _NAMES_OF_SECRETS
                and value is not None  # still to be given
                and not (isinstance(value, dict) and set(value) in _SECRET_FORMS)
            ):
                raise ProfileError(
                    f"Farm profile '{profile.name}': {section}.{key} holds a secret in the clear. Write where it is kept instead: {{env: NAME}}, {{keyring: NAME}} or {{file: PATH}}."
                )


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if prefix == "" and key in LAYERED and isinstance(value, dict):
            yield from _flatten(value, f"{key}.")
        else:
            yield f"{prefix}{key}", value


def nest(data: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` with dotted keys of the layered sections replaced."""
    result = {key: dict(value) if key in LAYERED and isinstance(value, dict) else value for key, value in data.items()}
    for dotted, value in values.items():
        section, _, name = dotted.partition(".")
        if name and section in LAYERED:
            result.setdefault(section, {})[name] = value
        else:
            result[dotted] = value
    return result

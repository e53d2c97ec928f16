"""Profiles from hand to hand: an admin writes one file, and it is all that an artist's computer needs besides the artist's secrets.

A file that came from elsewhere chooses nothing on this computer: no file, no program, no secret of its user.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .authorities import certificates_in, certificates_of
from .errors import ProfileError
from .kubeconfig import read_context
from .profile import FarmProfile, load_profile, named_file, nest, read_profile_file
from .profile_files import own_file, write_checked, write_profile

_LARGEST = 1 << 19
_DEEPEST = 30
_DEPTHS = {
    **dict.fromkeys(("BlockMappingStartToken", "BlockSequenceStartToken"), 1),
    **dict.fromkeys(("FlowMappingStartToken", "FlowSequenceStartToken"), 1),
    **dict.fromkeys(("BlockEndToken", "FlowMappingEndToken", "FlowSequenceEndToken"), -1),
}
"""What each of YAML's tokens does to the depth."""
_TRAVELLING = "CLOUD_FARM_"
"""Begins the variables that a profile from elsewhere may take a secret from; else it could send any secret anywhere."""
_FILES = ("kubernetes.kubeconfig", "kubernetes.ca_file", "filebrowser.ca_file", "filebrowser.client_certificate")
_SECRET_PARTS = ("filebrowser", "kubernetes")
_REFERENCES = ({"env"}, {"keyring"}, {"file"})
_NOT_OF_A_FILE = ("preset", "environment", "flag")
_COMMANDS = {"exec", "auth-provider", "command"}
_ADVICE = "Whoever made it can export it from Cloud Farm, which leaves such things out."


def export_profile(farm: str, target: Path) -> Path:
    """Write what a farm's files say into one file for others: certificates in it, secrets left out (`null`), no path of this computer.

    Raises:
        ProfileError: There is no such farm, a file that it names can't be read, or the new one can't be written.
    """
    profile = load_profile(farm)
    kept = {key: value for key, value, origin in profile.values() if origin not in _NOT_OF_A_FILE}
    kept.pop("blender", None)
    _put_files_in(kept, profile)
    data = nest({"schema": profile.schema, "name": profile.name}, kept)
    for part in _SECRET_PARTS:
        data[part] = _without_secrets(data[part]) if part in data else {}
    write_profile(target, {key: value for key, value in data.items() if value != {}})
    return target


def import_profile(source: Path, *, farm: str = "", over: bool = False) -> str:
    """Take over a profile that somebody handed to us; returns the farm's name.

    Args:
        farm: What to call it; empty takes the name that it has itself.
        over: Put it in the place of one that has the name.

    Raises:
        ProfileError: It is no profile, there is one of that name, or it would choose a file, a program or a secret here.
    """
    data = _read_foreign(source)
    _refuse_what_is_not_theirs(data)
    name = farm or str(data.get("name") or source.stem)
    if name == "local":
        raise ProfileError("'local' is this computer. Take the profile in under another name.")
    path = own_file(name)
    if path.exists() and not over:
        raise ProfileError(
            f"There is a farm '{name}' already. Remove it first, or take the profile in under another name."
        )
    data.pop("name", None)
    write_checked(path, data)
    return name


def still_to_give(profile: FarmProfile) -> dict[str, str]:
    """Return what a profile leaves to its user: the dotted key, and what people call it."""
    files, cluster = profile.filebrowser, profile.kubernetes
    door, user = files.get("url") or "the FileBrowser", files.get("user")
    wanted: dict[str, str] = {}
    if user and not files.get("password"):
        wanted["filebrowser.password"] = f"the password of '{user}' for {door}"
    for header, value in dict(files.get("headers") or {}).items():
        if value is None:
            wanted[f"filebrowser.headers.{header}"] = f"the header {header} for {door}"
    if "client_certificate" in files and not files["client_certificate"]:
        wanted["filebrowser.client_certificate"] = f"a certificate of yours and its key for {door}"
    if cluster.get("server") and not cluster.get("token"):
        wanted["kubernetes.token"] = f"a token for the cluster at {cluster['server']}"
    if cluster.get("context") and not _has_context(cluster):
        wanted["kubernetes.kubeconfig"] = f"a kubeconfig with the context '{cluster['context']}'"
    return wanted


def _has_context(kubernetes: Mapping[str, Any]) -> bool:
    try:
        return read_context(kubernetes) is not None
    except ProfileError:
        return False


def _put_files_in(kept: dict[str, Any], profile: FarmProfile) -> None:
    """Replace the files that a profile names by what others need of them."""
    for part in _SECRET_PARTS:
        key = f"{part}.ca_file"
        path = named_file(kept.pop(key, None), f"Farm profile '{profile.name}': {key}")
        if path:
            kept[f"{part}.ca"] = certificates_of(Path(path), key)
    kept.pop("kubernetes.kubeconfig", None)
    context = (
        read_context(profile.kubernetes) if profile.engine == "argo" and not profile.kubernetes.get("server") else None
    )
    if context is None:
        return
    if context.namespace:
        kept.setdefault("kubernetes.namespace", context.namespace)
    if not context.server:
        kept["kubernetes.context"] = context.name
        return
    kept.pop("kubernetes.context", None)
    kept |= {"kubernetes.server": context.server, "kubernetes.token": None}
    if context.ca:
        kept["kubernetes.ca"] = context.ca


def _without_secrets(value: Any) -> Any:
    """Leave the places of secrets, and what others have too."""
    if not isinstance(value, Mapping):
        return value
    if set(value) in (*_REFERENCES, {"certificate", "key"}):
        return dict(value) if _travels(value) else None
    return {key: _without_secrets(inner) for key, inner in value.items()}


def _travels(reference: Mapping[str, Any]) -> bool:
    return str(reference.get("env", "")).startswith(_TRAVELLING)


def _read_foreign(source: Path) -> dict[str, Any]:
    """Read a profile that may be anything.

    Raises:
        ProfileError: It is none.
    """
    if source.exists() and not source.is_file():
        raise ProfileError(f"{source} is no file.")
    if source.exists() and source.stat().st_size > _LARGEST:
        raise ProfileError(f"{source} is too large for a farm profile: it has more than {_LARGEST:,} bytes.")
    _refuse_what_grows(source)
    data = read_profile_file(source)
    if data.get("kind") == "Config" and "clusters" in data:
        raise ProfileError(
            f"{source} is a kubeconfig and no farm profile. A profile names it as kubernetes.kubeconfig."
        )
    return data


def _refuse_what_grows(source: Path) -> None:
    """Raise ProfileError for YAML of which a short text costs a long time or much memory. What is no YAML says who reads it."""
    import yaml

    depth = 0
    with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        for token in yaml.scan(source.read_text(encoding="utf-8")):
            if isinstance(token, yaml.AliasToken):
                raise ProfileError(f"{source} refers to itself (YAML aliases), which no profile needs.")
            depth += _DEPTHS.get(type(token).__name__, 0)
            if depth > _DEEPEST:
                raise ProfileError(f"{source} is nested deeper than any profile is.")


def _refuse_what_is_not_theirs(data: Mapping[str, Any]) -> None:
    """Raise ProfileError for what only the user of this computer may choose."""
    if data.get("blender"):
        raise ProfileError(f"The profile names a program of your computer (blender: {data['blender']}). {_ADVICE}")
    for dotted in _FILES:
        part, _, key = dotted.partition(".")
        value = data[part].get(key) if isinstance(data.get(part), Mapping) else None
        if value:
            raise ProfileError(f"The profile names a file of your computer ({dotted}). {_ADVICE}")
    for part in _SECRET_PARTS:
        for dotted, mapping in _mappings(data.get(part), part):
            _refuse_choices(dotted, mapping)
        if isinstance(data.get(part), Mapping) and data[part].get("ca"):
            certificates_in(data[part]["ca"], f"The profile's {part}.ca")


def _mappings(value: Any, dotted: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every mapping in a value, however deep, and where it is."""
    if isinstance(value, Mapping):
        yield dotted, value
        for key, inner in value.items():
            yield from _mappings(inner, f"{dotted}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _mappings(inner, dotted)


def _refuse_choices(dotted: str, mapping: Mapping[str, Any]) -> None:
    if set(mapping) in _REFERENCES and not _travels(mapping):
        raise ProfileError(
            f"The profile would take {dotted} from a place of its own choice on your computer. {_ADVICE} Variables that begin with"
            f" {_TRAVELLING} are allowed."
        )
    for key in sorted(_COMMANDS & mapping.keys()):
        raise ProfileError(f"The profile has a command that would run on your computer ({dotted}.{key}). {_ADVICE}")

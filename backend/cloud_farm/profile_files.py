"""A user's own farm profiles as files: written, taken away. What a profile means is in `profile.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ProfileError
from .platform import put_text, replace, user_folders
from .profile import LAYERED, NAME, load_profile, nest, read_profile_file
from .secrets import keep_in_keyring, keyring_name

if TYPE_CHECKING:
    import yaml

REMOVED = ".removed"
"""Ends the name of a profile that was taken away: whoever did it by mistake renames the file back."""
_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


def save_profile(farm: str, values: Mapping[str, Any]) -> Path:
    """Change values of the user's own profile of a farm; it is made if there is none. What makes no sense is not written.

    Args:
        values: Dotted key to value (`filebrowser.url`); None takes a value out, so that a studio's or preset's counts again.

    Raises:
        ProfileError: The profile would not be one, or can't be written.
    """
    path = own_file(farm)
    data = read_profile_file(path) if path.is_file() else {"schema": 1}
    data = nest(data, {key: value for key, value in values.items() if value is not None})
    _take_out(data, [key for key, value in values.items() if value is None])
    write_checked(path, data)
    return path


def remove_profile(farm: str) -> Path:
    """Take the user's own profile of a farm away; returns where it lies now.

    Raises:
        ProfileError: The user has none: it is built in, or the studio's.
    """
    path = own_file(farm)
    if not path.is_file():
        raise ProfileError(f"Farm '{farm}' is not yours to remove: it is built in, or its profile is the studio's.")
    aside = path.with_name(f"{path.name}{REMOVED}")
    replace(path, aside)
    return aside


def keep_secret(farm: str, key: str, secret: str) -> dict[str, str]:
    """Keep a secret in the system's keyring, else in a file that only the user can read; returns the reference to it.

    Args:
        key: What it is for, `filebrowser.password`.
    """
    folder, name = secrets_folder(), f"{_checked(farm)}.{key}"
    path = folder / name
    if keep_in_keyring(name, secret):
        path.unlink(missing_ok=True)  # what was there is another one by now
        return {"keyring": name}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
        put_text(path, secret + "\n", mode=_PRIVATE_FILE)
    except OSError as error:
        raise ProfileError(f"{path} can't be written: {error.strerror or error}.") from error
    return {"file": str(path)}


def secrets_folder() -> Path:
    """Return where `keep_secret` puts them where there is no keyring: outside of Blender's folders."""
    return user_folders().config / "secrets"


def secrets_place() -> str:
    """Say where `keep_secret` keeps what it is given from now on."""
    ring = keyring_name()
    return f"this system's keyring ({ring})" if ring else f"{secrets_folder()}, in files that only you can read"


def own_file(farm: str) -> Path:
    """Return where the user's own profile of a farm lies, or would.

    Raises:
        ProfileError: No farm can be called that.
    """
    return user_folders().config / "farms" / f"{_checked(farm)}.yaml"


def _checked(farm: str) -> str:
    if not NAME.fullmatch(farm):
        raise ProfileError(f"'{farm}' is not a farm's name: use letters, digits, '-' and '_'.")
    return farm


def _take_out(data: dict[str, Any], keys: list[str]) -> None:
    for key in keys:
        section, _, name = key.partition(".")
        if name and section in LAYERED:
            part = data.get(section) or {}
            part.pop(name, None)
            if not part:
                data.pop(section, None)
        else:
            data.pop(key, None)


def write_checked(path: Path, data: Mapping[str, Any]) -> None:
    """Write a profile that makes sense; one that does not is never there to be read.

    Raises:
        ProfileError: It makes none, or can't be written.
    """
    load_profile(path.stem, own=data)
    write_profile(path, data)


def write_profile(path: Path, data: Mapping[str, Any]) -> None:
    """Write a profile as people write it.

    Raises:
        ProfileError: It can't be written.
    """
    import yaml

    text = yaml.dump(dict(data), Dumper=_people_dumper(), sort_keys=False, allow_unicode=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put_text(path, text)
    except OSError as error:
        raise ProfileError(f"{path} can't be written: {error.strerror or error}.") from error


def _people_dumper() -> type[yaml.SafeDumper]:
    """Return what writes a text of several lines, such as certificates, line by line."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """YAML as people write it."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return Dumper

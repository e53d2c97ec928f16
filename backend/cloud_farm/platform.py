"""What differs between Linux, Windows and macOS: user folders, processes, locks, renames over open files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class UserFolders:
    """Where we keep things for this user.

    Attributes:
        config: Profiles; written by people.
        data: The local farm's volume.
        state: What runs now, logs.
        cache: What can be made again.
    """

    config: Path
    data: Path
    state: Path
    cache: Path


def user_folders(environ: Mapping[str, str] | None = None, *, system: str = sys.platform) -> UserFolders:
    """Return the user's folders by the platform's custom; CLOUD_FARM_HOME puts all of them below one folder."""
    environ = os.environ if environ is None else environ
    home = environ.get("CLOUD_FARM_HOME")
    if home:
        base = Path(home).expanduser().absolute()
        return UserFolders(base, base, base / "state", base / "cache")
    if system == "win32":
        local = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "cloud-farm"
        roaming = Path(environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "cloud-farm"
        return UserFolders(roaming, local, local / "state", local / "cache")
    if system == "darwin":
        support = Path.home() / "Library" / "Application Support" / "cloud-farm"
        return UserFolders(
            support, support, support / "state", Path.home() / "Library" / "Caches" / "cloud-farm"
        )
    return UserFolders(
        _xdg(environ, "XDG_CONFIG_HOME", ".config"),
        _xdg(environ, "XDG_DATA_HOME", ".local/share"),
        _xdg(environ, "XDG_STATE_HOME", ".local/state"),
        _xdg(environ, "XDG_CACHE_HOME", ".cache"),
    )


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    return Path(environ.get(variable) or Path.home() / default) / "cloud-farm"

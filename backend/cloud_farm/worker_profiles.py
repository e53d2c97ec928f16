"""What the worker does for who looks after farms: their profiles, changed, tried out, handed on. As `worker_requests`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .json_data import to_json

if TYPE_CHECKING:
    from .worker_requests import Request


def _hello(request: Request) -> Any:
    """Take what the add-on knows of this computer, and say which farms there are."""
    blender = request.data.get("blender")
    if blender and not os.environ.get("CLOUD_FARM_BLENDER"):
        os.environ["CLOUD_FARM_BLENDER"] = str(blender)
    return _farms()


def _profile(request: Request) -> Any:
    """Return a farm's values and where each comes from, and where secrets are kept."""
    from .profile import load_profile
    from .profile_exchange import still_to_give
    from .profile_files import secrets_place

    loaded = load_profile(request.text("farm"))
    values = {key: {"value": to_json(value), "origin": origin} for key, value, origin in loaded.values()}
    return {
        "farm": loaded.name, "is_local": loaded.is_local, "values": values, "secrets": secrets_place(),
        "to_give": still_to_give(loaded),
    }  # fmt: skip


def _save_profile(request: Request) -> Any:
    """Change values of a farm's profile; `secrets` are kept apart from it, and it only learns where."""
    from .profile_files import save_profile

    farm = request.text("farm")
    save_profile(farm, dict(request.data.get("values") or {}))  # a secret is only kept for what makes sense
    _keep_secrets(farm, _secrets(request))
    return _farms()


def _secrets(request: Request) -> dict[str, str]:
    return {str(key): str(secret) for key, secret in dict(request.data.get("secrets") or {}).items()}


def _keep_secrets(farm: str, secrets: Mapping[str, str]) -> None:
    from .profile_files import keep_secret, save_profile

    for key, secret in secrets.items():
        save_profile(farm, {key: keep_secret(farm, key, secret)})


def _remove_profile(request: Request) -> Any:
    from .profile_files import remove_profile

    return {"aside": str(remove_profile(request.text("farm"))), **_farms()}


def _import_profile(request: Request) -> Any:
    """Take a profile in; of the `secrets` those are kept that it leaves to be given."""
    from .profile import load_profile
    from .profile_exchange import import_profile, still_to_give

    farm = import_profile(Path(request.text("path")))
    wanted = still_to_give(load_profile(farm))
    _keep_secrets(farm, {key: secret for key, secret in _secrets(request).items() if key in wanted})
    return {"farm": farm, **_farms()}


def _export_profile(request: Request) -> Any:
    from .profile_exchange import export_profile

    return {"path": str(export_profile(request.text("farm"), Path(request.text("path"))))}


def _farms() -> dict[str, Any]:
    from .profile import profile_names

    return {"farms": list(profile_names())}


def _test(request: Request) -> Any:
    """Try a farm out; each light is told as soon as it is known."""
    from .lights import try_out
    from .profile import load_profile

    for light in try_out(load_profile(request.text("farm"))):
        request.on_event({"event": "light", **to_json(light)})
    return {}


PROFILE_ACTIONS: Mapping[str, Callable[[Request], Any]] = {
    "hello": _hello, "profile": _profile, "save_profile": _save_profile, "remove_profile": _remove_profile,
    "import_profile": _import_profile, "export_profile": _export_profile, "test": _test,
}  # fmt: skip

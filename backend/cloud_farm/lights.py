"""The lights of a farm, for people: does its volume answer, can its engine take our jobs.

They are for the first look; whoever needs more asks `cloud-farm store check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .checks import GREEN, RED, YELLOW, Check
from .engines import open_engine
from .errors import CloudFarmError
from .profile import FarmProfile
from .store_check import check_store
from .stores import open_store

_SHOWN = ("version", "place", "latency", "space")
"""What of a good volume is worth telling."""


def try_out(profile: FarmProfile) -> Iterator[Check]:
    """Try a farm out, light by light: `volume`, then what its engine has; never raises for what is wrong with the farm."""
    yield _volume(profile)
    try:
        yield from open_engine(profile).try_out()
    except CloudFarmError as error:
        yield Check(profile.engine, RED, str(error))


def _volume(profile: FarmProfile) -> Check:
    try:
        checks = [check for check in check_store(open_store(profile)) if not _is_made_by_us(check, profile)]
    except CloudFarmError as error:
        return Check("volume", RED, str(error))
    wrong = [check for check in checks if check.level == RED] or [check for check in checks if check.level == YELLOW]
    told = "; ".join(check.message for check in wrong or checks if wrong or check.name in _SHOWN)
    return Check("volume", _worst(checks), told, " ".join(dict.fromkeys(check.fix for check in wrong if check.fix)))


def _is_made_by_us(check: Check, profile: FarmProfile) -> bool:
    """Whether it is only the built-in farm's folder that is not there yet: that is no share which somebody forgot to mount."""
    return (check.name, check.level) == ("place", YELLOW) and "volume.mount_path" not in profile.origins


def _worst(checks: Sequence[Check]) -> str:
    levels = {check.level for check in checks}
    return RED if RED in levels else YELLOW if YELLOW in levels else GREEN

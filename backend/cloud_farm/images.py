"""Which container image renders a scene: the one of the same Blender major.minor. Pure.

`images` of a profile: `{'4.5': registry.example.com/blender:4.5.3@sha256:…}`, or with more to say
`{'4.5': {image: …, version: 4.5.3, blender: /opt/blender/blender}}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .blender import OLDEST
from .errors import ProfileError
from .job import Finding
from .profile import FarmProfile

_KEYS = {"image", "version", "blender"}
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
_REFERENCE = re.compile(r"[a-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?", re.IGNORECASE)
_PROGRAM = re.compile(r"[\w./+-]+")
_TUTORIAL_IMAGE = re.compile(r"(.*/)?nytimes/blender([:@].*)?")


@dataclass(frozen=True)
class FarmImage:
    """A container image with a Blender in it.

    Attributes:
        reference: What the cluster pulls.
        version: Its Blender, `4.5.3`; only `4.5` where the profile does not tell the patch.
        program: The Blender, as a container starts it.
    """

    reference: str
    version: str
    program: str = "blender"

    @property
    def is_pinned(self) -> bool:
        """Whether the reference names the very bytes."""
        return "@sha256:" in self.reference


def choose_image(profile: FarmProfile, blender: str) -> FarmImage:
    """Return the farm's image for a scene.

    Args:
        blender: Version of the Blender that saved the scene; major and minor count.

    Raises:
        ProfileError: The farm has no image of that version, or one that can't work.
    """
    images = {str(key): _read(profile.name, str(key), entry) for key, entry in profile.images.items()}
    wanted = _major_minor(blender)
    if wanted in images:
        return images[wanted]
    have = ", ".join(sorted(images)) or "none"
    raise ProfileError(
        f"Farm '{profile.name}' has no image with Blender {wanted}, by which the scene was saved (it has: {have}). Another"
        f" version would render it differently. Add one to its profile: images: {{'{wanted}': REGISTRY/IMAGE@sha256:…}}"
    )


def image_findings(image: FarmImage, blender: str) -> tuple[Finding, ...]:
    """Return what the artist should know of the image that will render.

    Args:
        blender: The artist's own Blender. A file does not tell the patch of the Blender that saved it; this is as near as it gets.
    """
    found = []
    if not image.is_pinned:
        message = f"The farm's image {image.reference} is named by a tag: it may become another one while the job runs."
        found.append(
            Finding("image_not_pinned", "warning", message, fix="Write it with @sha256:… in the farm's profile.")
        )
    own, theirs = _numbers(blender), _numbers(image.version)
    if own[:2] == theirs[:2] and theirs < own:
        patch = "an unknown patch of Blender" if len(theirs) < 3 else "Blender"
        message = f"The farm renders with {patch} {image.version}, older than the Blender {blender} here."
        severity = "info" if len(theirs) < 3 else "warning"
        fix = "Look at a few frames before you render all, or have the farm's image updated."
        found.append(Finding("image_older", severity, message, fix=fix))
    return tuple(found)


def _read(farm: str, key: str, entry: Any) -> FarmImage:
    where = f"Farm profile '{farm}': images.'{key}'"
    data = {"image": entry} if isinstance(entry, str) else entry
    if not isinstance(data, Mapping) or not data.get("image") or data.keys() - _KEYS:
        raise ProfileError(f"{where} should be an image's reference, or {{image: …, version: …, blender: …}}.")
    reference, program = str(data["image"]), str(data.get("blender") or "blender")
    _refuse_old(where, key, reference)
    if not _REFERENCE.fullmatch(reference):
        raise ProfileError(f"{where} names '{reference}', which is not the reference of an image.")
    if not _PROGRAM.fullmatch(program):
        raise ProfileError(f"{where}.blender should be the path of a program, not '{program}'.")
    version = str(data.get("version") or _version_of_tag(reference) or key)
    if not _VERSION.fullmatch(version) or _major_minor(version) != key:
        raise ProfileError(f"{where} names an image with Blender {version}. Write it under '{_major_minor(version)}'.")
    return FarmImage(reference, version, program)


def _refuse_old(where: str, key: str, reference: str) -> None:
    if _TUTORIAL_IMAGE.fullmatch(reference):
        raise ProfileError(
            f"{where} names {reference}. That is Blender 2.82 of 2020: it can't open files of today's Blender, its Python 3.7"
            " can't run our scripts, and its GPU kernels end at the cards of its time."
            f" Name an image with Blender {OLDEST[0]}.{OLDEST[1]} or newer."
        )
    if not _VERSION.fullmatch(key) or _numbers(key) < OLDEST or _major_minor(key) != key:
        raise ProfileError(
            f"{where}: write major and minor of Blender in quotes, like '4.5'; {OLDEST[0]}.{OLDEST[1]} is the oldest."
        )


def _version_of_tag(reference: str) -> str:
    """Return the version that a tag like `4.5.3-cuda` begins with; empty if it does not."""
    tag = reference.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = _VERSION.match(tag)
    return found[0] if found else ""


def _major_minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])

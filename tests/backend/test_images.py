"""Images: the one of the scene's Blender, pinned and not older; what can't work is refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from cloud_farm.errors import ProfileError
from cloud_farm.images import FarmImage, choose_image, image_findings

from .argo_farm import farm

PINNED = f"@sha256:{'c' * 64}"


def choose(images: dict[str, Any], blender: str = "4.5.92") -> FarmImage:
    return choose_image(farm(images=images), blender)


def test_major_and_minor_choose() -> None:
    images = {
        "4.2": f"blender:4.2.9{PINNED}",
        "4.5": f"reg.example.com:5000/team/blender:4.5.3-cuda{PINNED}",
        "5.0": "blender:5",
    }
    assert choose(images) == FarmImage(images["4.5"], "4.5.3")
    assert choose(images, "4.2").version == "4.2.9"
    assert choose(images, "5.0.1") == FarmImage("blender:5", "5.0")


def test_a_profile_may_say_more_than_the_reference_does() -> None:
    entry = {"image": f"blender{PINNED}", "version": "4.5.7", "blender": "/opt/blender/blender"}
    assert choose({"4.5": entry}) == FarmImage(entry["image"], "4.5.7", "/opt/blender/blender")


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ({}, "no image with Blender 4.5.*it has: none.*images: {'4.5'"),
        ({"4.2": "b:4.2", "5.0": "b:5.0"}, r"it has: 4.2, 5.0"),
        ({"4.5": ""}, "should be an image's reference"),
        ({"4.5": {"version": "4.5.1"}}, "should be an image's reference"),
        ({"4.5": {"image": "b", "digest": "x"}}, "should be an image's reference"),
        ({"4.5": "b:4.2.1"}, "Blender 4.2.1. Write it under '4.2'"),
        ({"4.5": {"image": "b", "version": "new"}}, "Blender new"),
        ({"4.5": "two words"}, "not the reference of an image"),
        ({"4.5": "{{workflow.name}}"}, "not the reference of an image"),
        ({"4.5": {"image": "b", "blender": "blender; rm"}}, "path of a program"),
        ({"4.5.3": "b:4.5.3"}, "major and minor"),
        ({"latest": "b"}, "major and minor"),
        ({"4.5": "b:4.5", "2.93": "b:2.93"}, "4.2 is the oldest"),
    ],
)  # fmt: skip
def test_images_that_can_not_work_are_refused(images: dict[str, Any], says: str) -> None:
    with pytest.raises(ProfileError, match=says):
        choose(images)


@pytest.mark.parametrize("key", ["2.82", "4.5"])
@pytest.mark.parametrize(
    "name", ["nytimes/blender:2.82-gpu-ubuntu18.04", "docker.io/nytimes/blender:latest", f"nytimes/blender{PINNED}"]
)
def test_the_tutorials_image_is_refused_with_the_reason(name: str, key: str) -> None:
    with pytest.raises(ProfileError, match=r"Blender 2.82 of 2020.*can't open files.*4\.2 or newer"):
        choose({key: name})


def test_a_tag_and_an_older_patch_are_told() -> None:
    def codes(reference: str, version: str, own: str) -> list[tuple[str, str]]:
        return [(f.code, f.severity) for f in image_findings(FarmImage(reference, version), own)]

    assert codes(f"b{PINNED}", "4.5.15", "4.5.15") == []
    assert codes(f"b{PINNED}", "4.5.16", "4.5.15") == []
    assert codes("b:4.5.3", "4.5.3", "4.5.15") == [("image_not_pinned", "warning"), ("image_older", "warning")]
    assert codes(f"b{PINNED}", "4.5", "4.5.15") == [("image_older", "info")]
    assert codes(f"b{PINNED}", "4.2.1", "4.5.15") == []  # the scene is of 4.2: this computer's patch tells nothing

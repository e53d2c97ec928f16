"""What is sent to a cluster changes only on purpose."""

from __future__ import annotations

import pytest

from .manifests import FOLDER, NAMES, manifests_of, path_of


@pytest.mark.parametrize("name", NAMES)
def test_the_manifests_of_a_farm_are_those_that_were_looked_at(name: str) -> None:
    assert manifests_of(name) == path_of(name).read_text(encoding="utf-8"), (
        "python -m tests.golden.manifests writes them anew"
    )


def test_there_are_no_others() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {path_of(name).name for name in NAMES}

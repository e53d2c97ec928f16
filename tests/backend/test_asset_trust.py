"""What this computer remembers of verified assets, and what makes it forget."""

from __future__ import annotations

import hashlib
import multiprocessing

import pytest
from cloud_farm.asset_trust import AssetTrust
from cloud_farm.platform import user_folders
from cloud_farm.stores import StoreEntry

_SPAWN = multiprocessing.get_context("spawn")


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def entry(number: int, *, size: int = 10, mtime: float = 1764035464.123457) -> StoreEntry:
    return StoreEntry(sha(number), size, mtime, is_dir=False)


def test_what_was_verified_is_known_to_the_next_program() -> None:
    trust = AssetTrust("https://files.example.com bot")
    assert not trust.knows(sha(1), entry(1))
    trust.add(sha(1), entry(1))
    assert trust.knows(sha(1), entry(1))
    trust.save()
    assert AssetTrust("https://files.example.com bot").knows(sha(1), entry(1))


def test_another_volume_inherits_nothing() -> None:
    trust = AssetTrust("https://files.example.com bot")
    trust.add(sha(1), entry(1))
    trust.save()
    assert not AssetTrust("https://other.example.com bot").knows(sha(1), entry(1))


@pytest.mark.parametrize("changed", [{"size": 11}, {"mtime": 1764035464.223457}])
def test_a_file_that_was_replaced_is_looked_at_again(changed: dict[str, float]) -> None:
    """So is every file of a volume that was made anew at the same address."""
    trust = AssetTrust("volume")
    trust.add(sha(1), entry(1))
    trust.save()
    assert not AssetTrust("volume").knows(sha(1), entry(1, **changed))  # type: ignore[arg-type]


def test_the_memory_is_bounded_and_keeps_what_is_used() -> None:
    old = AssetTrust("volume", most=100)
    for number in range(100):
        old.add(sha(number), entry(number))
    old.save()
    path = next((user_folders().state / "assets").glob("*.txt"))
    text = path.read_text()
    path.write_text("".join(line.rsplit(" ", 1)[0] + " 20000\n" for line in text.splitlines()))
    newer = AssetTrust("volume", most=100)
    assert newer.knows(sha(0), entry(0)), "used again"
    for number in range(100, 150):
        newer.add(sha(number), entry(number))
    newer.save()
    kept = AssetTrust("volume", most=100)
    assert len(path.read_text().splitlines()) == 100
    assert all(kept.knows(sha(number), entry(number)) for number in (0, *range(100, 150)))


def test_what_somebody_found_damaged_is_trusted_no_more() -> None:
    trust = AssetTrust("volume")
    for number in range(3):
        trust.add(sha(number), entry(number))
    trust.save()
    AssetTrust("volume").forget([sha(0), sha(1), sha(9)])
    later = AssetTrust("volume")
    assert [later.knows(sha(number), entry(number)) for number in range(3)] == [False, False, True]


def test_nonsense_in_the_file_is_passed_over() -> None:
    trust = AssetTrust("volume")
    trust.add(sha(1), entry(1))
    trust.save()
    path = next((user_folders().state / "assets").glob("*.txt"))
    path.write_text(f"{path.read_text()}{'f' * 64} ten never\n\x00\n{sha(2)} 1")
    assert AssetTrust("volume").knows(sha(1), entry(1))
    path.write_bytes(b"\xff\xfe\x00")
    assert not AssetTrust("volume").knows(sha(1), entry(1))


def _remember(first: int) -> None:
    trust = AssetTrust("volume")
    for number in range(first, first + 50):
        trust.add(sha(number), entry(number))
        trust.save()


def test_two_programs_at_once_lose_nothing() -> None:
    processes = [_SPAWN.Process(target=_remember, args=(first,)) for first in (0, 1000)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    trust = AssetTrust("volume")
    assert all(trust.knows(sha(first + number), entry(first + number)) for first in (0, 1000) for number in range(50))

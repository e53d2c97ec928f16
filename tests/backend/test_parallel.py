"""Threads that work through a list: all of it, in the promised order, and no longer than wanted."""

from __future__ import annotations

import threading
import time

import pytest
from cloud_farm.errors import Cancelled, StoreError
from cloud_farm.events import CancelToken
from cloud_farm.parallel import for_each


def test_every_item_is_worked_on_once() -> None:
    done: list[int] = []
    for_each(range(1000), lambda item, _stop: done.append(item), workers=8)
    assert sorted(done) == list(range(1000))
    for_each([], lambda _item, _stop: pytest.fail("nothing to do"), workers=8)


def test_no_more_at_a_time_than_wanted() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def work(_item: int, _stop: CancelToken) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1

    for_each(range(60), work, workers=3)
    assert most == 3


def test_both_ends_of_the_list_are_worked_on() -> None:
    began: list[int] = []
    both = threading.Barrier(2)

    def work(item: int, _stop: CancelToken) -> None:
        began.append(item)
        if len(began) <= 2:
            both.wait(10)

    for_each(range(10), work, workers=2, from_end=1)
    assert set(began[:2]) == {0, 9}


def test_the_first_error_ends_the_others_and_is_raised() -> None:
    ended: list[int] = []
    others = threading.Barrier(3)

    def work(item: int, stop: CancelToken) -> None:
        if item == 0:
            others.wait(10)
            raise StoreError("the disk")
        if len(ended) < 2:
            others.wait(10)
            stop.wait(20)
            ended.append(item)
            stop.raise_if_cancelled()

    with pytest.raises(StoreError, match="the disk"):
        for_each(range(100), work, workers=3)
    assert len(ended) == 2, "the rest of the list was not left alone"


def test_cancelling_ends_it() -> None:
    cancel, began = CancelToken(), threading.Event()

    def work(_item: int, stop: CancelToken) -> None:
        began.set()
        cancel.cancel()
        assert stop.wait(20), "the threads were not told"
        stop.raise_if_cancelled()

    with pytest.raises(Cancelled):
        for_each(range(4), work, workers=2, cancel=cancel)
    assert began.is_set()

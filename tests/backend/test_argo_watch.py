"""What is heard of a job's Workflows between two lists of them, and when they are listed again."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from cloud_farm.engines.argo_follow import HeadReader
from cloud_farm.engines.argo_objects import HeadList, WorkflowEvent, WorkflowHead, read_events
from cloud_farm.engines.argo_watch import News, WorkflowWatch
from cloud_farm.errors import EngineError, EngineForbiddenError, EngineUnreachableError

from ..contracts.contract_job import wait_for

HEAD = WorkflowHead("w1", "5", "Running", False, 1, 0, 1, shards=1)
ADDED = WorkflowEvent("ADDED", "w1", "Running", "5")
END = "the cluster ends its answer"
GONE = WorkflowEvent("ERROR", code=410)


class Line:
    """Plays the cluster's end of the line: tells what the test says, and remembers from where it was asked to go on."""

    def __init__(self) -> None:
        self.says: queue.Queue[WorkflowEvent | Exception | str] = queue.Queue()
        self.asked: list[str] = []
        self.pauses: list[float] = []
        self.time = 0.0

    def __call__(self, version: str) -> Iterator[WorkflowEvent]:
        self.asked.append(version)
        while (said := self.says.get()) != END:
            if isinstance(said, Exception):
                raise said
            assert isinstance(said, WorkflowEvent)
            yield said

    def say(self, *words: WorkflowEvent | Exception | str) -> None:
        for word in words:
            self.says.put(word)

    def watch(self) -> WorkflowWatch:
        return WorkflowWatch(self, clock=lambda: self.time, pause=self.pauses.append)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.time = 1e9
    line.say(ADDED)  # after which nobody has asked for very long


def heard(watch: WorkflowWatch) -> News:
    """What is heard next."""
    news: list[News | None] = []

    def is_something() -> bool:
        news.append(watch.news())
        return news[-1] is not None and (news[-1].relist or news[-1].missed or bool(news[-1].versions))

    wait_for(is_something, 10)
    assert news[-1] is not None
    return news[-1]


def test_before_anything_is_heard_nothing_is_known(line: Line) -> None:
    watch = line.watch()
    assert watch.news() is None
    line.say(ADDED)
    assert heard(watch) == News(False, True, {})
    assert watch.news() == News(False, False, {})


def test_a_change_within_a_phase_tells_the_version_and_another_phase_asks_for_the_list(line: Line) -> None:
    watch = line.watch()
    line.say(ADDED)
    heard(watch)
    line.say(WorkflowEvent("MODIFIED", "w1", "Running", "7"))
    assert heard(watch) == News(False, False, {"w1": "7"})
    line.say(WorkflowEvent("BOOKMARK", version="9"), WorkflowEvent("MODIFIED", "w1", "Succeeded", "10"))
    assert heard(watch).relist
    line.say(WorkflowEvent("DELETED", "w1", "Succeeded", "11"))
    assert heard(watch).relist


def test_it_goes_on_where_the_cluster_ended_it(line: Line) -> None:
    watch = line.watch()
    line.say(ADDED)
    heard(watch)
    line.say(WorkflowEvent("BOOKMARK", version="8"), END, WorkflowEvent("MODIFIED", "w1", "Running", "9"))
    assert heard(watch) == News(False, False, {"w1": "9"})
    assert (line.asked, line.pauses) == (["", "8"], [])


def test_what_the_cluster_forgot_is_listed_again(line: Line) -> None:
    watch = line.watch()
    line.say(ADDED)
    heard(watch)
    line.say(GONE)
    wait_for(lambda: line.asked == ["", ""])
    assert watch.news() is None
    line.say(ADDED._replace(version="900"))
    assert heard(watch).missed


_DOUBLED = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]


@pytest.mark.parametrize(
    ("fault", "pauses", "then"),
    [
        (EngineUnreachableError("reset"), _DOUBLED, "5"),
        (EngineUnreachableError("504", busy=True), _DOUBLED, ""),
        (EngineForbiddenError("no watch"), [30.0] * 6, "5"),
        (WorkflowEvent("ERROR", code=500), _DOUBLED, ""),
        (RuntimeError("a fault of ours"), _DOUBLED, ""),
        (END, _DOUBLED, "5"),
    ],
)
def test_a_line_that_is_cut_again_and_again_is_tried_less_often(
    line: Line, fault: Any, pauses: list[float], then: str
) -> None:
    watch = line.watch()
    line.say(*[fault] * 6)
    wait_for(lambda: len(line.pauses) == 6)
    assert line.pauses == pauses
    assert watch.news() is None
    line.say(ADDED, END, fault)
    wait_for(lambda: len(line.asked) == 9)
    assert line.pauses[6] == pauses[0]
    assert line.asked[6:] == ["", "5", then], "from where it was, unless that may be what the cluster does not take"


def test_what_the_line_says_late_was_kept_back_by_a_proxy(line: Line) -> None:
    watch = line.watch()
    wait_for(lambda: line.asked == [""])
    line.time = 11.0
    assert watch.news() is None
    line.say(ADDED)
    wait_for(lambda: line.pauses == [30.0])
    assert watch.news() is None
    line.say(ADDED)
    assert heard(watch).missed


def test_nobody_who_asks_nobody_who_listens(line: Line) -> None:
    watch = line.watch()
    line.say(ADDED)
    heard(watch)
    line.time = 61.0
    line.say(WorkflowEvent("BOOKMARK", version="6"))
    wait_for(lambda: watch.ended)
    assert watch.news() is None


# -- the list -------------------------------------------------------------------------------------------------------------


class Listed:
    """A list of a job's Workflows that costs `size` bytes, and the reader of it with a watch that tells `news`."""

    def __init__(self, size: int, *heads: WorkflowHead) -> None:
        self.size, self.heads, self.time = size, heads, 0.0
        self.reads = self.watches = self.asked = 0
        self.news_: News | None = None
        self.ended = False
        self.fault: EngineError | None = None
        self.reader = HeadReader(self._fetch, self._watch, clock=lambda: self.time)

    def _fetch(self, _job: str) -> HeadList:
        if self.fault:
            raise self.fault
        self.reads += 1
        return HeadList(self.heads, self.size)

    def _watch(self, _job: str) -> WorkflowWatch:
        self.watches += 1
        return self  # type: ignore[return-value]

    def news(self) -> News | None:
        self.asked += 1
        return self.news_

    def looks(self, *moments: float) -> list[int]:
        """Look at these seconds; returns how often it was listed by then."""
        counts = []
        for self.time in moments:
            self.reader.recent("job")
            counts.append(self.reads)
        return counts


def test_a_long_list_is_read_less_often_but_not_after_a_change_of_ours() -> None:
    api = Listed(40_000, HEAD)  # two seconds' worth
    assert api.looks(0.0, 1.9, 2.1) == [1, 1, 2]
    api.reader.forget()
    assert api.looks(2.2) == [3]
    api.reader.read("job")
    assert api.reads == 4
    assert api.looks(2.3) == [4]
    api.size = 40_000_000
    api.reader.read("job")
    assert api.looks(31.9, 32.4) == [5, 6], "it waits half a minute at most"


def test_with_a_watch_it_is_read_when_that_says_so_and_twice_a_minute_in_any_case() -> None:
    api = Listed(0, HEAD)
    assert api.looks(0.0, 1.0) == [1, 2]
    api.news_ = News(False, False, {})
    assert api.looks(2.0, 10.0, 30.0) == [2, 2, 2]
    api.news_ = News(True, False, {})
    assert api.looks(30.5) == [3]
    api.news_ = News(False, False, {})
    assert api.looks(60.0, 60.6) == [3, 4]
    assert api.watches == 1


def test_what_may_have_been_missed_is_read_when_the_list_is_due() -> None:
    api = Listed(40_000, HEAD)  # two seconds' worth
    api.looks(0.0, 1.0)
    api.news_ = News(False, True, {})
    assert api.looks(1.5) == [1]
    api.news_ = News(False, False, {})
    assert api.looks(1.9, 2.1, 4.2, 9.0) == [1, 2, 2, 2]


def test_a_version_that_was_heard_is_the_heads_until_the_list_says_otherwise() -> None:
    api = Listed(40_000, HEAD)
    api.looks(0.0, 0.1)
    api.news_ = News(False, False, {"w1": "9", "another": "3"})
    assert api.reader.recent("job") == (replace(HEAD, version="9"),)
    api.news_ = News(False, False, {})
    assert api.reader.recent("job") == (replace(HEAD, version="9"),)
    assert api.reads == 1


def test_news_are_not_lost_with_a_list_that_fails() -> None:
    api = Listed(40_000, HEAD)
    api.looks(0.0, 0.1)
    api.news_, api.fault = News(True, False, {}), EngineUnreachableError("503")
    with pytest.raises(EngineUnreachableError):
        api.reader.recent("job")
    api.news_, api.fault = News(False, False, {}), None
    assert api.looks(0.2) == [2]


@pytest.mark.parametrize("heads", [(), (replace(HEAD, completed=True),)])
def test_nothing_is_watched_where_nothing_runs(heads: tuple[WorkflowHead, ...]) -> None:
    api = Listed(0, *heads)
    assert api.looks(0.0, 1.0, 2.0) == [1, 2, 3]
    assert api.watches == 0


def test_a_job_that_is_over_is_watched_no_more() -> None:
    api = Listed(0, HEAD)
    api.looks(0.0, 1.0)
    api.heads, api.news_ = (replace(HEAD, completed=True),), News(True, False, {})
    api.looks(2.0, 3.0)
    asked = api.asked
    api.looks(4.0, 5.0)
    assert (api.watches, api.asked) == (1, asked), "it hears of nobody who asks, and ends"


def test_a_list_of_all_jobs_now_and_then_is_worth_no_watch() -> None:
    api = Listed(0, HEAD)
    assert api.looks(0.0, 11.0, 22.0, 33.0) == [1, 2, 3, 4]
    assert api.watches == 0


def test_one_that_gave_up_is_begun_anew_and_there_are_not_too_many_however_many_look() -> None:
    api = Listed(0, HEAD)
    api.looks(0.0, 1.0)
    api.ended = True
    api.looks(2.0)
    assert api.watches == 2
    api.ended = False
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: api.reader.recent(f"job-{number % 20}"), range(400)))
    assert api.watches == 9


# -- what the cluster writes ----------------------------------------------------------------------------------------------


def table(kind: str, version: str, *cells: Any, columns: tuple[str, ...] = ()) -> str:
    rows = [{"cells": list(cells), "object": None}] if cells else []
    columns_ = [{"name": name} for name in columns]
    content = {"kind": "Table", "metadata": {"resourceVersion": version}, "columnDefinitions": columns_, "rows": rows}
    return json.dumps({"type": kind, "object": content})


def test_the_lines_of_a_watch_are_read() -> None:
    lines = [
        table("ADDED", "1", "w1", "Running", "3s", None, columns=("Name", "Status", "Age", "Message")),
        "",
        table("MODIFIED", "2", "w1", None, "4s", None),
        table("BOOKMARK", "3"),
        json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}}),
    ]
    assert list(read_events([lines[3]])) == [WorkflowEvent("BOOKMARK", version="3")], "the first one when it goes on"
    assert list(read_events(lines)) == [
        WorkflowEvent("ADDED", "w1", "Running", "1"),
        WorkflowEvent("MODIFIED", "w1", "", "2"),
        WorkflowEvent("BOOKMARK", version="3"),
        GONE,
    ]


@pytest.mark.parametrize(
    "line", ["<html>", "[1]", "{}", table("ADDED", "1", "w1"), table("ADDED", "1", columns=("Name",))]
)
def test_what_is_no_watch_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="no watch of ours"):
        list(read_events([line]))

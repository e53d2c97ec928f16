"""What `cloud-farm store` shows: lines for people, mappings for programs."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from .cli_text import Line, Span, clean, columns, wrapped
from .events import counted
from .units import size

if TYPE_CHECKING:
    from .checks import Check
    from .collector import Collected
    from .copying import CopyPlan
    from .gc import GcPlan, Item, TrashEntry
    from .stores import StoreEntry
    from .usage import Usage

_LEVEL_STYLES = {"green": "good", "yellow": "warning", "red": "bad"}
_NAME_CELLS, _LEVEL_CELLS = 9, 7
_SHOWN_FOREIGN = 5


def check_lines(check: Check, width: int) -> list[Line]:
    """Show one check: level, name, what was found; below it what to do."""
    head = (
        Span(f"{check.level:<{_LEVEL_CELLS}}", _LEVEL_STYLES[check.level]),
        Span(f"{check.name:<{_NAME_CELLS}} ", "dim"),
    )
    indent = (Span(" " * (_LEVEL_CELLS + _NAME_CELLS + 1)),)
    fix = wrapped(check.fix, width, first=indent) if check.fix else []
    return [*wrapped(check.message, width, first=head), *fix]


def verdict_line(checks: Sequence[Check]) -> Line:
    """Say in one line what the checks mean."""
    levels = [check.level for check in checks]
    if "red" in levels:
        return (Span("red: ", "bad"), Span("jobs can't use this store as it is"))
    if "yellow" in levels:
        return (Span("yellow: ", "warning"), Span("jobs can use this store; see above"))
    return (Span("green: ", "good"), Span("jobs can use this store"))


# -- lists --------------------------------------------------------------------------------------------------------------


def entry_table(entries: Iterable[StoreEntry]) -> list[Line]:
    """List a folder: folders end with a slash."""
    rows = [
        ("-" if entry.is_dir else size(entry.size), _moment(entry.mtime), clean(entry.name) + "/" * entry.is_dir)
        for entry in entries
    ]
    return _table(("SIZE", "CHANGED", "NAME"), rows)


def entry_data(folder: PurePosixPath, entry: StoreEntry) -> dict[str, Any]:
    """Describe an entry to programs."""
    kind = "folder" if entry.is_dir else "file"
    return {
        "event": kind, "path": str(folder / entry.name), "bytes": entry.size,
        "changed": datetime.datetime.fromtimestamp(entry.mtime, datetime.UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def usage_table(found: Sequence[Usage]) -> list[Line]:
    """List what things take, and the sum."""
    rows = [(size(usage.size), f"{usage.files:,}", clean(_usage_name(usage))) for usage in found]
    total = (size(sum(usage.size for usage in found)), f"{sum(usage.files for usage in found):,}", "in all")
    return _table(("SIZE", "FILES", "WHAT"), [*rows, total])


def usage_data(usage: Usage) -> dict[str, Any]:
    """Describe what a thing takes to programs."""
    return {
        "event": "usage", "kind": usage.kind, "path": str(usage.path), "files": usage.files, "bytes": usage.size,
        "scene_bytes": usage.scene_size,
    }  # fmt: skip


def scene_line(found: Sequence[Usage]) -> str:
    """Say what the jobs' scene trees come to, which are not in the sums; empty if there are none."""
    trees = sum(usage.scene_size for usage in found)
    if not trees:
        return ""
    return f"Not counted: scene trees of {size(trees)}. They are links of the assets, or copies where the volume has no links."


def _usage_name(usage: Usage) -> str:
    return usage.path.name if usage.kind != "other" else str(usage.path)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[Line]:
    """Align a table whose first column is of numbers."""
    width = max(len(row[0]) for row in [head, *rows])
    cells = [[Span(f"{first:>{width}}"), *(Span(text) for text in rest)] for first, *rest in rows]
    titles = [Span(f"{head[0]:>{width}}", "dim"), *(Span(text, "dim") for text in head[1:])]
    return columns([titles, *cells])


def _moment(seconds: float) -> str:
    """Write a time by this computer's clock face."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


# -- gc -----------------------------------------------------------------------------------------------------------------


def plan_lines(plan: GcPlan, width: int) -> list[Line]:
    """Show what a clean-up would do, and what it leaves and why."""
    return [
        *_block("Would bring back from the trash", _restored_rows(len(plan.restore))),
        *_block("Would move to the trash", _moved_rows(plan.assets, plan.unfinished)),
        *_block("Would delete from the trash for good", _emptied_rows(plan.emptied)),
        *_left_lines(plan, width),
    ]


def done_lines(done: Collected, plan: GcPlan, width: int) -> list[Line]:
    """Show what a clean-up did, and what it left and why."""
    return [
        *_block("Brought back from the trash", _restored_rows(done.restored)),
        *_block("Moved to the trash", _moved_rows(done.assets, done.unfinished)),
        *_block("Deleted from the trash for good", _emptied_rows(done.emptied)),
        *_left_lines(plan, width),
    ]


def gc_data(plan: GcPlan, done: Collected | None) -> dict[str, Any]:
    """Describe a clean-up to programs: what it did, or would do."""
    what = done or plan
    return {
        "event": "gc", "done": done is not None,
        "restored": len(plan.restore) if done is None else done.restored,
        "assets": [_item_data(item) for item in what.assets],
        "unfinished": [_item_data(item) for item in what.unfinished],
        "emptied": [{"name": e.name, "files": e.files, "bytes": e.item.size} for e in what.emptied],
        "young": plan.young, "foreign": [str(path) for path in plan.foreign], "problems": list(plan.problems),
    }  # fmt: skip


def copied_lines(plan: CopyPlan, done: str, width: int) -> list[Line]:
    """Show what a copy did; `done` says in words what became of the files."""
    copied = (*plan.new, *plan.replaced)
    lines: list[Line] = []
    if copied:
        lines += wrapped(f"{counted(len(copied), 'file')} {done}, {size(plan.size)}", width, first=())
    if plan.unchanged:
        lines += wrapped(f"{counted(len(plan.unchanged), 'file')} there already", width, first=())
    if plan.left_out:
        lines.append((Span("Left out", "title"),))
        for reason in plan.left_out:
            lines += wrapped(clean(reason), width, first=(Span(" ! ", "warning"),))
    return lines or [(Span("There is no file in it."),)]


def copied_data(plan: CopyPlan) -> dict[str, Any]:
    """Describe a copy to programs."""
    names = {"copied": (*plan.new, *plan.replaced), "unchanged": plan.unchanged}
    return {
        "event": "copied", "bytes": plan.size, "replaced": len(plan.replaced), "left_out": list(plan.left_out),
        **{name: [{"here": str(c.here), "volume": str(c.there), "bytes": c.size} for c in found] for name, found in names.items()},
    }  # fmt: skip


def _item_data(item: Item) -> dict[str, Any]:
    return {"path": str(item.path), "bytes": item.size}


def _block(title: str, rows: Sequence[tuple[str, str]]) -> list[Line]:
    """Show rows of size and words below a title; nothing if there are none."""
    if not rows:
        return []
    width = max(len(amount) for amount, _ in rows)
    return [(Span(title, "title"),), *((Span(f"  {amount:>{width}}  {what}"),) for amount, what in rows)]


def _restored_rows(count: int) -> list[tuple[str, str]]:
    return [("", f"{counted(count, 'asset')} that a job needs")] if count else []


def _moved_rows(assets: Sequence[Item], unfinished: Sequence[Item]) -> list[tuple[str, str]]:
    rows = []
    if assets:
        rows.append((_sum(assets), f"{counted(len(assets), 'asset')} that no job needs"))
    if unfinished:
        rows.append((_sum(unfinished), f"{counted(len(unfinished), 'upload')} or scene tree that nobody will finish"))
    return rows


def _emptied_rows(emptied: Sequence[TrashEntry]) -> list[tuple[str, str]]:
    return [(size(entry.item.size), f"{counted(entry.files, 'file')} of {entry.name}") for entry in emptied]


def _left_lines(plan: GcPlan, width: int) -> list[Line]:
    lines: list[Line] = []
    for problem in plan.problems:
        lines += wrapped(problem, width, first=(Span(" ! ", "warning"),))
    if plan.problems:
        text = "So nobody can know which assets are needed, and none was touched."
        lines += wrapped(text, width, first=(Span("   "),))
    if plan.young:
        lines.append((Span(f"Stays: {counted(plan.young, 'asset')} that no job needs, but not yet a day old.", "dim"),))
    for path in plan.foreign[:_SHOWN_FOREIGN]:
        lines.append((Span(f"Left alone, as it is not ours: {clean(str(path))}", "dim"),))
    if len(plan.foreign) > _SHOWN_FOREIGN:
        lines.append((Span(f"and {len(plan.foreign) - _SHOWN_FOREIGN} more; all of them with --json", "dim"),))
    return lines


def _sum(items: Iterable[Item]) -> str:
    return size(sum(item.size for item in items))

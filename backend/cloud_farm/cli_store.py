"""`cloud-farm store`: look after a farm's volume."""

from __future__ import annotations

import shutil
import sys
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from .cli_common import front_options, get_farm, interruptible, print_json, steps_view
from .cli_store_text import (
    check_lines,
    copied_data,
    copied_lines,
    done_lines,
    entry_data,
    entry_table,
    gc_data,
    plan_lines,
    scene_line,
    usage_data,
    usage_table,
    verdict_line,
)
from .cli_text import echo_lines, wrapped
from .errors import Cancelled, UsageError
from .events import Stage, ignore
from .json_data import to_json
from .units import size

if TYPE_CHECKING:
    from .copying import CopyPlan
    from .stores import Store, StoreEntry

_WIDEST = 120


class _InOrder(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their use."""
        return list(self.commands)


@click.group(cls=_InOrder)
def store() -> None:
    """Look after a farm's volume: test it, copy files, see what takes the room, clean up.

    Paths begin at the volume's root.
    """


@store.command()
@front_options("farm", "json")
def check(farm: str | None, json: bool) -> int:
    """Test the store: version, rights, room, clock, speed.

    Tries everything on small files of its own, which it removes. Exit code 0 is green or yellow, 1 red, 3 not reachable.
    """
    from .store_check import check_store, exit_code

    found = []
    for item in check_store(get_farm(farm).store):
        found.append(item)
        if json:
            print_json({"event": "check", **to_json(item)})
        else:
            echo_lines(check_lines(item, _width()), sys.stdout)
    if not json:
        echo_lines([(), verdict_line(found)], sys.stdout)
    return exit_code(found)


@store.command("ls")
@click.argument("path", default="")
@front_options("farm", "json")
def list_folder(path: str, farm: str | None, json: bool) -> int:
    """List a folder of the volume."""
    opened = get_farm(farm).store
    place = volume_path(path)
    folder, entries = _entries(opened, place)
    if json:
        for entry in entries:
            print_json(entry_data(folder, entry))
        return 0
    if entries:
        echo_lines(entry_table(entries), sys.stdout)
    else:
        click.echo("Nothing lies there.")
    return 0


@store.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--to", default="", metavar="FOLDER", help="Folder of the volume.  [default: its root]")
@click.option("--replace", is_flag=True, help="Replace other files of the same names.")
@front_options("farm", "json")
def put(sources: tuple[Path, ...], to: str, replace: bool, farm: str | None, json: bool) -> int:
    """Copy files and folders to the volume.

    What is there already is not sent again, so an interrupted copy is simply repeated. A scene that lies there is rendered
    by: cloud-farm render --on-volume PATH
    """
    from .copying import plan_put, put_files

    opened, folder = get_farm(farm).store, volume_path(to)
    with interruptible() as token, steps_view(as_json=json) as listen:
        listen(Stage("checking", "Looking at the volume"))
        plan = plan_put(opened, sources, folder, on_event=listen, cancel=token)
        put_files(opened, plan, replace_others=replace, on_event=listen, cancel=token)
    return _tell_copied(plan, f"sent to {folder}" if folder.parts else "sent to the volume's root", as_json=json)


@store.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "--to", default=".", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder here.  [default: this one]"
)
@click.option("--replace", is_flag=True, help="Replace other files of the same names.")
@front_options("farm", "json")
def get(paths: tuple[str, ...], to: Path, replace: bool, farm: str | None, json: bool) -> int:
    """Copy files and folders of the volume to this computer.

    What is here already is not fetched again, so an interrupted copy is simply repeated. For the frames of a job rather
    take: cloud-farm fetch JOB
    """
    from .copying import get_files, plan_get

    opened, sources = get_farm(farm).store, [volume_path(path) for path in paths]
    with interruptible() as token, steps_view(as_json=json) as listen:
        listen(Stage("checking", "Looking at the volume"))
        plan = plan_get(opened, sources, to, on_event=listen, cancel=token)
        get_files(opened, plan, replace_others=replace, on_event=listen, cancel=token)
    return _tell_copied(plan, f"fetched to {to}", as_json=json)


@store.command()
@click.argument("path", required=False)
@front_options("farm", "json")
def du(path: str | None, farm: str | None, json: bool) -> int:
    """Show what takes the room.

    Every job, the assets and the trash; or what lies in PATH.
    """
    from .usage import folder_usage, volume_usage

    opened = get_farm(farm).store
    found = volume_usage(opened) if path is None else folder_usage(opened, _folder(opened, volume_path(path)))
    free = opened.free_space()
    if json:
        for usage in found:
            print_json(usage_data(usage))
        print_json({"event": "total", "bytes": sum(usage.size for usage in found), "free_bytes": free})
        return 0
    echo_lines(usage_table(found), sys.stdout)
    if trees := scene_line(found):
        echo_lines(wrapped(trees, _width(), first=()), sys.stdout)
    if free is not None:
        click.echo(f"{size(free)} free")
    return 0


@store.command()
@front_options("farm", "json")
@click.option(
    "--trash-days",
    type=click.IntRange(1),
    default=7,
    metavar="DAYS",
    help="Days that things stay in the trash.  [default: 7]",
)
@click.option("--yes", is_flag=True, help="Do it; without this it is only shown.")
def gc(farm: str | None, json: bool, trash_days: int, yes: bool) -> int:
    """Clean up: assets that no job needs, unfinished uploads, old trash.

    A job keeps its files as long as it is there, in whatever state; delete it first: cloud-farm delete. What came less
    than a day ago stays. All goes to the trash, and from there after --trash-days. Shows what it would do; --yes does it.
    """
    from .collector import collector_of
    from .gc import plan_gc

    collector = collector_of(get_farm(farm))
    with interruptible() as token:
        with nullcontext(ignore) if json else steps_view(as_json=False) as listen:
            plan = plan_gc(collector.survey(), trash_days=trash_days)
            done = collector.collect(plan, on_event=listen, cancel=token) if yes else None
        if json:
            print_json(gc_data(plan, done))
        else:
            echo_lines(plan_lines(plan, _width()) if done is None else done_lines(done, plan, _width()), sys.stdout)
            if plan.is_empty:
                click.echo("Nothing to clean up.")
            elif not yes:
                click.echo("Nothing was done yet. Do it with --yes.")
        if token.cancelled:
            click.echo("Interrupted. What is not listed stays as it was.", err=True)
            return Cancelled.exit_code
    return 1 if plan.problems else 0


def volume_path(text: str) -> PurePosixPath:
    """Understand a path on the volume as people write it: with or without a slash at its beginning and end.

    Raises:
        UsageError: It leads out.
    """
    path = PurePosixPath(text.lstrip("/"))
    if ".." in path.parts or "\x00" in text:
        raise UsageError(f"{text!r} is not a path inside the farm's volume.")
    return path


def _tell_copied(plan: CopyPlan, done: str, *, as_json: bool) -> int:
    """Say what was copied; returns the exit code."""
    if as_json:
        print_json(copied_data(plan))
    else:
        echo_lines(copied_lines(plan, done, _width()), sys.stdout)
    return 1 if plan.left_out else 0


def _entries(opened: Store, place: PurePosixPath) -> tuple[PurePosixPath, tuple[StoreEntry, ...]]:
    """Return a folder and what lies in it; of a file its folder and itself."""
    found = opened.stat(place)
    if found is not None and not found.is_dir:
        return place.parent, (found,)
    return place, opened.list(_folder(opened, place))


def _folder(opened: Store, place: PurePosixPath) -> PurePosixPath:
    found = opened.stat(place)
    if place != PurePosixPath() and (found is None or not found.is_dir):
        raise UsageError(f"The farm's volume has no folder {place}. Look around with: cloud-farm store ls")
    return place


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _WIDEST) - 1

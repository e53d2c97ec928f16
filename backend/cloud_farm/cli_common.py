"""What the commands share: options made from the table, opening a farm, following a job, ending with the right code."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from .errors import Cancelled, CloudFarmError
from .events import CancelToken, Event, Listener, counted, plain_line
from .options import FRONT_OPTIONS, JOB_OPTIONS, Option

if TYPE_CHECKING:
    from .farm import Farm
    from .status import JobStatus

F = TypeVar("F", bound=Callable[..., Any])
_TYPES = {"integer": click.INT, "number": click.FLOAT}
"""All others stay text: `options.py` understands them, with the same words in every front."""


def job_options(command: F) -> F:
    """Add every option of a job."""
    return job_options_for(*(option.field for option in JOB_OPTIONS))(command)


def job_options_for(*fields: str) -> Callable[[F], F]:
    """Add the options that set these fields of a job."""

    def add(command: F) -> F:
        for option in reversed(JOB_OPTIONS):
            command = _click_option(option)(command) if option.field in fields else command
        return command

    return add


def front_options(*names: str) -> Callable[[F], F]:
    """Add options of the front by name."""

    def add(command: F) -> F:
        for option in reversed(FRONT_OPTIONS):
            if option.name in names:
                command = _click_option(option)(command)
        return command

    return add


def local_options(command: F) -> F:
    """Add the options that only this computer's farm has."""
    command = click.option(
        "--workers", type=click.IntRange(1), metavar="N", help="Blenders at a time on this computer."
    )(command)
    return click.option("--blender", metavar="PROGRAM", help="The Blender to use.")(command)


def _click_option(option: Option) -> Callable[[F], F]:
    text = option.usage + (f"  [default: {option.default}]" if option.default else "")
    names = (*option.flags, option.name)
    if option.kind == "switch":
        return click.option(*names, is_flag=True, help=text)
    return click.option(
        *names,
        type=_TYPES.get(option.kind, click.STRING),
        metavar=option.metavar,
        multiple=option.many,
        help=text,
        shell_complete=lambda _ctx, _param, begun: [c for c in option.choices if c.lower().startswith(begun.lower())],
    )


def get_farm(farm: str | None, *, blender: str | None = None, workers: int | None = None) -> Farm:
    """Open the farm that the options name."""
    from .farm import open_farm

    return open_farm(farm or "local", flags={"blender": blender, "limits.workers": workers})


def complete_job(ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offer the jobs of the farm, the newest first; none where it can't be asked."""
    try:
        found = get_farm(ctx.params.get("farm")).jobs()
    except CloudFarmError:
        return []
    return [CompletionItem(job.id, help=job.state) for job in found if job.id.startswith(begun)]


def print_json(data: Mapping[str, Any]) -> None:
    """Write one JSON line, in ASCII: no name in it and no terminal can break it."""
    click.echo(json.dumps(data, default=str))


def print_yaml(manifests: Sequence[Mapping[str, Any]], comment: str) -> None:
    """Write manifests as kubectl and argo take them."""
    import yaml

    click.echo(f"# {comment}")
    click.echo(yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True, explicit_start=True), nl=False)


def tell(event: str, text: str, *, as_json: bool, **data: Any) -> None:
    """Say what was done: a sentence, or an event for programs."""
    if as_json:
        print_json({"event": event, **data})
    else:
        click.echo(text)


def is_terminal() -> bool:
    """Tell whether stdout is a terminal that a live view can use."""
    from .cli_text import is_terminal as understands_cursor

    return understands_cursor(sys.stdout)


@contextmanager
def interruptible() -> Iterator[CancelToken]:
    """Turn Ctrl-C into a cancel token: the wait ends at a safe place. A second one interrupts at once."""
    token = CancelToken()

    def interrupt(_number: int, _frame: object) -> None:
        if token.cancelled:
            raise KeyboardInterrupt
        token.cancel()

    if threading.current_thread() is not threading.main_thread():
        yield token  # only the main thread is told of signals
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield token
    finally:
        signal.signal(signal.SIGINT, before)


def steps_listener(*, as_json: bool) -> Listener:
    """Tell the steps of something long by plain lines, or by one JSON object a line."""
    from .cli_text import clean

    def listen(event: Event) -> None:
        if as_json:
            print_json(event.to_json())
        elif event.kind in ("finding", "note") or (
            event.kind == "stage" and event.to_json()["stage"] in ("building", "uploading", "submitting")
        ):
            line = plain_event(event)
            if line:
                click.echo(clean(line))

    return listen


def steps_view(*, as_json: bool) -> AbstractContextManager[Listener]:
    """Show the steps of something long in the way that fits the output."""
    if as_json or not is_terminal():
        return nullcontext(steps_listener(as_json=as_json))
    from .cli_view import StepView

    return StepView()


def follow_job(farm: Farm, job_id: str, *, as_json: bool, land: bool = True, target: Path | None = None) -> int:
    """Follow a job in the way that fits the output; returns the exit code."""
    from .cli_view import view_for

    live = is_terminal() and not as_json
    try:
        with interruptible() as token, view_for(as_json=as_json, live=live) as view:
            status = farm.follow(
                job_id, land=land, target=target, on_event=view.event, on_status=view.status, cancel=token
            )
    except (Cancelled, KeyboardInterrupt):
        click.echo(f"The job goes on. Follow it: cloud-farm follow {job_id}", err=True)
        click.echo(f"                 Stop it:   cloud-farm cancel {job_id}", err=True)
        return Cancelled.exit_code
    return finish(status, as_json=as_json, live=live)


def finish(status: JobStatus, *, as_json: bool, live: bool = False) -> int:
    """Say how a job ended, as far as a live picture does not show it; returns the exit code."""
    from .cli_picture import advice
    from .cli_text import clean

    if as_json:
        print_json(
            {
                "event": "result",
                "job": status.id,
                "state": status.state,
                "done": status.frames_done,
                "total": status.frames_total,
                "stages": status.stages,
            }
        )
    elif status.state == "done":
        here = status.frames_total - len(status.not_landed)
        click.echo(clean(f"Done: {counted(here, 'frame')} in {status.landing}"))
    elif not live:
        click.echo(
            f"Job {status.id} is {status.state}: {status.frames_done} of {status.frames_total} frames are in {status.landing}",
            err=True,
        )
        for line in (*status.messages[:10], *advice(status)):
            click.echo(f"  {clean(line)}", err=True)
    for reason in status.not_landed[:10]:
        click.echo(clean(f"Not landed: {reason}"), err=True)
    for path in status.set_aside[:5]:
        click.echo(clean(f"Not overwritten, because what was there is newer; put beside it: {path}"), err=True)
    return 0 if status.state in ("done", "paused") and not status.not_landed else 1


def plain_event(event: Event) -> str:
    """Write an event as one plain line; empty for those that only programs want."""
    return plain_line(event.to_json())

"""`cloud-farm jobs`, `status`, `follow`, `logs` and `fetch`."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_common import complete_job, follow_job, front_options, get_farm, interruptible, plain_event, print_json
from .cli_picture import STATE_STYLES, Canvas, draw, status_data
from .cli_text import Line, Span, clean, columns, echo_lines, glyphs_for
from .errors import Cancelled
from .events import counted
from .json_data import to_json

if TYPE_CHECKING:
    from .farm import Farm
    from .movie import Movie
    from .status import JobStatus, JobSummary

_MANY_LINES = 500
"""`status` is printed once: it may be longer than the terminal."""


@click.command()
@front_options("farm", "json")
def jobs(farm: str | None, json: bool) -> int:
    """List the jobs of a farm, the newest first."""
    found = get_farm(farm).jobs()
    if json:
        for job in found:
            print_json(to_json(job))
        return 0
    if not found:
        click.echo("No jobs yet. Start one with: cloud-farm demo")
    echo_lines(job_table(found), sys.stdout)
    return 0


def job_table(found: Sequence[JobSummary]) -> list[Line]:
    """Align jobs in columns; ids are whole, so that they can be copied."""
    head = tuple(Span(text, "dim") for text in ("JOB", "STATE", "FRAMES", "STARTED", "BY"))
    return columns([head, *(_job_row(job) for job in found)]) if found else []


def _job_row(job: JobSummary) -> tuple[Span, ...]:
    failed = f" ({job.frames_failed} failed)" if job.frames_failed else ""
    created = job.created[5:16].replace("T", " ")
    return (
        Span(job.id),
        Span(job.state, STATE_STYLES.get(job.state, "rendering")),
        Span(f"{job.frames_done}/{job.frames_total}{failed}"),
        Span(created, "dim"),
        Span(clean(job.owner or job.message), "dim"),
    )


@click.command()
@click.argument("job", default="last", shell_complete=complete_job)
@front_options("farm", "json")
def status(job: str, farm: str | None, json: bool) -> int:
    """Show how JOB stands: an id, the beginning of one, or 'last'."""
    opened = get_farm(farm)
    found = opened.status(opened.find(job))
    if json:
        print_json(status_data(found))
        return 0
    canvas = Canvas(shutil.get_terminal_size().columns, _MANY_LINES, glyphs_for(sys.stdout))
    echo_lines([*draw(found, canvas), *_origin(found)], sys.stdout)
    return 0


def _origin(found: JobStatus) -> list[Line]:
    """Say where the job came from and where its frames go."""
    created = found.created.replace("T", " ").removesuffix("Z")
    return [
        (),
        (Span(" from   ", "dim"), Span(clean(f"{found.owner} on {found.host}, {created} UTC"))),
        (Span(" lands  ", "dim"), Span(clean(found.landing))),
    ]


@click.command()
@click.argument("job", default="last", shell_complete=complete_job)
@front_options("farm", "json")
@click.option("--no-fetch", is_flag=True, help="Only look; land no frames.")
def follow(job: str, farm: str | None, json: bool, no_fetch: bool) -> int:
    """Follow JOB to its end; its frames land as they finish."""
    opened = get_farm(farm)
    return follow_job(opened, opened.find(job), as_json=json, land=not no_fetch)


@click.command()
@click.argument("job", default="last", shell_complete=complete_job)
@click.argument("chunk", required=False)
@front_options("farm")
@click.option("--follow", "-F", "keep", is_flag=True, help="Go on as the logs grow, until the job is over.")
def logs(job: str, chunk: str | None, farm: str | None, keep: bool) -> int:
    """Print the logs of JOB, or of one CHUNK (or attempt) of it."""
    opened = get_farm(farm)
    job_id = opened.find(job)
    if keep:
        return _follow_logs(opened, job_id, chunk)
    for line in opened.logs(job_id, chunk=chunk):
        click.echo(line)
    return 0


def _follow_logs(farm: Farm, job_id: str, chunk: str | None) -> int:
    shown = 0
    with interruptible() as token:
        while True:
            over = farm.status(job_id).is_final
            lines = list(farm.logs(job_id, chunk=chunk))
            for line in lines[shown:]:
                click.echo(line)
            shown = len(lines)
            if over:
                return 0
            if token.wait(1.0):
                return Cancelled.exit_code


@click.command()
@click.argument("job", default="last", shell_complete=complete_job)
@front_options("farm", "json")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder to bring the frames to.")
@click.option("--encode", is_flag=True, help="Make a movie of the frames, with the scene's sound.")
@click.option(
    "--movie",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where --encode puts it.  [default: beside the frames]",
)
def fetch(job: str, farm: str | None, json: bool, output: Path | None, encode: bool, movie: Path | None) -> int:
    """Bring the finished frames of JOB here."""
    opened = get_farm(farm)
    job_id = opened.find(job)

    def listen(event: Any) -> None:
        if json:
            print_json(event.to_json())
        elif event.kind == "note":
            click.echo(plain_event(event))

    folder, count = opened.fetch(job_id, target=output, on_event=listen)
    if not json:
        click.echo(f"{counted(count, 'frame')} in {folder}")
    if encode or movie is not None:
        began = time.monotonic()
        for made in opened.encode(job_id, folder, target=movie):
            _tell_movie(made, time.monotonic() - began, as_json=json)
    return 0


def _tell_movie(movie: Movie, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json({"event": "movie", "path": str(movie.path), "notes": list(movie.notes)})
        return
    click.echo(clean(f"Movie in {seconds:.0f} s: {movie.path}"))
    for note in movie.notes:
        click.echo(clean(f"Note: {note}"))

"""`cloud-farm jobs`, `status`, `follow`, `logs` and `fetch`."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_common import complete_job, follow_job, front_options, get_farm, interruptible, print_json, steps_view, tell
from .cli_picture import STATE_STYLES, Canvas, draw
from .cli_text import Line, Span, clean, columns, echo_lines, glyphs_for, wrapped
from .errors import Cancelled
from .events import Stage, counted
from .json_data import to_json

if TYPE_CHECKING:
    from .movie import Movie
    from .status import JobStatus, JobSummary

_MANY_LINES = 500
"""`status` is printed once: it may be longer than the terminal."""


@click.command()
@front_options("farm", "json")
@click.option("--tag", "tags", multiple=True, metavar="WORD", help="Only jobs with this tag; give it again for more.")
def jobs(farm: str | None, json: bool, tags: tuple[str, ...]) -> int:
    """List the jobs of a farm, the newest first."""
    found = [job for job in get_farm(farm).jobs() if set(tags) <= set(job.tags)]
    if json:
        for job in found:
            print_json(to_json(job))
        return 0
    if not found:
        click.echo("No jobs with these tags." if tags else "No jobs yet. Start one with: cloud-farm demo")
    echo_lines([*job_table(found), *_strays(found)], sys.stdout)
    return 0


def _strays(found: Sequence[JobSummary]) -> list[Line]:
    """Say what to do about jobs that only the engine knows of."""
    from .status import NOT_ON_VOLUME

    width = shutil.get_terminal_size().columns - 1
    texts = [f"{job.id}: {job.message}" for job in found if job.state == NOT_ON_VOLUME]
    return [line for text in texts for line in wrapped(text, width, first=(Span(" ! ", "warning"),))]


def job_table(found: Sequence[JobSummary]) -> list[Line]:
    """Align jobs in columns; ids are whole, so that they can be copied."""
    head = tuple(Span(text, "dim") for text in ("JOB", "STATE", "FRAMES", "STARTED", "BY"))
    return columns([head, *(_job_row(job) for job in found)]) if found else []


def _job_row(job: JobSummary) -> tuple[Span, ...]:
    failed = f" ({job.frames_failed} failed)" if job.frames_failed else ""
    created = job.created[5:16].replace("T", " ")
    state = "interrupted" if job.stalled and job.state == "uploading" else job.state
    return (
        Span(job.id),
        Span(state, STATE_STYLES.get(state, "rendering")),
        Span(f"{job.frames_done}/{job.frames_total}{failed}"),
        Span(created, "dim"),
        Span(clean(job.owner or job.message), "dim"),
    )


@click.command()
@click.argument("job", default="last", shell_complete=complete_job)
@front_options("farm", "json")
def status(job: str, farm: str | None, json: bool) -> int:
    """Show how JOB stands: an id, the beginning of one, or 'last'."""
    from .status import status_data

    opened = get_farm(farm)
    found = opened.status(opened.find(job))
    if json:
        print_json(status_data(found))
        return 0
    canvas = Canvas(shutil.get_terminal_size().columns, _MANY_LINES, glyphs_for(sys.stdout))
    echo_lines([*draw(found, canvas), *_origin(found)], sys.stdout)
    return 0


def _origin(found: JobStatus) -> list[Line]:
    """Say where the job came from, what was noted about it and where its frames go."""
    created = found.created.replace("T", " ").removesuffix("Z")
    rows = {
        "from": f"{found.owner} on {found.host}, {created} UTC",
        "note": found.comment,
        "tags": ", ".join(found.tags),
        "lands": found.landing,
    }
    return [(), *((Span(f" {name:<7}", "dim"), Span(clean(text))) for name, text in rows.items() if text)]


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
    if not keep:
        for line in opened.logs(job_id, chunk=chunk):
            click.echo(line)
        return 0
    try:
        with interruptible() as token:
            for line in opened.follow_logs(job_id, chunk=chunk, cancel=token):
                click.echo(line)
    except Cancelled as interrupted:
        return interrupted.exit_code
    return 0


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
    with steps_view(as_json=json) as listen:
        listen(Stage("fetching", f"Looking at {job_id}"))
        found = opened.fetch(job_id, target=output, on_event=listen)
    text = clean(f"{counted(found.frames, 'frame')} in {found.folder}")
    tell("fetched", text, as_json=json, job=job_id, frames=found.frames, folder=str(found.folder))
    if found.not_landed:
        return 1  # each was told already
    if encode or movie is not None:
        began = time.monotonic()
        for made in opened.encode(job_id, found.folder, target=movie):
            _tell_movie(made, time.monotonic() - began, as_json=json)
    return 0


def _tell_movie(movie: Movie, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json({"event": "movie", "path": str(movie.path), "notes": list(movie.notes)})
        return
    click.echo(clean(f"Movie in {seconds:.0f} s: {movie.path}"))
    for note in movie.notes:
        click.echo(clean(f"Note: {note}"))

"""`cloud-farm jobs`, `status`, `follow`, `logs` and `fetch`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_common import follow_job, front_options, get_farm, interruptible, plain_event, print_json
from .errors import Cancelled
from .json_data import to_json

if TYPE_CHECKING:
    from .farm import Farm
    from .status import JobStatus, JobSummary


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
    for job in found:
        click.echo(job_line(job))
    return 0


def job_line(job: JobSummary) -> str:
    """Write a job in one line of 80 columns."""
    failed = f" {job.frames_failed} failed" if job.frames_failed else ""
    frames = f"{job.frames_done}/{job.frames_total}{failed}"
    created = job.created[5:16].replace("T", " ")
    return f"{job.id:<38.38} {job.state:<10} {frames:>12}  {created}  {job.owner:<8.8}".rstrip()


@click.command()
@click.argument("job", default="last")
@front_options("farm", "json")
def status(job: str, farm: str | None, json: bool) -> int:
    """Show how JOB stands: an id, the beginning of one, or 'last'."""
    opened = get_farm(farm)
    found = opened.status(opened.find(job))
    if json:
        print_json(to_json(found))
        return 0
    click.echo(f"{found.id}  {found.state}")
    click.echo(f"  {figures_line(found)}")
    click.echo(f"  from {found.owner}@{found.host}, {found.created}, revision {found.revision}")
    click.echo(f"  frames land in {found.landing}")
    for message in found.messages[:10]:
        click.echo(f"  ! {message}")
    return 0


def figures_line(found: JobStatus) -> str:
    """Write the figures of a job."""
    parts = [f"{found.frames_done} of {found.frames_total} frames done"]
    parts += [f"{found.frames_failed} failed"] if found.frames_failed else []
    parts += [f"rendering {', '.join(str(frame.frame) for frame in found.running)}"] if found.running else []
    parts += [f"about {found.eta_seconds:.0f} s left"] if found.eta_seconds else []
    return ", ".join(parts)


@click.command()
@click.argument("job", default="last")
@front_options("farm", "json")
@click.option("--no-fetch", is_flag=True, help="Only look; land no frames.")
def follow(job: str, farm: str | None, json: bool, no_fetch: bool) -> int:
    """Follow JOB to its end; its frames land as they finish."""
    opened = get_farm(farm)
    return follow_job(opened, opened.find(job), as_json=json, land=not no_fetch)


@click.command()
@click.argument("job", default="last")
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
@click.argument("job", default="last")
@front_options("farm", "json")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder to bring the frames to.")
@click.option(
    "--encode",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value=Path(),
    metavar="[FILE]",
    help="Make a movie of the frames, with the scene's sound.",
)
def fetch(job: str, farm: str | None, json: bool, output: Path | None, encode: Path | None) -> int:
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
        click.echo(f"{count} frames are in {folder}")
    if encode is not None:
        began = time.monotonic()
        movie = opened.encode(job_id, folder, target=encode if encode.name else None)
        click.echo(f"Movie in {time.monotonic() - began:.0f} s: {movie}") if not json else print_json(
            {"event": "movie", "path": str(movie)}
        )
    return 0

"""`cloud-farm cancel`, `pause`, `resume`, `retry` and `delete`."""

from __future__ import annotations

import datetime
from typing import Any

import click

from .cli_common import complete_job, follow_job, front_options, get_farm, job_options_for, local_options, tell
from .control import OVERRIDES
from .errors import UsageError
from .frames import FrameRange
from .options import overrides_from_values, parse_duration


@click.command()
@click.argument("job", default="last", shell_complete=complete_job)
@front_options("farm", "json")
def cancel(job: str, farm: str | None, json: bool) -> int:
    """Stop JOB now. Finished frames stay; `retry` renders the rest."""
    opened = get_farm(farm)
    job_id = opened.find(job)
    opened.cancel(job_id)
    tell("cancelled", f"Cancelled {job_id}", as_json=json, job=job_id)
    return 0


@click.command()
@click.argument("job", default="last", shell_complete=complete_job)
@front_options("farm", "json")
def pause(job: str, farm: str | None, json: bool) -> int:
    """Pause JOB: frames that render now end, then nothing runs until `resume`."""
    opened = get_farm(farm)
    job_id = opened.find(job)
    opened.pause(job_id)
    tell("paused", f"Paused {job_id}. Go on: cloud-farm resume {job_id}", as_json=json, job=job_id)
    return 0


@click.command()
@click.argument("job", default="last", shell_complete=complete_job)
@front_options("farm", "json")
@local_options
@click.option("--wait/--detach", default=False, help="Follow the job, or leave it to the farm.  [default: --detach]")
def resume(job: str, farm: str | None, json: bool, blender: str | None, workers: int | None, wait: bool) -> int:
    """Go on with JOB after a pause, or after its computer was restarted."""
    opened = get_farm(farm, blender=blender, workers=workers)
    job_id = opened.find(job)
    opened.resume(job_id)
    if json or not wait:
        tell("resumed", f"{job_id} goes on. Follow it: cloud-farm follow {job_id}", as_json=json, job=job_id)
    return follow_job(opened, job_id, as_json=json) if wait else 0


@click.command()
@click.argument("job", default="last", shell_complete=complete_job)
@job_options_for("frames", *OVERRIDES)
@front_options("farm", "allow_scripts", "json")
@local_options
@click.option("--force", is_flag=True, help="Render the frames again although they are done.")
@click.option("--wait/--detach", default=True, help="Follow the job, or leave it to the farm.  [default: --wait]")
def retry(job: str, farm: str | None, allow_scripts: bool, json: bool, force: bool, wait: bool, **values: Any) -> int:
    """Render what is missing of JOB, or chosen frames again.

    \b
    cloud-farm retry                                        what is missing
    cloud-farm retry --frames 37-40 --samples 512 --force   these again, better
    """
    opened = get_farm(farm, blender=values.pop("blender"), workers=values.pop("workers"))
    job_id = opened.find(job)
    frames = FrameRange.parse(values["frames"]) if values["frames"] else None
    overrides = overrides_from_values({**values, "frames": None})
    if frames is not None and not (force or overrides):
        raise UsageError("A plain retry renders all that is missing. To render chosen frames again, add --force.")
    revision = opened.retry(job_id, frames=frames, overrides=overrides, force=force, allow_scripts=allow_scripts)
    if json or not wait:
        text = f"{job_id} renders again. Follow it: cloud-farm follow {job_id}"
        tell("retried", text, as_json=json, job=job_id, revision=revision)
    return follow_job(opened, job_id, as_json=json) if wait else 0


@click.command()
@click.argument("job", required=False, shell_complete=complete_job)
@front_options("farm", "json")
@click.option("--older-than", metavar="TIME", help="Every finished job older than this: 30d, 12h.")
@click.option("--yes", is_flag=True, help="Do it; without this it is only shown.")
def delete(job: str | None, farm: str | None, json: bool, older_than: str | None, yes: bool) -> int:
    """Move JOB, or old jobs, to the farm's trash. Frames that landed stay.

    Shows what it would do; --yes does it.
    """
    opened = get_farm(farm)
    if (job is None) == (older_than is None):
        raise UsageError("Name a job, or say --older-than 30d.")
    if older_than is not None:
        age = datetime.timedelta(seconds=parse_duration(older_than))
        ids = [found.id for found in opened.older_than(age)]
    else:
        ids = [opened.find(job or "")]
    for job_id in ids:
        if yes:
            opened.delete(job_id)
        text = f"{'Moved to the trash' if yes else 'Would move to the trash'}: {job_id}"
        tell("deleted", text, as_json=json, job=job_id, dry_run=not yes)
    if not json and not ids:
        click.echo("No such jobs.")
    elif not json and not yes:
        click.echo("Nothing was done yet. Do it with --yes.")
    return 0

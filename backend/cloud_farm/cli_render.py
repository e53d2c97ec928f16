"""`cloud-farm render`, `demo`, `plan` and `pack`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_common import (
    follow_job,
    front_options,
    get_farm,
    job_options,
    local_options,
    print_json,
    print_yaml,
    steps_listener,
    steps_view,
)
from .cli_text import clean
from .errors import Cancelled, LandingError, UsageError
from .events import Event, Stage, Submitted, counted, ignore
from .options import job_from_values

if TYPE_CHECKING:
    from .farm import Farm
    from .job import RenderJob
    from .outcomes import Submission
    from .submission import Prepared

_DEMO_SECONDS = 300.0
_SHOWN_CHUNKS = 20


@click.command()
@click.argument("scene_file", metavar="[SCENE]", required=False)
@click.option("--on-volume", metavar="PATH", help="A .blend that is on the farm's volume already; takes SCENE's place.")
@job_options
@front_options("farm", "allow_scripts", "job_id", "dry_run", "json")
@local_options
@click.option(
    "--wait/--detach", default=True, help="Follow the job to its end, or leave it to the farm.  [default: --wait]"
)
def render(scene_file: str | None, on_volume: str | None, wait: bool, **values: Any) -> int:
    """Render SCENE; frames land as they finish.

    \b
    cloud-farm render shot.blend
    cloud-farm render shot.blend -f 1-250x5 --samples 64 -o //preview/shot_####
    cloud-farm render shot.blend --device optix --detach
    """
    job = _job(scene_file, on_volume, values)
    farm = get_farm(values["farm"], blender=values["blender"], workers=values["workers"])
    return submit_and_follow(farm, job, values, wait=wait)


@click.command()
@click.argument("folder", default="cloud-farm-demo", type=click.Path(path_type=Path))
@job_options
@front_options("farm", "dry_run", "json")
@local_options
@click.option(
    "--wait/--detach", default=True, help="Follow the job to its end, or leave it to the farm.  [default: --wait]"
)
def demo(folder: Path, wait: bool, **values: Any) -> int:
    """Build the example scene in FOLDER and render it.

    FOLDER is ./cloud-farm-demo unless you name another.
    """
    from .blender import find_blender, probe, run_script

    farm = get_farm(values["farm"], blender=values["blender"], workers=values["workers"])
    scene = folder.absolute() / "demo.blend"
    job = job_from_values(str(scene), values)
    launcher = find_blender(farm.profile.blender or None)
    with steps_view(as_json=values["json"]) as listen:
        listen(Stage("probing", "Looking at this computer's Blender"))
        info = probe(launcher)
        listen(Stage("building", f"Blender {info.version} builds the example scene in {folder}"))
        try:
            scene.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LandingError(f"The example scene can't be put in {folder}: {error.strerror or error}.") from error
        run_script(launcher, "demo_scene.py", ["--output", str(scene)], timeout=_DEMO_SECONDS)
    return submit_and_follow(farm, job, {**values, "allow_scripts": False}, wait=wait)


@click.command()
@click.argument("scene_file", metavar="[SCENE]", required=False)
@click.option("--on-volume", metavar="PATH", help="A .blend that is on the farm's volume already; takes SCENE's place.")
@job_options
@click.option("--yaml", is_flag=True, help="Print the Workflows, as argo submit and kubectl create take them.")
@front_options("farm", "allow_scripts", "json")
@local_options
def plan(scene_file: str | None, on_volume: str | None, yaml: bool, **values: Any) -> int:
    """Show what rendering SCENE would do: files, chunks, commands. Nothing is sent."""
    farm = get_farm(values["farm"], blender=values["blender"], workers=values["workers"])
    with farm.prepare(
        _job(scene_file, on_volume, values),
        allow_scripts=values["allow_scripts"],
        on_event=ignore if yaml else steps_listener(as_json=values["json"]),
    ) as ready:
        if yaml:
            manifests = farm.engine.manifests(ready.plan)
            if not manifests:
                raise UsageError(
                    f"Farm '{farm.profile.name}' renders on this computer: no cluster gets a manifest. Choose another with --farm."
                )
            print_yaml(
                manifests,
                "Prepares and renders the job once its files are on the volume, which cloud-farm render sends.",
            )
            return 0
        show_plan(ready, as_json=values["json"], commands=True)
    return 0


@click.command()
@click.argument("scene_file", metavar="SCENE")
@job_options
@front_options("farm", "json")
@local_options
def pack(scene_file: str, **values: Any) -> int:
    """List every file that SCENE needs, with size and hash. Nothing is sent."""
    farm = get_farm(values["farm"], blender=values["blender"], workers=values["workers"])
    with farm.prepare(_job(scene_file, None, values), on_event=steps_listener(as_json=values["json"])) as ready:
        if values["json"]:
            print_json(ready.pack.to_json())
            return 0
        for entry in ready.pack.files:
            click.echo(f"{entry.sha256[:12]}  {entry.size:>12,}  {entry.path}")
        click.echo(f"{counted(len(ready.pack.files), 'file')}, {ready.pack.size:,} bytes")
    return 0


def submit_and_follow(farm: Farm, job: RenderJob, values: dict[str, Any], *, wait: bool) -> int:
    """Submit a job and follow it if wanted; returns the exit code."""
    as_json = bool(values["json"])
    if values["dry_run"]:
        with farm.prepare(
            job, allow_scripts=values["allow_scripts"], on_event=steps_listener(as_json=values["json"])
        ) as ready:
            show_plan(ready, as_json=as_json, commands=False)
        return 0
    stages: list[str] = []
    try:
        made = _submit(farm, job, values, stages)
    except KeyboardInterrupt:
        if "submitting" in stages:
            raise
        click.echo("Interrupted: nothing renders. What was sent is not sent again by the next try.", err=True)
        return Cancelled.exit_code
    if wait:
        return follow_job(farm, made.job_id, as_json=as_json)
    if not as_json:
        click.echo(f"Submitted {made.job_id}. Follow it: cloud-farm follow {made.job_id}")
    return 0


def _submit(farm: Farm, job: RenderJob, values: dict[str, Any], stages: list[str]) -> Submission:
    """Submit a job and show its steps; each stage that begins is added to `stages`."""
    with steps_view(as_json=values["json"]) as show:

        def listen(event: Event) -> None:
            if isinstance(event, Stage):
                stages.append(event.stage)
            show(event)

        made = farm.submit(
            job, allow_scripts=values["allow_scripts"], job_id=values.get("job_id") or "", on_event=listen
        )
        listen(Submitted(made.job_id, made.revision, made.plan.frame_count, len(made.plan.chunks), str(made.landing)))
        return made


def show_plan(ready: Prepared, *, as_json: bool, commands: bool) -> None:
    """Print a plan for people or programs."""
    planned = ready.plan
    if as_json:
        tasks = [{"id": task.id, "command": list(task.command), "env": dict(task.env)} for task in planned.tasks]
        print_json(
            {
                "event": "plan",
                "landing": str(ready.landing),
                "pack": ready.pack.manifest(),
                "plan": planned.document,
                "tasks": tasks,
            }
        )
        return
    settings = planned.document["settings"]
    click.echo(f"Job      {planned.job_id}")
    files = counted(len(ready.pack.files), "file")
    click.echo(clean(f"Scene    {ready.pack.scene}  ({files}, {ready.pack.size / 2**20:,.1f} MiB)"))
    click.echo(f"Blender  {ready.blender.version}, device {settings['device']}, {planned.workers} at a time")
    chunks = counted(len(planned.chunks), "chunk")
    click.echo(clean(f"Frames   {planned.frame_count:,} in {chunks}, named {settings['template']}"))
    click.echo(clean(f"Landing  {ready.landing}"))
    for chunk in planned.chunks[:_SHOWN_CHUNKS]:
        click.echo(clean(f"  {chunk.id}  {chunk.frames}" + (f"  {chunk.camera}" if chunk.camera else "")))
    if len(planned.chunks) > _SHOWN_CHUNKS:
        click.echo(f"  and {len(planned.chunks) - _SHOWN_CHUNKS} more; all of them with --json")
    if commands:
        click.echo("First chunk's command:")
        click.echo(f"  {shlex.join(planned.tasks[1].command)}")


def _job(scene_file: str | None, on_volume: str | None, values: dict[str, Any]) -> RenderJob:
    if (scene_file is None) == (on_volume is None):
        raise UsageError(
            "Name one scene file: cloud-farm render SCENE.blend, or --on-volume PATH for one on the farm's volume."
        )
    return job_from_values(scene_file or on_volume or "", values, on_volume=on_volume is not None)

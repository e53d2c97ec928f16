"""`cloud-farm profile`, `selftest` and `completion`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_common import front_options, get_farm, local_options, print_json
from .errors import CloudFarmError
from .job import DEVICES, RenderJob

if TYPE_CHECKING:
    from .farm import Farm
    from .status import JobStatus

_SCENE_SECONDS = 300.0


@click.command()
@click.argument("farm", required=False)
@click.option("--json", is_flag=True, help="For programs.")
def profile(farm: str | None, json: bool) -> int:
    """List the farms, or show FARM's values and where each comes from."""
    from .profile import load_profile, profile_names

    if farm is None:
        for name in profile_names():
            click.echo(name)
        return 0
    loaded = load_profile(farm)
    if json:
        print_json({key: {"value": value, "origin": origin} for key, value, origin in loaded.values()})
        return 0
    for key, value, origin in loaded.values():
        click.echo(f"{key:<24} {value if value not in ('', None) else '-'!s:<32} {origin}")
    return 0


@click.command()
@click.option("--device", type=click.Choice(DEVICES), default="auto", help="What to prove.  [default: auto]")
@front_options("farm", "json")
@local_options
def selftest(device: str, farm: str | None, json: bool, blender: str | None, workers: int | None) -> int:
    """Render two tiny frames through the whole farm and prove the device that was used.

    Exit code 0 is green, 1 red.
    """
    with tempfile.TemporaryDirectory(prefix="cloud-farm-selftest-") as folder:
        try:
            opened = get_farm(farm, blender=blender, workers=workers)
            status, used = _render_tiny(opened, device, Path(folder))
        except CloudFarmError as error:
            click.echo(f"red: {error}", err=True)
            return 1
    good = status.state == "done" and bool(used)
    if json:
        print_json({"event": "selftest", "green": good, "devices": sorted(used), "messages": list(status.messages)})
    elif good:
        click.echo(f"green: two frames rendered, checked and fetched; Cycles used {', '.join(sorted(used))}")
    else:
        click.echo(f"red: {'; '.join(status.messages) or status.state}", err=True)
    return 0 if good else 1


def _render_tiny(farm: Farm, device: str, folder: Path) -> tuple[JobStatus, set[str]]:
    from .blender import find_blender, run_script

    scene = folder / "selftest.blend"
    run_script(
        find_blender(farm.profile.blender or None), "demo_scene.py", ["--output", str(scene)], timeout=_SCENE_SECONDS
    )
    job = RenderJob(
        str(scene),
        name="selftest",
        frames="1-2",
        percentage=20,
        samples=2,
        device=device,
        landing=str(folder / "frames" / "f_####"),
    )
    made = farm.submit(job)
    used: set[str] = set()

    def listen(event: object) -> None:
        kind = getattr(event, "device", None)
        if kind:
            used.add(str(kind))

    status = farm.follow(made.job_id, on_event=listen)
    if status.state == "done":
        farm.delete(made.job_id)  # a red one stays, for its logs
    return status, used


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    \b
    bash:  eval "$(cloud-farm completion bash)"
    zsh:   eval "$(cloud-farm completion zsh)"
    fish:  cloud-farm completion fish | source
    """
    from click.shell_completion import get_completion_class

    from .cli import app

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these three shells"
    click.echo(kind(app, {}, "cloud-farm", "_CLOUD_FARM_COMPLETE").source())
    return 0

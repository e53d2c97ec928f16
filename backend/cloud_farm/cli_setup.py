"""`cloud-farm profile`, `selftest`, `submit-script` and `completion`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_common import front_options, get_farm, local_options, print_json
from .cli_text import clean
from .errors import CloudFarmError, UsageError
from .events import Event, FrameDone
from .job import DEVICES, RenderJob

if TYPE_CHECKING:
    from .farm import Farm

_SCENE_SECONDS = 300.0


@click.command()
@click.argument("farm", required=False)
@click.option("--json", is_flag=True, help="For programs.")
def profile(farm: str | None, json: bool) -> int:
    """List the farms, or show FARM's values and where each comes from."""
    from .profile import load_profile, profile_names

    if farm is None:
        for name in profile_names():
            if json:
                print_json({"farm": name})
            else:
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
    used: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="cloud-farm-selftest-") as folder:
        try:
            opened = get_farm(farm, blender=blender, workers=workers)
            messages = _render_tiny(opened, device, Path(folder), used)
        except CloudFarmError as error:
            messages = [str(error)]
    if not messages and device not in ("auto", *(kind.lower() for kind in used)):
        messages = [f"Cycles used {', '.join(sorted(used)) or 'nothing that it tells'}, not {device.upper()}."]
    if json:
        print_json({"event": "selftest", "green": not messages, "devices": sorted(used), "messages": messages})
    elif messages:
        click.echo(clean(f"red: {'; '.join(messages)}"), err=True)
    else:
        click.echo(f"green: two frames rendered, checked and fetched; Cycles used {', '.join(sorted(used))}")
    return 1 if messages else 0


def _render_tiny(farm: Farm, device: str, folder: Path, used: set[str]) -> list[str]:
    """Render two frames and note the devices that were `used`; returns what went wrong."""
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

    def listen(event: Event) -> None:
        if isinstance(event, FrameDone) and event.device:
            used.update(event.device.split("+"))

    status = farm.follow(made.job_id, on_event=listen)
    if status.state != "done":
        return list(status.messages) or [f"The job is {status.state}."]  # it stays, for its logs
    farm.delete(made.job_id)
    return []


@click.command()
def submit_script() -> int:
    """Print the path of the script that sends a scene from a Blender without a window.

    \b
    blender -b shot.blend --online-mode \\
        --python "$(cloud-farm submit-script)" -- -f 1-24 --wait
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "addon", package.parents[1] / "blender_addon"):
        if (folder / "submit.py").is_file():
            click.echo(folder / "submit.py")
            return 0
    raise UsageError("submit.py is not where it was installed with cloud-farm. Install cloud-farm anew.")


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

"""`cloud-farm profile`, `template`, `selftest`, `submit-script` and `completion`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .choices import DEVICES
from .cli_common import front_options, get_farm, local_options, print_json, print_yaml, tell
from .cli_text import clean
from .errors import CloudFarmError, UsageError
from .events import Event, FrameDone
from .job import RenderJob

if TYPE_CHECKING:
    from .farm import Farm

_SCENE_SECONDS = 300.0
SECRET_KEYS = ("filebrowser.password", "kubernetes.token")


@click.command()
@click.argument("farm", required=False)
@click.option("--import", "source", metavar="FILE", type=click.Path(path_type=Path), help="Take a profile in, as FARM.")
@click.option("--export", "target", metavar="FILE", type=click.Path(path_type=Path), help="Write FARM for others.")
@click.option("--secret", type=click.Choice(SECRET_KEYS), help="Give a password or token; it is asked for.")
@click.option("--json", is_flag=True, help="For programs.")
def profile(farm: str | None, source: Path | None, target: Path | None, secret: str | None, json: bool) -> int:
    """List the farms, or show FARM's values and where each comes from.

    \b
    An admin hands artists one file; each of them gives the passwords:
      cloud-farm profile studio --export studio.yaml
      cloud-farm profile --import studio.yaml
      cloud-farm profile studio --secret filebrowser.password
    """
    from .profile import load_profile, profile_names
    from .profile_exchange import export_profile, import_profile

    if sum(value is not None for value in (source, target, secret)) > 1 or ((target or secret) and farm is None):
        raise UsageError("Say one of: profile --import FILE, profile FARM --export FILE, profile FARM --secret KEY.")
    if source is not None:
        return _tell_profile(import_profile(source, farm=farm or ""), "imported", as_json=json)
    if farm is None:
        for name in profile_names():
            if json:
                print_json({"farm": name})
            else:
                click.echo(name)
        return 0
    if target is not None:
        return _tell_profile(str(export_profile(farm, target).absolute()), "exported", as_json=json)
    if secret is not None:
        return _take_secret(farm, secret, as_json=json)
    loaded = load_profile(farm)
    if json:
        print_json({key: {"value": value, "origin": origin} for key, value, origin in loaded.values()})
        return 0
    for key, value, origin in loaded.values():
        shown = "-" if value in ("", None) else "certificates" if key.endswith(".ca") else str(value)
        click.echo(clean(f"{key:<24} {shown:<32} {origin}"))
    return 0


def _tell_profile(farm: str, what: str, *, as_json: bool) -> int:
    """Say that a profile is here or written, and what who uses it gives besides."""
    from .profile import load_profile
    from .profile_exchange import still_to_give

    wanted = still_to_give(load_profile(farm))
    if as_json:
        print_json({"event": what, "farm": farm, "to_give": wanted})
        return 0
    click.echo(clean(f"Farm {what}: {farm}"))
    for key, text in wanted.items():
        ways = f"cloud-farm profile {'FARM' if what == 'exported' else farm} --secret {key}"
        click.echo(clean(f"  still to give: {text}{f'  ({ways})' if key in SECRET_KEYS else ''}"))
    return 0


def _take_secret(farm: str, key: str, *, as_json: bool) -> int:
    """Ask for a secret and keep it where only the user can read it; a program writes it to standard input."""
    from .profile import load_profile
    from .profile_files import keep_secret, save_profile

    load_profile(farm)
    typed = click.prompt(key, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not typed:
        raise UsageError(f"There is no {key} in standard input.")
    reference = keep_secret(farm, key, typed)
    save_profile(farm, {key: reference})
    file = reference.get("file")
    where = f"{file}, which only you can read" if file else "this system's keyring"
    tell("secret", f"Kept in {where}.", as_json=as_json, farm=farm, **reference)
    return 0


@click.command()
@front_options("farm")
def template(farm: str | None) -> int:
    """Print what the administrator of a cluster installs for a farm whose artists may not submit pods of their own.

    \b
    cloud-farm template --farm studio | kubectl apply -f -
    """
    from .engines import open_engine
    from .profile import load_profile

    profile = load_profile(farm or "local")
    manifests = open_engine(profile).installed()
    if not manifests:
        raise UsageError(
            f"Farm '{profile.name}' needs nothing to be installed: its profile has no kubernetes.workflow_template."
        )
    print_yaml(manifests, f"One WorkflowTemplate for each Blender of farm '{profile.name}'.")
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

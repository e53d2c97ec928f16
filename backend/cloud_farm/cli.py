"""`cloud-farm`: the command line. Subcommands are imported when they are called, so that --help costs next to nothing."""

from __future__ import annotations

import importlib
import io
import os
import shutil
import sys
from typing import Any

import click

from .errors import CloudFarmError
from .version import VERSION

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("cli_render", "Render the example scene on this computer."),
    "render": ("cli_render", "Render a scene; frames land as they finish."),
    "plan": ("cli_render", "Show what a render would do; send nothing."),
    "pack": ("cli_render", "List every file that a scene needs."),
    "jobs": ("cli_jobs", "List the jobs of a farm."),
    "status": ("cli_jobs", "Show how a job stands."),
    "follow": ("cli_jobs", "Follow a job; frames land as they finish."),
    "logs": ("cli_jobs", "Print the logs of a job."),
    "fetch": ("cli_jobs", "Bring a job's finished frames here."),
    "cancel": ("cli_control", "Stop a job; finished frames stay."),
    "pause": ("cli_control", "Stop a job after the frames that render now."),
    "resume": ("cli_control", "Go on with a paused job."),
    "retry": ("cli_control", "Render what is missing, or frames again."),
    "delete": ("cli_control", "Move jobs to the farm's trash."),
    "store": ("cli_store", "Look after a farm's volume: test, copy, clean up."),
    "profile": ("cli_setup", "Show farms and where each value comes from."),
    "template": ("cli_setup", "Print what a cluster's admin installs for a farm."),
    "selftest": ("cli_setup", "Prove that this computer renders, and on what."),
    "submit-script": ("cli_setup", "Print the path of submit.py, for Blenders without a window."),
    "completion": ("cli_setup", "Print the shell completion script."),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and return the command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 90})
@click.version_option(VERSION, "--version", prog_name="cloud-farm", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, envvar="CLOUD_FARM_DEBUG", help="Show where an error came from.")
@click.pass_context
def app(ctx: click.Context, debug: bool) -> None:
    """Render Blender scenes in parallel: on this computer, or on a farm.

    \b
    First steps:
      cloud-farm demo                        the example scene, on this computer
      cloud-farm render shot.blend -f 1-24   your own
      cloud-farm jobs                        what is there
    """
    ctx.obj = {"debug": debug}


def main() -> None:
    """Run the command line and exit with a code of contract §4."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal can't write is no reason to stop
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run one command; returns its exit code. Errors of ours become one message on stderr."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    debug = "--debug" in words or bool(os.environ.get("CLOUD_FARM_DEBUG"))
    argv = [*(word for word in words if word != "--debug"), *argv[len(words) :]]  # taken wherever it is written
    try:
        result: Any = app(argv, prog_name="cloud-farm", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CloudFarmError as error:
        if debug:
            raise
        show_error(str(error), log_tail=str(getattr(error, "log_tail", "")))
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output closed it (`| head`): nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        show_error(f"{where}{error.strerror or error}. Where it came from shows --debug.")
        return 1


def show_error(message: str, *, log_tail: str = "") -> None:
    """Write an error to stderr, and below it the last words of the Blender that failed."""
    from .cli_text import Span, clean, echo_lines, wrapped

    if sys.stderr.isatty():
        width = min(shutil.get_terminal_size().columns, 120) - 1
        echo_lines(wrapped(message, width, first=(Span("Error: ", "bad"),)), sys.stderr)
    else:
        for number, line in enumerate(message.splitlines() or [""]):
            click.echo(f"{'Error: ' if number == 0 else '       '}{clean(line)}", err=True)
    for line in log_tail.splitlines()[-8:]:
        click.echo(f"  | {clean(line)}", err=True)

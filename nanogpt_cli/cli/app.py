"""The `nanogpt` command: registers the commands, and turns whatever goes wrong into two readable lines.

Command modules import the engine inside their functions, so `nanogpt --help` loads no torch.
"""

import codecs
import io
import os
import sys
from typing import Annotated, Any

import typer

from nanogpt_cli import __version__
from nanogpt_cli.cli import console
from nanogpt_cli.cli.commands.eval import eval_command
from nanogpt_cli.cli.commands.explain_log import explain_log_command
from nanogpt_cli.cli.commands.init import init_command
from nanogpt_cli.cli.commands.prepare import prepare_command
from nanogpt_cli.cli.commands.sample import sample_command
from nanogpt_cli.cli.commands.train import train_command
from nanogpt_cli.cli.options import Command
from nanogpt_cli.errors import EXIT_FAILED, EXIT_OK, EXIT_SIGINT, EXIT_USAGE, NanoGPTError, os_reason

# Typer carries its own copy of click in newer releases; this is ClickException in either.
_ClickException: type[Any] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="nanogpt",
    help="Train, evaluate, sample and explain GPT models.",
    epilog="In a folder with a text file: nanogpt prepare input.txt --tokenizer char, "
    "then nanogpt train --preset cpu-tiny, then nanogpt sample --prompt TEXT",
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"nanogpt {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, evaluate, sample and explain GPT models."""


app.command("init", cls=Command)(init_command)
app.command("prepare", cls=Command)(prepare_command)
app.command("train", cls=Command)(train_command)
app.command("eval", cls=Command)(eval_command)
app.command("sample", cls=Command)(sample_command)
app.command("explain-log", cls=Command)(explain_log_command)


def run(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code; every error ends in a message and a hint."""
    args = sys.argv[1:] if args is None else args
    try:
        result: Any = app(args=args or ["--help"], prog_name="nanogpt", standalone_mode=False)
        sys.stdout.flush()
    except NanoGPTError as error:
        console.print_error(error.message, error.hint, error.details)
        return error.exit_code
    except typer.Exit as error:
        return int(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        console.note("stopped")
        return EXIT_SIGINT
    except _ClickException as error:
        console.print_error(_first_lower(error.format_message()), _usage_hint(error, args))
        return EXIT_USAGE
    except BrokenPipeError:
        # The reader (`| head`) has left; Python's own flush at exit must not meet the broken pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except SystemExit as error:
        # 1 is rich's answer to a reader that has left; others are ours, of a second SIGTERM.
        return EXIT_OK if error.code == 1 else int(error.code or 0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        console.print_error(
            f"{where}{os_reason(error)}",
            "check the path, its permissions and the free space (df -h .), then run the same command again",
        )
        return EXIT_FAILED
    if not args:
        return EXIT_USAGE
    return result if isinstance(result, int) else EXIT_OK


def main() -> None:
    """Entry point of the `nanogpt` script."""
    _repair_streams()
    sys.exit(run())


def _repair_streams() -> None:
    """Streams that take any text: Windows pipes are cp1252, and `>&-` leaves no stream at all."""
    codecs.register_error("plain", console.plain_letters)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif (
            mode == "w"
            and isinstance(stream, io.TextIOWrapper)
            and codecs.lookup(stream.encoding).name != "utf-8"
        ):
            stream.reconfigure(errors="plain")


def _usage_hint(error: Any, args: list[str]) -> str:
    """Where to read on. An error of the parser itself knows no command: then the first word typed is it."""
    if context := getattr(error, "ctx", None):
        return f"{context.command_path} --help"
    known = {command.name for command in app.registered_commands}
    return f"nanogpt {args[0]} --help" if args and args[0] in known else "nanogpt --help"


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]

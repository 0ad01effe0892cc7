"""`nanogpt init`: a project folder to start from."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from nanogpt_cli.cli import console
from nanogpt_cli.cli.options import JsonOption, QuietOption
from nanogpt_cli.config.projects import (
    DEFAULT_TEMPLATE,
    first_command,
    template_names,
    template_summary,
    write_project,
)

_SCHEMA_VERSION = 1


def init_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to write it.", show_default="here")
    ] = Path(),
    template: Annotated[
        str, typer.Option("--template", "-t", metavar="NAME", help="Which project; --list shows them.")
    ] = DEFAULT_TEMPLATE,
    list_templates: Annotated[bool, typer.Option("--list", help="List the templates and stop.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are in the way.")] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a project to start from: settings, README, .gitignore."""
    if list_templates:
        _list(json=json)
        return
    files = write_project(template, folder, force=force)
    if json:
        console.print_json(
            {"schema_version": _SCHEMA_VERSION, "dir": str(folder), "template": template, "files": files}
        )
    console.note(f"wrote {', '.join(files)} into {folder.resolve()}", quiet=quiet)
    console.next_step(_first_step(template, folder, quiet=quiet), quiet=quiet)


def _list(*, json: bool) -> None:
    templates = [{"name": name, "summary": template_summary(name)} for name in template_names()]
    if json:
        console.print_json({"schema_version": _SCHEMA_VERSION, "templates": templates})
        return
    for entry in templates:
        sys.stdout.write(f"{entry['name']:<10}{entry['summary']}\n")


def _first_step(template: str, folder: Path, *, quiet: bool) -> str:
    """The README's first command, on the built-in corpus while there is no input.txt yet."""
    command = first_command(template)
    if not (folder / "input.txt").exists():
        console.note("put your text there as input.txt, or begin with Python's documentation:", quiet=quiet)
        command = command.replace("input.txt", "python-docs")
    return command if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && {command}"

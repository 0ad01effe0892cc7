"""Options that every command shares, and the command class that accepts nanoGPT's spelling of flags.

`--block_size=64` means `--block-size=64`; `--compile=False` means `--no-compile`. Both are rewritten before
parsing, so one declaration serves every spelling.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from nanogpt_cli.config.schema import SETTINGS, Setting

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
DtypeOption = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"], typer.Option("--dtype", help="Number format.")
]

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}


class Command(TyperCommand):
    """A Typer command that also understands nanoGPT's `--key=value` spelling."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Normalise underscores and boolean values, then parse as usual."""
        negatable = {
            name: param.secondary_opts[0]
            for param in self.params
            if getattr(param, "is_flag", False) and param.secondary_opts
            for name in param.opts
        }
        plain = {name for p in self.params if getattr(p, "is_flag", False) for name in p.opts} - set(
            negatable
        )
        return super().parse_args(ctx, normalise(args, negatable, plain))


def normalise(args: list[str], negatable: dict[str, str], plain: set[str]) -> list[str]:
    """Rewrite nanoGPT's spellings; everything after `--` is left as it is.

    `negatable` maps a boolean flag to its opposite; `plain` are boolean flags without one.
    """
    rewritten: list[str] = []
    for position, arg in enumerate(args):
        if arg == "--":
            return rewritten + args[position:]
        if not arg.startswith("--"):
            rewritten.append(arg)
            continue
        name, equals, value = arg.partition("=")
        name = name.replace("_", "-")
        if equals and name in negatable and value.lower() in _TRUE | _FALSE:
            rewritten.append(name if value.lower() in _TRUE else negatable[name])
        elif equals and name in negatable and value.lower() == "auto":
            continue  # the default of every three-valued flag
        elif equals and name in plain and value.lower() in _TRUE | _FALSE:
            rewritten += [name] if value.lower() in _TRUE else []
        else:
            rewritten.append(name + equals + value)
    return rewritten


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command whose last parameter is `**settings` one flag for every setting of the schema.

    A flag that is not given is None, so that the lower layers keep their say.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    flags = [_parameter(setting) for setting in SETTINGS.values()]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *flags)]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _parameter(setting: Setting) -> inspect.Parameter:
    declaration = setting.flag
    if setting.kind is bool:
        declaration += "/--no-" + setting.flag.removeprefix("--")
    option = typer.Option(
        declaration,
        help=setting.help.replace("[", "\\["),  # rich would read gpt2[-medium] as markup
        metavar=setting.metavar or None,
        rich_help_panel=setting.group,
        show_default=str(setting.default) or False,
    )
    kind: Any = bool if setting.kind is bool else str  # the schema parses, so that all problems come at once
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )

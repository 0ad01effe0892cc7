"""Options that every command shares, and the command class that accepts nanoGPT's spelling of flags.

`--block_size=64` means `--block-size=64`; `--compile` means `--compile=True` and `--no-compile` its opposite.
All are rewritten before parsing, so one declaration serves every spelling.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from nanogpt_cli.cli import console
from nanogpt_cli.config.advice import nearest
from nanogpt_cli.config.schema import SETTINGS, Setting
from nanogpt_cli.errors import EXIT_SIGINT

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
DtypeOption = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"], typer.Option("--dtype", help="Number format.")
]

ARGUMENTS = "nanogpt.arguments"  # in a context's meta: what followed the command's name
UNKNOWN = "nanogpt.unknown"  # there, too: what is wrong with options that are none, one line each
_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}
_SETTING_FLAGS = {setting.flag for setting in SETTINGS.values()}
# Boolean settings are options with a value: True, False, and for some auto. The bare flag is short for True.
_BOOLEAN_SETTINGS = {
    flag
    for setting in SETTINGS.values()
    if setting.kind is bool
    for flag in (setting.flag, setting.short)
    if flag
}


class Command(TyperCommand):
    """A Typer command that also understands nanoGPT's `--key=value` spelling."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Normalise underscores and boolean values, then parse as usual."""
        ctx.meta[ARGUMENTS] = list(args)
        negatable: dict[str, str] = {}
        plain: set[str] = set()
        valued: set[str] = set()
        for param in self.params:
            if not getattr(param, "is_flag", False):
                valued.update(param.opts)
            elif param.secondary_opts:
                negatable.update(dict.fromkeys(param.opts, param.secondary_opts[0]))
            else:
                plain.update(param.opts)
        args = normalise(args, negatable=negatable, plain=plain, valued=valued)
        if valued >= _SETTING_FLAGS:  # it will say all that is wrong with the settings at once
            known = {*valued, *negatable, *plain, *negatable.values(), *ctx.help_option_names}
            args, ctx.meta[UNKNOWN] = without_unknown(args, known)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C, which Typer would turn into an exit code and no word, is told."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            console.note("stopped")
            raise typer.Exit(EXIT_SIGINT) from None


def without_unknown(args: list[str], known: set[str]) -> tuple[list[str], list[str]]:
    """The arguments without the options that do not exist and their values, and a line on each of those."""
    names = sorted(option.removeprefix("--").replace("-", "_") for option in known)
    kept: list[str] = []
    told: list[str] = []
    takes_value = False
    for position, arg in enumerate(args):
        if arg == "--":
            return kept + args[position:], told
        name, equals, _ = arg.partition("=")
        meant = name.lstrip("-").replace("-", "_")
        one_dash = arg.startswith("-") and not arg.startswith("--") and meant in SETTINGS
        if one_dash or (arg.startswith("--") and name not in known):
            near = nearest(meant, names)
            advice = f" (did you mean --{near.replace('_', '-')}?)" if near else ""
            told.append(f"flag {name}: there is no such setting{advice}")
            takes_value = not equals
            continue
        if not takes_value or arg.startswith("-") or arg.endswith((".py", ".toml")):
            kept.append(arg)
        takes_value = False
    return kept, told


def normalise(args: list[str], *, negatable: dict[str, str], plain: set[str], valued: set[str]) -> list[str]:
    """Rewrite nanoGPT's spellings; values, and everything after `--`, are left as they are.

    `negatable` maps a boolean flag to its opposite; `plain` are boolean flags without one; `valued` are the
    options that take a value, which may be the next argument.
    """
    booleans = _BOOLEAN_SETTINGS & valued
    rewritten: list[str] = []
    is_value = False
    for position, arg in enumerate(args):
        if is_value or not arg.startswith("--"):
            rewritten.append(arg)
            is_value = not is_value and arg in valued
            continue
        if arg == "--":
            return rewritten + args[position:]
        name, equals, value = arg.partition("=")
        name = name.replace("_", "-")
        positive = "--" + name.removeprefix("--no-")
        is_value = not equals and name in valued - booleans
        if not equals and name in booleans:
            rewritten.append(f"{name}=True")
        elif not equals and positive in booleans:
            rewritten.append(f"{positive}=False")
        elif equals and name in negatable and value.lower() in _TRUE | _FALSE:
            rewritten.append(name if value.lower() in _TRUE else negatable[name])
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
    words = "" if setting.kind is bool or not setting.choices else "|".join(setting.choices) + ": "
    if setting.auto is not None:
        words = "a number, or auto: "
    default = f" [default: {setting.default}]" if setting.default != "" else ""
    option = typer.Option(
        setting.flag,
        *([setting.short] if setting.short else []),
        help=(words + setting.help + default).replace("[", "\\["),  # rich would read gpt2[-medium] as markup
        metavar=setting.metavar,
        rich_help_panel=setting.group,
        show_default=False,  # the default is None, so that a flag not given is told from one that is
    )
    annotation = Annotated[str | None, option]  # the schema parses, so that all problems come at once
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )

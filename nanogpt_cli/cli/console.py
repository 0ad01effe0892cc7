"""The two streams of every command: data on stdout, words for people on stderr.

Colour and live redraw only where stderr is a terminal; rich itself honours NO_COLOR, FORCE_COLOR, TERM=dumb
and COLUMNS. `--quiet` silences everything on stderr except errors.
"""

import codecs
import functools
import json
import math
import sys
import unicodedata
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.text import Text

# What a poorer encoding shows for signs that Unicode does not take apart into ASCII itself.
_PLAIN: Final = str.maketrans({"×": "x", "–": "-", "★": "*", "«": '"', "»": '"', "¿": "", "¡": ""})


def plain_letters(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: for what an encoding lacks the letter without its accent, an ordinary space
    for a narrow one, and a question mark for what has nothing of the kind.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(map(_plain_letter, lacking)), error.end


def _plain_letter(letter: str) -> str:
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode("ascii") or "?"


@functools.cache
def stderr_console() -> Console:
    """The one console for messages; no markup and no automatic highlighting of user data."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_json(document: Mapping[str, object] | list[dict[str, object]]) -> None:
    """Write the one JSON document of `--json` to stdout; JSON has no NaN or infinity, they become null.

    Text stays readable where stdout is UTF-8, and is escaped where it is not (a pipe on Windows).
    """
    escape = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    text = json.dumps(finite(document), indent=2, ensure_ascii=escape, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def finite(value: object) -> object:
    """`value` with null for every number JSON cannot say, in mappings and lists too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def note(message: str, *, quiet: bool = False) -> None:
    """A plain message on stderr, unless quiet."""
    if not quiet:
        stderr_console().print(Text(message), soft_wrap=True)


def warn(message: str, *, quiet: bool = False) -> None:
    """A warning on stderr, unless quiet."""
    if not quiet:
        stderr_console().print(Text("warning: ", style="yellow") + Text(message), soft_wrap=True)


def next_step(command: str, *, quiet: bool = False) -> None:
    """What the user most likely types next; every command ends with it."""
    if not quiet:
        stderr_console().print(Text("next: ", style="dim") + Text(command, style="bold"), soft_wrap=True)


def print_error(message: str, hint: str, details: tuple[str, ...] = ()) -> None:
    """What is wrong, every single problem where there are several, and what to type."""
    console = stderr_console()
    console.print(Text("error: ", style="bold red") + Text(message), soft_wrap=True)
    for detail in details:
        console.print(Text("  - " + detail), soft_wrap=True)
    console.print(Text("hint: ", style="bold") + Text(hint), soft_wrap=True)

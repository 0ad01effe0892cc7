"""Globs over paths: `*`, `?`, `[a-z]` within one name, `**` over any number of folders.

Paths are relative, with `/` on every system, and letters are compared as they are written, so that one
command takes the same files everywhere. (`glob.translate`, `PurePath.full_match`: only since Python 3.13.)
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

_MAGIC: Final = re.compile(r"[*?\[]")


def is_glob(text: str) -> bool:
    """Whether a name stands for several."""
    return _MAGIC.search(text) is not None


def split_glob(pattern: str) -> tuple[str, str]:
    """The folder a glob starts from, and the rest: `texts/a/*.txt` gives `texts/a` and `*.txt`."""
    parts = pattern.replace("\\", "/").split("/") if "/" not in pattern else pattern.split("/")
    first = next((place for place, part in enumerate(parts) if is_glob(part)), len(parts))
    folder = "/".join(parts[:first])
    return folder or ("/" if pattern.startswith("/") else "."), "/".join(parts[first:])


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path, or a folder it lies in, matches any pattern.

    A pattern without a slash may match any of the path's names; one with a slash, but for one at its end,
    matches from the path's beginning.
    """
    names = path.split("/")
    heads = ["/".join(names[: count + 1]) for count in range(len(names))]
    for pattern in patterns:
        regex = _compiled(pattern.strip("/").removeprefix("./"))
        candidates = heads if "/" in pattern.rstrip("/") else names
        if any(regex.fullmatch(candidate) for candidate in candidates):
            return True
    return False


def leads_to(folder: str, pattern: str) -> bool:
    """Whether something in a folder could match a pattern that holds from the beginning."""
    if "**" in pattern.split("/"):
        return True
    parts = pattern.strip("/").split("/")
    return all(_compiled(part).fullmatch(name) for name, part in zip(folder.split("/"), parts, strict=False))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = pattern.split("/")
    expression = ""
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        if part == "**":
            expression += r".*" if last else r"(?:[^/]+/)*"
        else:
            expression += _one_name(part) + ("" if last else "/")
    return re.compile(expression, re.DOTALL)


def _one_name(part: str) -> str:
    """A pattern without slashes as a regular expression."""
    expression = ""
    place = 0
    while place < len(part):
        character = part[place]
        place += 1
        if character == "*":
            expression += r"[^/]*"
        elif character == "?":
            expression += r"[^/]"
        elif character == "[" and (end := part.find("]", place + 1)) > 0:
            inside = part[place:end].replace("\\", "\\\\").replace("[", r"\[").replace("^", r"\^")
            if inside[0] == "!":
                inside = "^" + inside[1:]
            expression += f"[{inside}]"
            place = end + 1
        else:
            expression += re.escape(character)
    return expression

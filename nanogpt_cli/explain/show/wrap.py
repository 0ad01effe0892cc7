"""Lines of a given width in columns of a terminal, for texts in any of the languages.

Chinese characters take two columns and may be parted anywhere, but no line begins with a closing mark or ends
with an opening one (https://www.w3.org/TR/clreq/#line_breaking_rules). Only ASCII spaces are places to break:
French sets no-break spaces before ; : ! ? and means them.
"""

import unicodedata
from collections.abc import Iterator
from typing import Final

_NOT_FIRST: Final = frozenset("，。、；：！？）】》〉」』”’…·％,.;:!?)]}%")
_NOT_LAST: Final = frozenset("（【《〈「『“‘([{")
_MIN_WIDTH: Final = 20


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def wrap(text: str, width: int, indent: str = "", hanging: str | None = None) -> list[str]:
    """Lines of at most `width` columns; the first begins with `indent`, the others with `hanging`."""
    hanging = indent if hanging is None else hanging
    room, rest = (max(width - columns(margin), _MIN_WIDTH) for margin in (indent, hanging))
    lines: list[str] = []
    for paragraph in text.split("\n"):
        for piece in _pieces(paragraph, room, rest):
            lines.append(((hanging if lines else indent) + piece).rstrip(" "))
            room = rest
    return lines


def _pieces(paragraph: str, room: int, rest: int) -> Iterator[str]:
    """The lines of one paragraph: `room` columns for the first, `rest` for the others."""
    line, used, space = "", 0, ""
    for word in _words(paragraph):
        if word == " ":
            space += word
            continue
        needed = columns(word)
        if line and used + len(space) + needed > room:
            yield line
            line, used, space, room = "", 0, "", rest
        line, used, space = line + space + word, used + len(space) + needed, ""
        while used > room:  # a path or an address longer than a line
            cut = _fit(line, room)
            yield line[:cut]
            line, room = line[cut:], rest
            used = columns(line)
    if line or not paragraph.strip(" "):
        yield line


def _words(text: str) -> Iterator[str]:
    """Spaces, and runs between which a line may end."""
    word = ""
    for i, letter in enumerate(text):
        if letter == " ":
            if word:
                yield word
            yield letter
            word = ""
            continue
        before = text[i - 1] if i else " "
        parted = _columns(letter) == 2 or _columns(before) == 2
        if word and parted and letter not in _NOT_FIRST and before not in _NOT_LAST:
            yield word
            word = ""
        word += letter
    if word:
        yield word


def _fit(text: str, width: int) -> int:
    """How many characters of `text` fit, at least one."""
    used = 0
    for i, letter in enumerate(text):
        used += _columns(letter)
        if used > width:
            return max(1, i)
    return len(text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1

"""Which column of a table holds the text: the one asked for, or the one that is obvious."""

import difflib
import shlex
from collections.abc import Mapping
from typing import Final

from nanogpt_cli.errors import UsageError
from nanogpt_cli.events import Notice, Reporter

TEXT: Final = "string"  # the type of a column that can be chosen
_MOST_LISTED: Final = 20

# What text columns are called in public datasets, the most telling names first.
_USUAL_NAMES: Final = (
    *("text", "content", "contents", "document", "raw_content", "full_text", "body", "article", "story"),
    *("markdown", "page_content", "passage", "transcript", "code", "poem", "lyrics", "sentence", "review"),
    *("message", "texto", "texte", "文本", "内容"),
)


def choose_text_column(
    columns: Mapping[str, str], asked: str | None, label: str, reporter: Reporter, *, command: str
) -> str:
    """The name of the text column among `columns` (name to type; `TEXT` where it holds text).

    `label` is what the user called the table, and `command` what they type, to which a hint adds
    `--text-column`. A guess is said. Raises UsageError where the column asked for is missing or no text, and
    where none is obvious.
    """
    texts = [name for name, kind in columns.items() if kind == TEXT]
    if asked is not None:
        return _asked(columns, texts, asked, label, command)
    if not texts:
        raise UsageError(f"{label} has no column of text, only {_list(columns)}", _WITHOUT_TEXT)
    by_lower = {name.lower(): name for name in reversed(texts)}
    usual = [by_lower[name] for name in _USUAL_NAMES if name in by_lower]
    if len(texts) > 1 and not usual:
        raise UsageError(
            f"{label} has several columns of text: {_list(columns)}", _command(command, texts[0])
        )
    chosen = usual[0] if usual else texts[0]
    if len(columns) > 1:
        message = f"the text is column {chosen!r} of {label} (--text-column chooses another)"
        reporter.emit(Notice(message=message))
    return chosen


_WITHOUT_TEXT: Final = "choose data with a column of strings, or write the text into one called text"


def _asked(columns: Mapping[str, str], texts: list[str], asked: str, label: str, command: str) -> str:
    if columns.get(asked) == TEXT:
        return asked
    near = difflib.get_close_matches(asked, texts, n=1) or texts[:1]
    hint = _command(command, near[0]) if near else _WITHOUT_TEXT
    if asked in columns:
        raise UsageError(f"the column {asked!r} of {label} holds {columns[asked]}, not text", hint)
    raise UsageError(f"{label} has no column {asked!r}; it has {_list(columns)}", hint)


def _command(command: str, column: str) -> str:
    return f"{command} --text-column {shlex.quote(column)}"


def _list(columns: Mapping[str, str]) -> str:
    names = [name if kind == TEXT else f"{name} ({kind})" for name, kind in columns.items()]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more

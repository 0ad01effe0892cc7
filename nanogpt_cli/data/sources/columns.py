"""Which column of a table is the text: the one asked for, the obvious one, or an error that lists them."""

import difflib
import shlex
from collections.abc import Mapping
from typing import Final

from nanogpt_cli.errors import NanoGPTError, UsageError
from nanogpt_cli.events import Notice, Reporter

# What a column holds: strings, or what a chat's turns are kept in; any other words are shown as they are.
TEXT: Final = "text"
LISTS: Final = "lists"
OBJECTS: Final = "objects"

# Names that a text column goes by in public datasets, the most telling first.
_USUAL_NAMES: Final = (
    *("text", "content", "contents", "document", "raw_content", "full_text", "body", "article", "story"),
    *("markdown", "page_content", "passage", "page", "transcript", "code", "lyrics", "poem", "abstract"),
    *("sentence", "review", "message", "texto", "texte", "文本"),
)
_CHAT_NAMES: Final = ("messages", "conversations", "conversation", "turns", "dialog", "dialogue", "chosen")


def choose_text_column(
    columns: Mapping[str, str], requested: str | None, what: str, reporter: Reporter
) -> str:
    """The name of the text column of `what`, which is how the user called the table.

    `columns` gives each column's kind: `TEXT`, `LISTS`, `OBJECTS`, or words for what else it holds ("int64").
    A guess is reported. Raises where none is obvious, and where the one asked for is missing or no text.
    """
    if requested is not None:
        return _check_requested(columns, requested, what)
    texts = [name for name, kind in columns.items() if kind == TEXT]
    lower = {name.lower(): name for name in reversed(texts)}
    usual = [lower[name] for name in _USUAL_NAMES if name in lower]
    if not usual and len(texts) != 1:
        raise _nothing_obvious(columns, texts, what)
    chosen = usual[0] if usual else texts[0]
    if len(columns) > 1:
        reporter.emit(
            Notice(message=f"the text is column {chosen!r} of {what} (--text-column chooses another)")
        )
    return chosen


def _check_requested(columns: Mapping[str, str], requested: str, what: str) -> str:
    kind = columns.get(requested)
    if kind == TEXT:
        return requested
    texts = [name for name, kind in columns.items() if kind == TEXT]
    near = difflib.get_close_matches(requested, texts, n=1) or texts[:1]
    hint = f"--text-column {shlex.quote(near[0])}" if near else "give a table with a column of strings"
    if kind in (LISTS, OBJECTS):
        raise nested_value(requested, what, kind)
    if kind is not None:
        raise UsageError(f"column {requested!r} of {what} holds {kind}, not text", hint)
    raise UsageError(f"{what} has no column {requested!r}; it has {_listed(columns)}", hint)


def _nothing_obvious(columns: Mapping[str, str], texts: list[str], what: str) -> NanoGPTError:
    if not columns:
        return NanoGPTError(f"{what} holds no rows", "give a table with rows, or leave it out")
    if texts:
        listed = f"It has {_listed(columns)}"
        return UsageError(
            f"which column of {what} is the text? {listed}", f"--text-column {shlex.quote(texts[0])}"
        )
    for name, kind in columns.items():
        if kind in (LISTS, OBJECTS) and name.lower() in _CHAT_NAMES:
            return nested_value(name, what, kind)
    return NanoGPTError(
        f"{what} has no column of text; it has {_listed(columns)}",
        "write the text into a column of strings called text, and prepare that",
    )


def nested_value(column: str, what: str, kind: str) -> NanoGPTError:
    """The error for a column of lists or objects, as chats are kept in, and how to make text of them."""
    hint = f"write a column of strings instead, each with all the turns in {column!r}, and prepare that"
    if ".json" in what or ".ndjson" in what:
        turns = f'{{text: ([.{column}[] | .role + ": " + .content] | join("\\n"))}}'
        hint = f"write the turns out as text: jq -c '{turns}' {shlex.quote(what)} > chats.jsonl"
    return NanoGPTError(f"column {column!r} of {what} holds {kind}, as chats do, not text", hint)


def _listed(columns: Mapping[str, str], most: int = 20) -> str:
    names = [name if kind == TEXT else f"{name} ({kind})" for name, kind in columns.items()]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

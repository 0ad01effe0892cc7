"""Logs inside JSON documents: a notebook's outputs, a Trainer's trainer_state.json, a list of records.

They become the lines that were printed, so that the readers of lines need to know nothing of documents.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Final

# A notebook with pictures may have tens of megabytes; beyond this its text is read as lines: that finds most.
MAX_DOCUMENT_BYTES: Final = 1 << 26
_DOCUMENT: Final = re.compile(
    rb'\s*(?:\{\s*\n\s*"|\{\s*"(?:cells|nbformat|metadata|log_history|best_metric|best_model_checkpoint)"|\[\s*\{)'
)
_ROW_END, _CELL_END, _TAG = (
    re.compile(r"</tr>|<br ?/?>|</p>"),
    re.compile(r"</t[dh]>"),
    re.compile(r"<[^<>]{0,2000}>"),
)


def may_be_document(head: bytes) -> bool:
    """Whether a file that begins so is worth reading whole, as JSON."""
    return _DOCUMENT.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def document_lines(raw: bytes) -> Iterator[str] | None:
    """The log lines in a document; None if it is no document that holds a log."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None  # damaged, or lines of JSON after all
    if isinstance(document, list):
        return _records(document)
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("cells"), list):
        return _notebook(document["cells"])
    if isinstance(document.get("log_history"), list):
        return _trainer_state(document)
    return None


def _records(records: list[object]) -> Iterator[str]:
    for record in records:
        yield json.dumps(record) + "\n"


def _trainer_state(state: dict[str, object]) -> Iterator[str]:
    """As the Trainer announces it, then one dict per line, with its step."""
    for key, words in (("num_train_epochs", "Num Epochs"), ("max_steps", "Total optimization steps")):
        value = state.get(key)
        if isinstance(value, int | float) and 0 < value < 1e12:
            yield f"{words} = {int(value)}\n"
    history = state["log_history"]
    assert isinstance(history, list)
    yield from _records(history)


def _notebook(cells: list[object]) -> Iterator[str]:
    for cell in cells:
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        for output in outputs if isinstance(outputs, list) else ():
            if isinstance(output, dict):
                yield _output(output) + "\n"


def _output(output: dict[str, object]) -> str:
    """What one output shows, as text."""
    if output.get("output_type") == "error":
        return _text(output.get("traceback")).replace("\x1b[0m\x1b[0;31m", "")
    if "text" in output:
        return _text(output["text"])
    data = output.get("data")
    if not isinstance(data, dict):
        return ""
    if "text/html" in data:
        table = _CELL_END.sub("\t", _ROW_END.sub("\n", _text(data["text/html"]).replace("\n", "")))
        rows = (row.strip() for row in html.unescape(_TAG.sub("", table)).split("\n"))
        return "\n".join(row for row in rows if row)
    return _text(data.get("text/plain"))


def _text(parts: object) -> str:
    """A notebook keeps text as a string or as a list of lines."""
    if isinstance(parts, list):
        return "".join(
            part if part.endswith("\n") else part + "\n" for part in parts if isinstance(part, str)
        )
    return parts if isinstance(parts, str) else ""

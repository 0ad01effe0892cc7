"""Bytes of any origin to clean lines, as a stream: never fails on content, never holds more than one line.

UTF-8 unless a byte order mark says UTF-16; bytes that fit neither become U+FFFD. A bare CR ends a line (tqdm
redraws with it). Terminal colour codes and control characters are dropped.
"""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

_CHUNK_BYTES = 1 << 16
# A training line is under 1 kB; a JSON record with a whole config about 4 kB. Beyond this the rest of a
# "line" is no log and is dropped, so that a binary file of one line costs no memory.
MAX_LINE_CHARS = 1 << 16

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: window titles, links
    r"|\x1b[@-Z\\-_]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def clean_lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of `stream` without line ends, escape sequences and control characters."""
    decoder: codecs.IncrementalDecoder | None = None
    pending = ""
    while True:
        chunk = stream.read(_CHUNK_BYTES)
        if decoder is None:
            encoding = next((name for bom, name in _BOMS if chunk.startswith(bom)), "utf-8")
            decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        pending += decoder.decode(chunk, final=not chunk)
        # \n and \r only: str.splitlines would also cut at U+2028 and form feeds inside a message.
        *complete, pending = pending.replace("\r", "\n").split("\n")
        yield from map(_clean, complete)
        pending = pending[:MAX_LINE_CHARS]
        if not chunk:
            break
    if pending:
        yield _clean(pending)


def _clean(line: str) -> str:
    line = line[:MAX_LINE_CHARS]
    if "\x1b" in line:
        line = _ESCAPES.sub("", line)
    if not line.isprintable():  # cheap for the usual line
        line = _CONTROLS.sub("", line)
    return line.rstrip()

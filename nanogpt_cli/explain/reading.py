"""Bytes of any origin to clean text, as a stream: never fails on content, never holds more than a block.

UTF-8 unless a byte order mark or a NUL in every other byte says UTF-16; bytes that fit neither become
U+FFFD. A gzip'd log is unpacked. A bare CR ends a line (tqdm redraws with it). Terminal colour codes and
control characters are dropped.
"""

import codecs
import re
import zlib
from collections.abc import Iterator
from typing import Final

BLOCK_BYTES: Final = 1 << 18
# A training line is under 1 kB; a JSON record with a whole config about 4 kB. Beyond this the rest of a
# "line" is no log and is dropped, so that a binary file of one line costs no memory.
MAX_LINE_CHARS: Final = 1 << 16

_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]{0,40}[ -/]{0,9}[@-~]"  # CSI: colours, cursor movement
    r"|\x1b\][^\x07\x1b\n]{0,2000}(?:\x07|\x1b\\)?"  # OSC: window titles, links
    r"|\x1b[@-Z\\-_]?"
)
# C1 controls (U+009B is another CSI), line separators, and marks that turn the direction of the text.
_UNICODE_CONTROLS: Final = re.compile("[\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROLS: Final = bytes({*range(32), 127} - set(b"\t\n\r\x1b"))
_DROPPED: Final = dict.fromkeys(_CONTROLS)
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP: Final = b"\x1f\x8b\x08"


class TextBlocks:
    """Takes bytes as they come and gives clean text in blocks of complete lines, `\\n` between them."""

    def __init__(self) -> None:
        self._decoder: codecs.IncrementalDecoder | None = None
        self._wide = False  # UTF-16: control characters are only found after decoding
        self._unpacker: zlib._Decompress | None = None
        self._pending = ""
        self.unterminated = False  # whether what `finish` gave had no line end

    def feed(self, raw: bytes) -> Iterator[str]:
        """The text that `raw` completes."""
        if self._decoder is None and self._unpacker is None and raw.startswith(_GZIP):
            self._unpacker = zlib.decompressobj(wbits=31)
        if self._unpacker is not None:
            yield from self._unpack(raw)
        elif raw and (text := self._block(raw)):
            yield text

    def finish(self) -> str:
        """What stands after the last line end."""
        if self._decoder is not None:
            self._pending += self._decoder.decode(b"", final=True)
        rest, self._pending = self._pending, ""
        if not rest:
            return ""
        self.unterminated = not rest.endswith("\r")
        return self._clean(rest.removesuffix("\r"))

    def _unpack(self, raw: bytes) -> Iterator[str]:
        """The text of a gzip'd log; a damaged rest is passed over."""
        while raw and self._unpacker is not None:
            try:
                plain = self._unpacker.decompress(raw, BLOCK_BYTES)  # bounded: a bomb costs time, no memory
            except zlib.error:
                return
            if plain and (text := self._block(plain)):
                yield text
            raw = self._unpacker.unconsumed_tail
            if self._unpacker.eof:  # several members, as logrotate and cat make them
                raw = self._unpacker.unused_data
                self._unpacker = zlib.decompressobj(wbits=31)

    def _block(self, raw: bytes) -> str:
        if self._decoder is None:
            name = _encoding(raw)
            self._decoder, self._wide = codecs.getincrementaldecoder(name)(errors="replace"), "16" in name
        if not self._wide:
            raw = raw.translate(None, _CONTROLS)
        text = self._pending + self._decoder.decode(raw)
        # A CR at the very end may be the first half of CRLF: it waits for the next block.
        cut = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1
        self._pending = text[cut : cut + MAX_LINE_CHARS]
        if not cut:
            return ""
        return self._clean(text[: cut - (2 if text[cut - 2 : cut] == "\r\n" else 1)])

    def _clean(self, text: str) -> str:
        if "\x1b" in text:
            text = _ESCAPES.sub("", text)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if self._wide:
            text = text.translate(_DROPPED)
        if not text.isascii():
            text = _UNICODE_CONTROLS.sub("", text)
        return text


def _encoding(start: bytes) -> str:
    if name := next((name for bom, name in _BOMS if start.startswith(bom)), None):
        return name
    sample = start[:4096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    # Text of Latin letters in UTF-16 has a NUL in every second byte, and none in the others.
    if len(sample) >= 4 and max(even, odd) > 0.7 * (len(sample) // 2) and min(even, odd) < 0.05 * len(sample):
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"

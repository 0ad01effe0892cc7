"""From bytes to text in pieces: nothing lost or translated, and what is not text refused with its place."""

import codecs
import shlex
from collections.abc import Iterator
from typing import NoReturn

from nanogpt_cli.data.sources import base
from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.byte_stream import ByteStream
from nanogpt_cli.data.sources.encoding_guess import likely_encoding
from nanogpt_cli.data.sources.encodings import Encoding, detect
from nanogpt_cli.data.sources.known_formats import known_format, refuse
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice, Reporter, Warned

_PIECES_AHEAD = 16
REPLACEMENT = "\ufffd"  # what --errors replace puts where bytes cannot be decoded


def decoded(stream: ByteStream, options: SourceOptions, reporter: Reporter) -> Iterator[str]:
    """The text of a stream, in pieces of about PIECE_BYTES, none of them empty.

    Raises NanoGPTError with the file and the byte's offset, in the unpacked content, where bytes are no text.
    """
    if (known := known_format(stream.head)) is not None:
        raise refuse(known, stream.label, stream.argument)
    encoding = detect(stream.head, options.encoding)
    if encoding.detected:
        reporter.emit(
            Notice(message=f"{stream.label} is read as {encoding.title}, told from {encoding.detected}")
        )
    pieces = (
        _strict(stream, encoding) if options.errors == "strict" else _replacing(stream, encoding, reporter)
    )
    return filter(None, pieces)


def _strict(stream: ByteStream, encoding: Encoding) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding.name)()
    offset = encoding.mark_bytes  # of the bytes the decoder has not turned into text yet
    stream.read(encoding.mark_bytes)
    while True:
        raw = stream.read(base.PIECE_BYTES)
        waiting = decoder.getstate()[0]
        try:
            text = decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            _refuse_bytes(stream, encoding, error, offset)
        if b"\0" in raw if encoding.nul_is_a_byte else "\0" in text:
            _refuse_nul(stream, encoding, waiting + raw, offset)
        yield text
        if not raw:
            return
        offset += len(waiting) + len(raw) - len(decoder.getstate()[0])


def _replacing(stream: ByteStream, encoding: Encoding, reporter: Reporter) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding.name)("replace")
    replaced = 0
    stream.read(encoding.mark_bytes)
    while raw := stream.read(base.PIECE_BYTES):
        text = decoder.decode(raw).replace("\0", REPLACEMENT)
        replaced += text.count(REPLACEMENT)
        yield text
    rest = decoder.decode(b"", final=True).replace("\0", REPLACEMENT)
    if replaced := replaced + rest.count(REPLACEMENT):
        where = f"{replaced:,} U+FFFD stand{'s' * (replaced == 1)} where bytes are no text"
        reporter.emit(Warned(message=f"{stream.label}: {where}"))
    yield rest


def _refuse_nul(stream: ByteStream, encoding: Encoding, raw: bytes, offset: int) -> NoReturn:
    width = {"16": 2, "32": 4}.get(encoding.name[4:6], 1) if not encoding.nul_is_a_byte else 1
    place = raw.find(bytes(width))
    while place % width:
        place = raw.find(bytes(width), place + 1)
    raise NanoGPTError(
        f"{stream.label} is not text: byte {offset + place:,} is NUL, as in binary files",
        "give a text file: nanogpt prepare input.txt --tokenizer char",
    )


def _refuse_bytes(stream: ByteStream, encoding: Encoding, error: UnicodeDecodeError, offset: int) -> NoReturn:
    if stream.compression:
        for _ in range(_PIECES_AHEAD):
            stream.read(base.PIECE_BYTES)  # raises where damaged data is why: checksums come after the data
    place = f"byte {offset + error.start:,} (0x{error.object[error.start]:02X})"
    unpacked = " of the unpacked text" if stream.compression else ""
    path = shlex.quote(stream.argument)
    other = likely_encoding(error.object, error.start)
    if encoding.name == "utf-8" and other:
        hint = f"it looks like {other}: nanogpt prepare {path} --encoding {other} (or --errors replace)"
    else:
        hint = f"give another --encoding, or replace such bytes: nanogpt prepare {path} --errors replace"
    raise NanoGPTError(f"{stream.label} is not {encoding.title}: {place}{unpacked} cannot be decoded", hint)

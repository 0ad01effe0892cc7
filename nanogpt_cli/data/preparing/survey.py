"""The first pass over a text: how much there is, which characters occur, and a sample of it.

nanoGPT splits by position, which needs the length first; a character vocabulary needs every character; a
vocabulary to be trained needs text from all over the corpus.
"""

import hashlib
import itertools
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from nanogpt_cli.data.preparing.alphabet import Alphabet
from nanogpt_cli.data.preparing.pipeline import Lane, in_order
from nanogpt_cli.data.preparing.sampling import EvenSample
from nanogpt_cli.data.sources.base import Source
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Progress, Reporter

BATCH_CHARACTERS: Final = 1 << 18
MOST_SIZES: Final = 1 << 16  # of documents; of so many the draw gives each split its share of the text


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one pass over a source tells; empty documents do not count."""

    characters: int
    bytes: int  # of UTF-8
    documents: int
    sha256: str | None = None  # of the UTF-8 bytes, where it was asked for


class Batch(NamedTuple):
    """Some pieces of text in a row, and how many documents begin among them."""

    texts: list[str]
    documents: int


def survey(
    source: Source,
    reporter: Reporter,
    *,
    threads: int,
    checksum: bool = False,
    alphabet: Alphabet | None = None,
    sample: EvenSample | None = None,
    sizes: "array[int] | None" = None,
) -> Survey:
    """Read the whole source once, in constant memory; `alphabet` and `sample` are filled on the way.

    So are `sizes`, with the characters of each document up to `MOST_SIZES`.

    The checksum that a dataset keeps is of the very text that was encoded, and taken then; here it costs half
    of the time, and is needed only to compare the text with that of a dataset which exists.
    """

    digest = hashlib.sha256()
    characters = size_bytes = documents = 0

    def look(batch: Batch) -> bytes | int:
        """The batch's UTF-8 where it is to be hashed, else how long that is."""
        text = batch.texts[0] if len(batch.texts) == 1 else "".join(batch.texts)
        if alphabet is not None:
            alphabet.add(text)
        if text.isascii() and not checksum:
            return len(text)
        raw = utf8_of(text, source.label)
        return raw if checksum else len(raw)

    def counted() -> Iterator[Batch]:
        nonlocal characters, documents
        for batch in _batches(source, sizes):
            characters += sum(map(len, batch.texts))
            documents += batch.documents
            if sample is not None:
                sample.add(batch.texts)
            yield batch

    with Lane() as hashing:
        for raw in _looked_at(look, counted(), threads=threads):
            if isinstance(raw, bytes):
                hashing.do(digest.update, raw)
                size_bytes += len(raw)
            else:
                size_bytes += raw
            done = size_bytes if source.size_bytes is None else source.done_bytes
            reporter.emit(Progress(task="reading", done=done, total=source.size_bytes, unit="bytes"))
        hashing.wait()
    return Survey(
        characters=characters,
        bytes=size_bytes,
        documents=documents,
        sha256=digest.hexdigest() if checksum else None,
    )


def _looked_at(
    look: Callable[[Batch], bytes | int], batches: Iterator[Batch], *, threads: int
) -> Iterator[bytes | int]:
    """`map(look, batches)`, by several threads from the first batch on that is not plain ASCII.

    ASCII is looked at as fast as it is read, so handing it to other threads would only cost time.
    """
    for batch in batches:
        if not all(map(str.isascii, batch.texts)):
            yield from in_order(look, itertools.chain([batch], batches), threads=threads)
            return
        yield look(batch)


def utf8_of(text: str, label: str) -> bytes:
    """The UTF-8 bytes of `text`; half a surrogate pair, which has none, is an error."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise NanoGPTError(
            f"{label} holds U+{ord(text[error.start]):04X}, half of a surrogate pair, which is no character",
            "run it again with --errors replace",
        ) from None


def _batches(source: Source, sizes: "array[int] | None") -> Iterator[Batch]:
    texts: list[str] = []
    size = documents = 0
    for document in source.documents():
        length = 0
        for text in document:
            if not text:
                continue
            documents += length == 0
            length += len(text)
            texts.append(text)
            size += len(text)
            if size >= BATCH_CHARACTERS:
                yield Batch(texts, documents)
                texts, size, documents = [], 0, 0
        if length and sizes is not None and len(sizes) < MOST_SIZES:
            sizes.append(length)
    if texts:
        yield Batch(texts, documents)

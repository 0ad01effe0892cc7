"""What a source is: documents in pieces, read again for every pass, and the options that choose them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

PIECE_BYTES: Final = 1 << 18  # texts are handed on in pieces of about this size, which fits a core's cache


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to read the sources; each field is the flag of `nanogpt prepare` with the same name."""

    include: tuple[str, ...] = ()  # globs over paths inside a folder; empty: every text file
    exclude: tuple[str, ...] = ()
    encoding: str | None = None  # None: UTF-8, or UTF-16 where the file says so itself
    errors: Literal["strict", "replace"] = "strict"
    text_column: str | None = None  # None: guessed where it is obvious
    config: str | None = None  # of a Hugging Face dataset, as the next three
    split: str | None = None
    revision: str | None = None
    streaming: bool = False
    max_docs: int | None = None  # stop after so many documents


class Source(Protocol):
    """Text to be prepared: one text, or a collection of documents."""

    @property
    def label(self) -> str:
        """What the user called it."""

    @property
    def dataset_name(self) -> str:
        """The name of a dataset made of it, unless the user gives one."""

    @property
    def kind(self) -> str:
        """`file`, `folder`, `files`, `table`, `stdin`, `hub`, `builtin` …, for meta.json."""

    @property
    def collection(self) -> bool:
        """Whether it is many documents: they are split as wholes, and end with the end-of-text token."""

    @property
    def repeatable(self) -> bool:
        """Whether `documents` can be called again for the same text; standard input and streams cannot."""

    @property
    def size_bytes(self) -> int | None:
        """Bytes there are to read, compressed ones where the input is compressed; None where unknown."""

    @property
    def done_bytes(self) -> int:
        """Bytes of `size_bytes` read so far in the pass under way."""

    def documents(self) -> Iterator[Iterator[str]]:
        """Every document, as pieces of text in order; no newline is lost or translated.

        A document is to be read to its end before the next is asked for.
        """


def pieces(text: str) -> Iterator[str]:
    """A text that is in memory already, as a source hands it on."""
    if len(text) <= PIECE_BYTES:
        return iter((text,))
    return (text[start : start + PIECE_BYTES] for start in range(0, len(text), PIECE_BYTES))

"""The second pass: text in, `train.bin` and `val.bin` out, each document cut at the split's position."""

import hashlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from nanogpt_cli.data.binfile import BinWriter, dtype_for
from nanogpt_cli.data.meta import SplitMeta
from nanogpt_cli.data.sources.base import Source
from nanogpt_cli.data.streaming import StreamEncoder
from nanogpt_cli.data.survey import Survey
from nanogpt_cli.data.tokenizers import Tokenizer
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Progress, Reporter


class SplitWriter:
    """Encodes the documents of one split into one file."""

    def __init__(self, out: BinWriter, tokenizer: Tokenizer) -> None:
        self.text_bytes = 0
        self.documents = 0
        self.document_open = False
        self._out = out
        self._encoder = StreamEncoder(tokenizer)

    def add(self, text: str) -> None:
        """Go on with the current document; an empty text changes nothing."""
        if text:
            self.document_open = True
            self.text_bytes += len(text.encode("utf-8"))
            self._out.write(self._encoder.feed(text))

    def end_document(self, end_of_text: int | None) -> None:
        """End the current document, if there is one, with a token where one is given."""
        if not self.document_open:
            return
        self._out.write(self._encoder.finish())
        if end_of_text is not None:
            self._out.write(np.array([end_of_text]))
        self.documents += 1
        self.document_open = False

    def meta(self) -> SplitMeta:
        """What meta.json says of the split."""
        return SplitMeta(
            file=self._out.path.name,
            tokens=self._out.tokens,
            bytes=self.text_bytes,
            documents=self.documents,
            sha256=self._out.sha256,
        )


def write_splits(
    source: Source, tokenizer: Tokenizer, found: Survey, position: int, folder: Path, reporter: Reporter
) -> dict[str, SplitMeta]:
    """Write both files; `position` is how many characters go to train.

    A document of a collection ends with the tokenizer's end-of-text token, as in nanoGPT's openwebtext. Where
    the position falls inside a document, its first part gets no such token: it does not end there.
    """
    digest = hashlib.sha256()
    dtype = dtype_for(tokenizer.vocab_size)
    end_of_text = tokenizer.end_of_text if source.collection else None
    with ExitStack() as stack:
        outs = [stack.enter_context(BinWriter(folder / f"{name}.bin", dtype)) for name in ("train", "val")]
        train, val = (SplitWriter(out, tokenizer) for out in outs)
        for document in source.documents():
            for text in document:
                digest.update(text.encode("utf-8"))
                head, tail = text[:position], text[position:]
                position -= len(head)
                train.add(head)
                val.add(tail)
                done = train.text_bytes + val.text_bytes
                reporter.emit(Progress(task="encoding", done=done, total=found.bytes, unit="bytes"))
            train.end_document(None if val.document_open else end_of_text)
            val.end_document(end_of_text)
    if digest.hexdigest() != found.sha256:
        raise NanoGPTError(
            f"{source.label} changed while it was being read",
            "wait until it is complete, then run the same command again",
        )
    return {"train": train.meta(), "val": val.meta()}

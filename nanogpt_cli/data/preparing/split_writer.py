"""The second pass: text in, `train.bin` and `val.bin` out, in constant memory and with every core at work.

One thread reads and cuts, several encode, one hashes the text, one the tokens, and one writes. Every now and
then what is on the disk is recorded, so that an interrupted job can go on from there.
"""

import contextlib
import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanogpt_cli.data.binfile import BinWriter, dtype_for
from nanogpt_cli.data.meta import SplitMeta
from nanogpt_cli.data.preparing.encoding import ChunkEncoder, EncodedChunk, IdsUsed
from nanogpt_cli.data.preparing.mark import Mark, SideMark, pack_ids, unpack_ids
from nanogpt_cli.data.preparing.pipeline import Lane, in_order
from nanogpt_cli.data.preparing.splitting import Split
from nanogpt_cli.data.preparing.streaming import chunks
from nanogpt_cli.data.preparing.survey import Survey, utf8_of
from nanogpt_cli.data.preparing.workplace import PointlessToResumeError
from nanogpt_cli.data.sources.base import Source
from nanogpt_cli.data.tokenizers.base import Tokenizer
from nanogpt_cli.events import Progress, Reporter

MARK_SECONDS: Final = 20.0  # about so much work is lost by a kill


@dataclass(frozen=True, kw_only=True)
class Input:
    """A source whose text is known from its survey, and how it is split."""

    source: Source
    found: Survey
    split: Split


class SplitWriter:
    """Writes the tokens of all inputs, one input after the other, into the two files of `folder`.

    `text_sha256` are of the texts of the inputs as they were encoded, known when all is written.

    `record` is called with each `Mark` that has reached the disk; `done` is the last one of an earlier
    attempt. `count_ids` says whether to find out which ids occur.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        tokenizer: Tokenizer,
        folder: Path,
        reporter: Reporter,
        *,
        threads: int,
        count_ids: bool,
        record: Callable[[Mark], None],
        done: Mark | None = None,
        started: float | None = None,
    ) -> None:
        self._inputs = inputs
        self._tokenizer = tokenizer
        self._folder = folder
        self._reporter = reporter
        self._threads = threads
        self._record = record
        self._done = done or Mark()
        self._used = IdsUsed(tokenizer.vocab_size) if count_ids else None
        if self._used is not None:
            self._used.seen = unpack_ids(self._done.used, tokenizer.vocab_size)
        self._text_bytes = [self._done.train.bytes, self._done.val.bytes]
        self._documents = [self._done.train.documents, self._done.val.documents]
        self._bytes_done = 0  # of text, of all inputs
        self._bytes_total = sum(item.found.bytes for item in inputs)
        self._marked = time.monotonic() if started is None else started
        self._outs: list[BinWriter] = []
        self._lanes: list[Lane] = []
        self.text_sha256: list[str] = list(self._done.inputs_sha256)

    def write(self) -> dict[str, SplitMeta]:
        """Encode and write everything; returns what meta.json says of each split."""
        dtype = dtype_for(self._tokenizer.vocab_size)
        with ExitStack() as stack:
            for name, kept in (("train", self._done.train), ("val", self._done.val)):
                out = BinWriter(self._folder / f"{name}.bin", dtype, kept_tokens=kept.tokens)
                self._outs.append(stack.enter_context(out))
                if kept.tokens and out.sha256 != kept.sha256:
                    raise PointlessToResumeError(
                        f"{out.path} is not what an interrupted preparation left: it cannot be resumed",
                        "begin again: run the same command without --resume",
                    )
            self._lanes = [stack.enter_context(Lane()) for _ in range(3)]
            for number, item in enumerate(self._inputs):
                if number >= len(self._done.inputs_sha256):
                    self._write_input(number, item)
                else:
                    self._bytes_done += item.found.bytes
            self._wait()
        return {name: self._meta(side) for side, name in enumerate(("train", "val"))}

    @property
    def ids_used(self) -> int:
        """How many distinct ids occur, where they were counted; else all of them."""
        return self._tokenizer.vocab_size if self._used is None else int(self._used.seen.sum())

    def _write_input(self, number: int, item: Input) -> None:
        digest = hashlib.sha256()
        characters = 0
        stream = chunks(item.source, item.split.train_characters, self._tokenizer.safe_cut)
        n_chunks = self._done.chunks if number == len(self._done.inputs_sha256) else 0
        for chunk in itertools.islice(stream, n_chunks):  # an earlier attempt has written them
            text = "".join(part.text for part in chunk)
            raw = utf8_of(text, item.source.label)
            characters += len(text)
            digest.update(raw)
            self._progress("reading again", len(raw))
        if n_chunks and digest.hexdigest() != self._done.text_sha256:
            raise _changed(item.source)
        end_of_text = self._tokenizer.end_of_text if item.source.collection else None
        encode = ChunkEncoder(
            self._tokenizer, end_of_text=end_of_text, used=self._used, label=item.source.label
        )
        with contextlib.closing(in_order(encode, stream, threads=self._threads)) as encoded_chunks:
            for encoded in encoded_chunks:
                self._lanes[0].do(digest.update, encoded.text)
                self._append(encoded)
                n_chunks += 1
                characters += encoded.characters
                self._progress("encoding", len(encoded.text))
                if time.monotonic() - self._marked >= MARK_SECONDS:
                    self._wait()
                    self._set_mark(n_chunks, digest.hexdigest())
        self._wait()
        self.text_sha256.append(digest.hexdigest())
        if characters != item.found.characters or item.found.sha256 not in {None, digest.hexdigest()}:
            raise _changed(item.source)

    def _append(self, encoded: EncodedChunk) -> None:
        _, hashing, writing = self._lanes
        for side, (out, part) in enumerate(zip(self._outs, encoded.sides, strict=True)):
            if part.ids.size:
                raw = out.as_stored(part.ids)
                hashing.do(out.see, raw)
                writing.do(out.write, raw)
            self._text_bytes[side] += part.text_bytes
            self._documents[side] += part.documents

    def _wait(self) -> None:
        for lane in self._lanes:
            lane.wait()

    def _progress(self, task: str, n_bytes: int) -> None:
        self._bytes_done += n_bytes
        self._reporter.emit(Progress(task=task, done=self._bytes_done, total=self._bytes_total, unit="bytes"))

    def _set_mark(self, n_chunks: int, text_sha256: str) -> None:
        for out in self._outs:
            out.sync()
        train, val = (
            SideMark(
                tokens=out.tokens,
                bytes=self._text_bytes[side],
                documents=self._documents[side],
                sha256=out.sha256,
            )
            for side, out in enumerate(self._outs)
        )
        self._record(
            Mark(
                inputs_sha256=tuple(self.text_sha256),
                chunks=n_chunks,
                text_sha256=text_sha256,
                fraction=self._bytes_done / max(1, self._bytes_total),
                train=train,
                val=val,
                used="" if self._used is None else pack_ids(self._used.seen),
            )
        )
        self._marked = time.monotonic()

    def _meta(self, side: int) -> SplitMeta:
        out = self._outs[side]
        # A text that the split cuts counts in both.
        cut = side == 0 and any(item.split.rule == "position" for item in self._inputs)
        return SplitMeta(
            file=out.path.name,
            tokens=out.tokens,
            bytes=self._text_bytes[side],
            documents=self._documents[side] + cut,
            sha256=out.sha256,
        )


def _changed(source: Source) -> PointlessToResumeError:
    """The error for a source that is another on the second reading."""
    return PointlessToResumeError(
        f"{source.label} changed while it was being read",
        "wait until it is complete, then run the same command again",
    )

"""Brings each line of a log to the reader that understands it, and keeps count of those that none does.

The reader that understood the line before is asked first. Lines that a container or a terminal changed are
put right here: docker's JSON, ranks that print the same, lines a terminal cut at its width, a last line cut.
"""

import json
import re
from collections.abc import Sequence
from typing import Final, Protocol

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.columns import USUAL, Row, Usual
from nanogpt_cli.explain.formats.generic import GenericReader
from nanogpt_cli.explain.formats.hf_trainer import HFTrainerReader
from nanogpt_cli.explain.formats.litgpt import LitGPTReader
from nanogpt_cli.explain.formats.llm_c import LlmCReader
from nanogpt_cli.explain.formats.metrics import MetricsReader
from nanogpt_cli.explain.formats.mingpt import MinGPTReader
from nanogpt_cli.explain.formats.modded import ModdedReader
from nanogpt_cli.explain.formats.nanochat import NanochatReader
from nanogpt_cli.explain.formats.nanogpt import NanoGPTReader
from nanogpt_cli.explain.formats.tables import TableReader
from nanogpt_cli.explain.formats.torchtitan import TorchtitanReader
from nanogpt_cli.explain.ranks import Ranks
from nanogpt_cli.explain.reading import MAX_LINE_CHARS
from nanogpt_cli.explain.records import Log
from nanogpt_cli.explain.tracebacks import TracebackReader

_OTHER_SHARE: Final = 0.75  # of a block's lines; above it, line by line is as fast
_MAX_NOISE: Final = 4096
_KEPT_UNREAD: Final = 20
_UNREAD_CHARS: Final = 500
_READABLE_CHARS: Final = 4096  # a reader of text lines gets no more; records are longer
_COUNTER: Final = re.compile(r"(?:iter|step|epoch)\W{0,4}\d|['\"](?:eval_|train_)?loss['\"]", re.IGNORECASE)
_SAMPLE: Final = re.compile(r"sample \d+: ")  # of our train.log, among nanoGPT's lines
_DIGITS: Final = re.compile(r"\d{1,30}", re.ASCII)
_FIELD: Final = re.compile(r"\d.{0,40}(?:ms|[%|}]|tok|m$)|^[\d.]{1,12}$|\b(?:loss|lr|mfu|epoch)\b")
_WRAP_WIDTHS: Final = range(60, 401)


class Reader(Protocol):
    """Understands the lines of one trainer."""

    def feed(self, line: str) -> bool:
        """Take one line; False if it is none of this trainer's."""


class Dispatcher:
    """Takes every line of a log in its order."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.assembler = Assembler(log)
        self._metrics, self._tables = MetricsReader(self.assembler), TableReader(self.assembler)
        # Particular ones before those that take much; `generic` takes nearly anything and is last.
        self._readers: list[Reader] = [
            self._metrics,
            MinGPTReader(self.assembler),
            LitGPTReader(self.assembler),
            NanoGPTReader(self.assembler),
            NanochatReader(self.assembler),
            LlmCReader(self.assembler),
            ModdedReader(self.assembler),
            TorchtitanReader(self.assembler),
            HFTrainerReader(self.assembler),
            self._tables,
            GenericReader(self.assembler),
        ]
        self._order = list(self._readers)
        self._tracebacks = TracebackReader()
        self._ranks = Ranks()
        self._before = ""  # the line before, where it may go on in this one
        self._before_understood = False
        self._usual: Usual | None = None
        self._noise: set[bytes] = set()  # lines nobody understood, without their digits
        self._last_understood = ""

    @property
    def n_records(self) -> int:
        """Lines of our metrics.jsonl."""
        return self._metrics.n_records

    def feed(self, text: str) -> None:
        """Take a block of complete lines."""
        if self._usual is None:
            self._usual = next((u for u in USUAL if _fits(u.pattern, self._last_understood)), None)
        if self._usual is not None:
            self._feed_usual(self._usual, text)
            return
        # \n only: str.splitlines would also cut at form feeds inside a message.
        for line in text.split("\n"):
            self._log.n_lines += 1
            if line:
                self._line(line[:MAX_LINE_CHARS])

    def _feed_usual(self, usual: Usual, text: str) -> None:
        """A block of a log whose lines are mostly of one kind."""
        rows: list[Row] = usual.pattern.findall(text)
        others = [at for at, row in enumerate(rows) if not row[0]]
        start = 0
        for at in others:
            self._take(usual, rows[start:at])
            start = at + 1
            self._log.n_lines += 1
            if line := rows[at][-1]:
                self._line(line[:MAX_LINE_CHARS])
        self._take(usual, rows[start:])
        if len(others) > _OTHER_SHARE * len(rows):
            self._usual = None

    def _take(self, usual: Usual, rows: Sequence[Row]) -> None:
        """Consecutive usual lines; the last of them goes the long way, for what else it says of the run."""
        if not rows:
            return
        if len(rows) > 1:
            self._log.n_lines += len(rows) - 1
            self._log.n_text_lines += len(rows) - 1
            self._before = ""
            self.assembler.add_iters(usual.trainer, usual.columns(rows[:-1]))
        self._log.n_lines += 1
        self._line(rows[-1][0])

    def feed_last(self, line: str, *, whole: bool) -> None:
        """Take the last line; if it has no line end (not `whole`) it may be cut, also inside a number."""
        shape, usual = _DIGITS.sub("9", line.rstrip()), _DIGITS.sub("9", self._last_understood)
        cut = len(shape) < len(usual) and usual.startswith(shape) and _COUNTER.search(line)
        if cut and not whole:
            self._log.n_lines += 1
            self._log.n_text_lines += 1
            self._unread(line)
        else:
            self.feed(line)

    def _line(self, raw: str) -> None:
        line = raw.rstrip()
        if not line:
            return
        self._log.n_text_lines += 1
        if line[0] == "{" and line.startswith('{"log":'):
            line = raw = _docker(line)
        elif line[0] in "[0123456789" and (rank := self._ranks.of(line)) != "main":
            self._other_rank(line, repeated=rank == "repeated")
            return
        if _SAMPLE.match(line) and isinstance(self._order[0], NanoGPTReader):
            self._before = ""  # what a model wrote may look like anything, also like the line of a log
            return
        if len(line) > _READABLE_CHARS and line[0] != "{":
            line = line[:_READABLE_CHARS]
        kind = b"" if "oss" in line else line.encode("utf-8", "replace").translate(None, b"0123456789")
        if kind in self._noise and not (self._before or self._tables.in_table or self._tracebacks.inside):
            self._unread(line)
        elif self._understood(line):
            self._last_understood = line
            self._tracebacks.in_training = True
            self._before, self._before_understood = (raw, True) if len(raw) in _WRAP_WIDTHS else ("", False)
        elif failure := self._tracebacks.feed(line):
            self.assembler.add_failure(failure)
        elif self._tracebacks.inside:
            self._notice_ranks(line)
        elif not self._continues(raw):
            self._unread(line)
            if kind and not self._before and len(self._noise) < _MAX_NOISE:
                self._noise.add(kind)

    def _other_rank(self, line: str, *, repeated: bool) -> None:
        self.assembler.distributed = True
        if repeated:
            self._log.n_duplicated_lines += 1
        elif failure := self._tracebacks.feed(line):
            self.assembler.add_failure(failure)

    def _understood(self, line: str) -> bool:
        order = self._order
        for at, reader in enumerate(order):
            if reader.feed(line):
                if at and reader is not self._readers[-1]:
                    order.insert(0, order.pop(at))
                return True
        return False

    def _continues(self, raw: str) -> bool:
        """Whether the line is the rest of the one before, which a terminal cut at its width."""
        before, self._before = self._before, ""
        if before and raw[0] not in "[{" and _FIELD.search(raw) and not _COUNTER.match(raw):
            self.assembler.amending = self._before_understood
            understood = self._understood(before + raw.rstrip())
            self.assembler.amending = False
            if understood:
                self._before_understood = True
                # As wide as the pieces before it: more may follow.
                if len(before) % len(raw) == 0 and len(before) + len(raw) in _WRAP_WIDTHS:
                    self._before = before + raw
                return True
        if len(raw) in _WRAP_WIDTHS and _COUNTER.search(raw):
            self._before, self._before_understood = raw, False
        self._notice_ranks(raw)
        return False

    def _notice_ranks(self, line: str) -> None:
        if not self.assembler.distributed and ("[rank" in line or "torch/distributed/" in line):
            self.assembler.distributed = True

    def _unread(self, line: str) -> None:
        log = self._log
        log.n_unread_lines += 1
        if len(log.unread) < _KEPT_UNREAD:
            log.unread.append((log.n_lines, line[:_UNREAD_CHARS]))


def _fits(pattern: re.Pattern[str], line: str) -> bool:
    found = pattern.match(line) if line else None
    return found is not None and bool(found[1])


def _docker(line: str) -> str:
    """The line inside a record of docker's json-file driver."""
    try:
        text = json.loads(line).get("log")
    except (ValueError, RecursionError):
        return line
    return text.rstrip() if isinstance(text, str) and text.strip() else line

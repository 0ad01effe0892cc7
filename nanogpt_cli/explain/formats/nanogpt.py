r"""nanoGPT's console (train.py, configurator.py, model.py), our train.log, which keeps its lines; llama2.c.

    tokens per iteration will be: 491,520
    step 250: train loss 1.9000, val loss 2.0000
    iter 250: loss 3.1234, time 12.34ms, mfu 5.12%
    250 | loss 3.1234 | lr 5.000000e-04 | 12.34ms | mfu 5.12%          (llama2.c)

Any prefix may stand before them (a rank, a time stamp). Forks change details: "time 157.85 ms",
"Step 250 | Train Loss: 2.2 | Val Loss: 2.3", further fields. https://github.com/karpathy/nanoGPT
"""

import re
from collections.abc import Callable
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.fields import fields
from nanogpt_cli.explain.formats.numbers import COUNT, DIGITS, NUMBER, PLAIN, count, fraction, number
from nanogpt_cli.explain.formats.settings import ConfigReader, is_quoted
from nanogpt_cli.explain.records import Ending, EvalPoint, IterPoint, Run, Trainer

_ITER: Final = re.compile(
    rf"(?<![\w.;])iter\s{{1,9}}(\d{{1,12}})(?:/\d{{1,12}})?: loss ({NUMBER})"
    rf"(?:, time ({DIGITS})\s?ms)?(?:, mfu ({NUMBER})\s?%)?",
    re.ASCII,
)
_EVAL: Final = re.compile(
    rf"(?<![\w.])(?:step|iter)\s{{1,9}}(\d{{1,12}})(?:/\d{{1,12}})?\s?[:|] train loss:? ({NUMBER})"
    rf"\s?[,|] val loss:? ({NUMBER})",
    re.IGNORECASE | re.ASCII,
)
_LLAMA2: Final = re.compile(
    rf"(?<![\w.])(\d{{1,12}}) \| loss ({NUMBER}) \| lr ({NUMBER}) \| ({PLAIN})ms \| mfu ({NUMBER})%",
    re.ASCII,
)
_SAVING: Final = "saving checkpoint to"
_OUR_END: Final = re.compile(
    r"^(?P<how>finished|evaluated|interrupted and saved|terminated and saved|diverged)"
    r" after (?P<iters>\d{1,12}) iterations in ",
    re.ASCII,
)
_OUR_REASONS: Final = {
    "finished": "finished",
    "evaluated": "eval_only",
    "interrupted and saved": "SIGINT",
    "terminated and saved": "SIGTERM",
    "diverged": "nonfinite",
}


class NanoGPTReader:
    """Hands every nanoGPT line to the assembler."""

    trainer: Trainer = "nanogpt"

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler
        self._config = ConfigReader(assembler)

    def feed(self, line: str) -> bool:
        """Take one line; False if it is none of nanoGPT's."""
        # "oss" covers "Loss" too; `in` is ten times as fast as a regular expression that does not match.
        if "oss" in line and (self._iter(line) or self._eval(line) or self._llama2(line)):
            self._config.end()
            return True
        if _SAVING in line and not is_quoted(line, line.find(_SAVING)):
            self._assembler.add_checkpoint()
            return True
        if found := _OUR_END.match(line):
            self._assembler.current.ending = Ending(
                reason=_OUR_REASONS[found["how"]], iters=int(found["iters"])
            )
            return True
        return self._header(line) or self._config.feed(line)

    def _iter(self, line: str) -> bool:
        found = _ITER.search(line)
        if found is None:
            return False
        iter_num, loss, time, mfu = found.groups()
        end = found.end()
        if end < len(line) and (more := line[end:]).strip():
            if "val" in more:
                return False  # "iter 100: loss 2.5, val_loss 2.6" is an evaluation
            extra = fields(line[found.end(2) :] if time is None or mfu is None else more)
            lr, norm, speed = extra.lr, extra.grad_norm, extra.tokens_per_second
        else:
            extra, lr, norm, speed = None, None, None, None
        percent = number(mfu) if mfu else None
        time_ms, share, pending = number(time) if time else None, None, False
        if percent is not None:
            share, pending = fraction(percent), percent < 0
        elif extra is not None:
            share, pending = extra.mfu, extra.mfu_pending
        if time_ms is None and extra is not None:
            time_ms = extra.time_ms
        self._assembler.add_iter(
            "nanogpt", IterPoint(int(iter_num), number(loss), time_ms, share, pending, lr, norm, speed)
        )
        return True

    def _eval(self, line: str) -> bool:
        found = _EVAL.search(line)
        if found is None:
            return False
        rate = fields(line[found.end() :]).lr if found.end() < len(line) else None
        self._assembler.add_eval(
            "nanogpt", EvalPoint(int(found[1]), number(found[2]), number(found[3]), lr=rate)
        )
        return True

    def _llama2(self, line: str) -> bool:
        found = _LLAMA2.search(line)
        if found is None:
            return False
        percent = number(found[5])
        point = IterPoint(
            int(found[1]),
            number(found[2]),
            number(found[4]),
            fraction(percent),
            percent < 0,
            number(found[3]),
        )
        self._assembler.add_iter("nanogpt", point)
        return True

    def _header(self, line: str) -> bool:
        if prepared := _PREPARED.match(line):
            # prepare.py's words, in the same notebook: no run is set up by them.
            if self._assembler.last_iter is None:
                _PREPARED_LINES[prepared[1]](self._assembler.current, prepared[2])
            return True
        found = _HEADER.search(line)
        if found is None or is_quoted(line, found.start()):
            return False
        start = found[0]
        read, rest = _HEADER_LINES[start], line[found.end() :].strip()
        # A fork's configuration may have a line "device: cuda" as well; ours comes after the directory.
        theirs = found.start() or (read is _device and self._assembler.current.nanogpt_habits)
        if read in _OURS and theirs:
            return False
        read(self._assembler.header("nanogpt"), rest)
        self._config.end()
        return True


def _tokens(run: Run, rest: str) -> None:
    if found := re.match(COUNT, rest):
        run.tokens_per_iter = count(found[0])


def _vocab(run: Run, rest: str) -> None:
    if found := re.match(COUNT, rest):
        run.vocab_size = count(found[0])


def _gpt2_vocab(run: Run, _rest: str) -> None:
    run.vocab_size = 50304


def _train_tokens(run: Run, rest: str) -> None:
    if found := re.match(COUNT, rest):
        run.train_tokens = count(found[0])


def _params(run: Run, rest: str) -> None:
    if found := re.match(r"(\d{1,9}(?:[.,]\d{1,6})?)M", rest):
        run.n_params = round(number(found[1]) * 1e6) or None


def _resuming(run: Run, _rest: str) -> None:
    run.resuming = True


def _pretrained(run: Run, _rest: str) -> None:
    run.pretrained = True
    run.vocab_size = 50257


def _directory(run: Run, _rest: str) -> None:
    run.nanogpt_habits = False


def _device(run: Run, rest: str) -> None:
    run.device = rest[:200]


def _peak(run: Run, rest: str) -> None:
    run.peak_source = rest[:200]
    run.nanogpt_habits = False


def _nothing(_run: Run, _rest: str) -> None:
    """A line that only shows that a process starts here."""


_HEADER_LINES: Final[dict[str, Callable[[Run, str], None]]] = {
    "tokens per iteration will be: ": _tokens,
    "found vocab_size = ": _vocab,
    "defaulting to vocab_size of GPT-2 to 50304": _gpt2_vocab,
    "number of parameters: ": _params,
    "Resuming training from ": _resuming,
    "Initializing from OpenAI GPT-2 weights": _pretrained,
    "Initializing a new model from scratch": _nothing,
    "compiling the model... ": _nothing,
    "using fused AdamW: ": _nothing,
    "num decayed parameter tensors: ": _nothing,
    "num non-decayed parameter tensors: ": _nothing,
    "run directory: ": _directory,  # this and the next two are in our train.log only
    "device: ": _device,
    "peak for mfu: ": _peak,
}
_PREPARED_LINES: Final = {"vocab size: ": _vocab, "train has ": _train_tokens, "val has ": _nothing}
_PREPARED: Final = re.compile(rf"(vocab size: |train has |val has )({COUNT})(?: tokens)?$", re.ASCII)
_OURS: Final = (_directory, _device, _peak)
_HEADER: Final = re.compile("|".join(re.escape(start) for start in _HEADER_LINES))

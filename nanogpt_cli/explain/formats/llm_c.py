r"""llm.c: its console (train_gpt2.cu, .c, .py), its main.log, and build-nanogpt, which came before it.

    step    1/19560 | loss 11.009 (+nanz)| norm 15.37 (+nanz)| lr 8.57e-07 | 1234.5 ms | 45.1% bf16 MFU | …
    step    1/10: train loss 5.356 (80.6 ms, 50789 tok/s)       step 1: train loss 5.356 (took 1823.4 ms)
    val loss 4.517294                                           (of the step printed before it)
    s:0 tel:10.9689     s:0 trl:10.9656 lr:0.000001 norm:15.37  (main.log; "eval" is HellaSwag, no loss)
    step     0 | loss: 10.955029 | lr 8.3916e-07 | norm: 15.3379 | dt: 1234.56ms | tok/sec: 123456.78
    250 val 5.9105      250 train 5.902344                      (build-nanogpt's log.txt)

https://github.com/karpathy/llm.c  https://github.com/karpathy/build-nanogpt
"""

import re
from collections.abc import Callable
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.fields import fields
from nanogpt_cli.explain.formats.numbers import COUNT, NUMBER, count, number
from nanogpt_cli.explain.nanogpt_settings import literal
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Run, Trainer

_FILE: Final = re.compile(
    rf"(?<![\w.])s:(\d{{1,12}}) (trl|tel|eval):({NUMBER})(?: lr:({NUMBER}))?(?: norm:({NUMBER}))?", re.ASCII
)
_CONSOLE: Final = re.compile(
    rf"(?<![\w.])step\s{{1,9}}(\d{{1,12}})(?:/(\d{{1,12}}))?(?:\s?\| |: )(?:train )?loss ({NUMBER})"
    r"(?!,? val)(?=[\s(|]|$)",
    re.ASCII,
)
_ITERATION: Final = re.compile(rf"(?<![\w.])iteration (\d{{1,12}}), loss: ({NUMBER}), time: ", re.ASCII)
_BUILD: Final = re.compile(
    rf"(?<![\w.])step\s{{1,9}}(\d{{1,12}})(?: \||,) loss: ({NUMBER})(?: \||,)", re.ASCII
)
_BUILD_FILE: Final = re.compile(rf"^(\d{{1,12}}) (train|val|hella) ({NUMBER})$", re.ASCII)
_VAL: Final = re.compile(rf"^(?:val|(validation)) loss:? ({NUMBER})$", re.ASCII)
_TABLE: Final = re.compile(r"^\| (\w[\w ()]{0,24}?)\s{0,24}\| (\S.{0,80}?)\s{0,60}\|$")
_PLAIN: Final = re.compile(
    r"^(vocab_size|num_layers|num_heads|channels|num_parameters|max_seq_len): (\d{1,15})$"
)
_SAVED: Final = re.compile(r"^Writing checkpoint at step (\d{1,12})", re.ASCII)
_AVERAGE: Final = re.compile(r"^total average iteration time: |^final \d{1,9} iters avg: ", re.ASCII)
_DESIRED: Final = re.compile(rf"^total desired batch size: ({COUNT})", re.ASCII)


class LlmCReader:
    """Hands llm.c's lines to the assembler."""

    trainer: Trainer = "llm.c"

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler

    def feed(self, line: str) -> bool:
        """Take one line; False if it is none of llm.c's."""
        if "s:" in line and (found := _FILE.search(line)):
            return self._file(found)
        if "loss" in line and (self._console(line) or self._build(line) or self._val(line)):
            return True
        if line[:1].isdigit() and (found := _BUILD_FILE.match(line)):
            return self._build_file(found)
        if line.startswith("| ") and (found := _TABLE.match(line)):
            return self._fact(found[1], found[2])
        if found := _PLAIN.match(line):
            return self._fact(found[1], found[2])
        if found := _SAVED.match(line):
            self._assembler.add_checkpoint(int(found[1]))
            return True
        if found := _AVERAGE.match(line):
            self._assembler.end("llm.c")
            return True
        if found := _DESIRED.match(line):
            self._assembler.header("llm.c").tokens_per_iter = count(found[1])
            return True
        return False

    def _file(self, found: re.Match[str]) -> bool:
        step, kind, value = int(found[1]), found[2], number(found[3])
        if kind == "trl":
            rate, norm = found[4], found[5]
            point = IterPoint(
                step, value, lr=number(rate) if rate else None, grad_norm=number(norm) if norm else None
            )
            self._assembler.add_iter("llm.c", point)
        elif kind == "tel":
            self._assembler.add_eval("llm.c", EvalPoint(step, None, value))
        return True

    def _console(self, line: str) -> bool:
        if (found := _CONSOLE.search(line)) is None:
            if (found := _ITERATION.search(line)) is None:
                return False
            step, total, loss = found[1], None, found[2]
        else:
            step, total, loss = found.groups()
        more = fields(line[found.end() :])
        point = IterPoint(int(step), number(loss), *more)
        self._assembler.add_iter("llm.c", point)
        if total:
            self._assembler.current.config["max_iters"] = int(total)
        return True

    def _build(self, line: str) -> bool:
        found = _BUILD.search(line)
        if found is None:
            return False
        self._assembler.add_iter(
            "build-nanogpt", IterPoint(int(found[1]), number(found[2]), *fields(line[found.end() :]))
        )
        return True

    def _val(self, line: str) -> bool:
        """A validation loss without a step. llm.c counts from 1 and prints it after step N's line, at the
        start of the next; build-nanogpt counts from 0 and prints it before the line of its step."""
        found = _VAL.match(line)
        if found is None:
            return False
        last = self._assembler.last_iter
        step = 0 if last is None else last + 1 if found[1] else last
        self._assembler.add_eval(
            "build-nanogpt" if found[1] else "llm.c", EvalPoint(step, None, number(found[2]))
        )
        return True

    def _build_file(self, found: re.Match[str]) -> bool:
        step, value = int(found[1]), number(found[3])
        if found[2] == "train":
            self._assembler.add_iter("build-nanogpt", IterPoint(step, value))
        elif found[2] == "val":
            self._assembler.add_eval("build-nanogpt", EvalPoint(step, None, value))
        return True

    def _fact(self, name: str, value: str) -> bool:
        """A row of the table llm.c begins with."""
        if name in _SETTINGS:
            parsed = literal(value)
            if isinstance(parsed, int | float):
                self._assembler.header("llm.c").config[_SETTINGS[name]] = parsed
            return True
        if name not in _FACTS:
            return False
        _FACTS[name](self._assembler.header("llm.c"), value)
        return True


def _vocab(run: Run, value: str) -> None:
    run.vocab_size = count(value) if value.isdigit() else None


def _params(run: Run, value: str) -> None:
    run.n_params = count(value) if value.isdigit() else None


def _tokens(run: Run, value: str) -> None:
    run.tokens_per_iter = count(value) if value.isdigit() else None


def _device(run: Run, value: str) -> None:
    run.device = run.peak_source = value


def _peak(run: Run, value: str) -> None:
    peak = literal(value)
    run.peak_flops = peak * 1e12 if isinstance(peak, int | float) and peak > 0 else None


_SETTINGS: Final = {
    "micro batch size B": "batch_size",
    "sequence length T": "block_size",
    "learning rate (LR)": "learning_rate",
    "warmup iterations": "warmup_iters",
    "val_loss_every": "eval_interval",
    "val_max_steps": "eval_iters",
    "num_layers L": "n_layer",
    "num_heads NH": "n_head",
    "channels C": "n_embd",
    "num_layers": "n_layer",
    "num_heads": "n_head",
    "channels": "n_embd",
    "max_seq_len": "block_size",
}
_FACTS: Final[dict[str, Callable[[Run, str], None]]] = {
    "vocab_size V": _vocab,
    "vocab_size": _vocab,
    "num_parameters": _params,
    "total batch size": _tokens,
    "device": _device,
    "peak TFlops": _peak,
}

r"""litgpt's and lit-gpt's pretraining and finetuning.

    Epoch 1 | iter 8 step 2 | loss train: 3.100, val: n/a | iter time: 9.10 ms (step) remaining time: 0:01:00
    iter 100 step 25: loss 2.3456, iter time: 123.45ms (optimizer.step)         (2023)
    iter 100: val loss 2.3456, val time: 1234.56 ms         step 100: val loss 2.3456
    Final evaluation | val loss: 1.234 | val ppl: 3.435

An iteration is one micro-batch, `step` counts updates; "val:" repeats the last evaluation.
https://github.com/Lightning-AI/litgpt
"""

import re
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.fields import fields
from nanogpt_cli.explain.formats.numbers import COUNT, NUMBER, PLAIN, count, milliseconds, number
from nanogpt_cli.explain.nanogpt_settings import literal
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Trainer

_NEW: Final = re.compile(
    rf"(?<![\w.])Ep(?:och)? (\d{{1,9}}) \| iter (\d{{1,12}}) (?:\| )?st[eE]p \d{{1,12}}(?: \||:)"
    rf" loss train(?: \(curr\))?: ({NUMBER})",
    re.ASCII,
)
_OLD: Final = re.compile(
    rf"(?<![\w.])iter (\d{{1,12}}) (?:\| )?(?:epoch (\d{{1,9}}) \| )?step \d{{1,12}}: loss ({NUMBER})",
    re.ASCII,
)
_VAL: Final = re.compile(
    rf"(?<![\w.])(?:iter|step) (\d{{1,12}}): val loss ({NUMBER})"
    rf"(?:[^\n]{{0,100}}?val time: ({PLAIN})\s?(ms|s)\b)?",
    re.ASCII,
)
_FINAL: Final = re.compile(rf"(?<![\w.])Final evaluation \| val loss: ({NUMBER})", re.ASCII)
_TIME: Final = re.compile(rf"(?:iter|train) time: ({PLAIN})\s?(ms|s)\b", re.ASCII)
_PARAMS: Final = re.compile(
    rf"^(?:Total parameters|Number of (?P<frozen>non-)?trainable parameters): (?P<n>{COUNT})$", re.ASCII
)
_WALL: Final = re.compile(rf"^(?:\| - )?Training [Tt]ime ?: ?({PLAIN})\s?s$", re.ASCII)
_SAVED: Final = re.compile(r"^Saving (?:checkpoint|\w{1,9} weights) to ")
_SETTING: Final = re.compile(
    r"(?<!\w)(global_batch_size|micro_batch_size|lr_warmup_steps|learning_rate|min_lr)=([-+\w.]{1,20})"
)
_NAMES: Final = {"lr_warmup_steps": "warmup_iters", "learning_rate": "learning_rate", "min_lr": "min_lr"}


class LitGPTReader:
    """Hands litgpt's lines to the assembler."""

    trainer: Trainer = "litgpt"

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler

    def feed(self, line: str) -> bool:
        """Take one line; False if it is none of litgpt's."""
        if "loss" in line:
            if found := _NEW.search(line):
                return self._iter(line, found[2], found[3], found[1])
            if found := _OLD.search(line):
                return self._iter(line, found[1], found[3], found[2])
            if found := _VAL.search(line):
                took = milliseconds(found[3], found[4]) if found[3] else None
                self._assembler.add_eval(
                    "litgpt", EvalPoint(int(found[1]), None, number(found[2]), eval_ms=took)
                )
                return True
            if found := _FINAL.search(line):
                self._assembler.add_eval(
                    "litgpt", EvalPoint(self._assembler.last_iter or 0, None, number(found[1]))
                )
                return True
        return self._fact(line)

    def _iter(self, line: str, iter_num: str, loss: str, epoch: str | None) -> bool:
        more = fields(line) if " lr" in line else None
        time = _TIME.search(line)
        self._assembler.add_iter(
            "litgpt",
            IterPoint(
                int(iter_num),
                number(loss),
                milliseconds(time[1], time[2]) if time else None,
                lr=more.lr if more else None,
            ),
        )
        if epoch:
            self._assembler.current.epochs_seen = float(epoch)
        return True

    def _fact(self, line: str) -> bool:
        if found := _PARAMS.match(line):
            run, n_params = self._assembler.header("litgpt"), count(found["n"]) or 0
            # LoRA trains some millions beside the frozen billions: the model is both.
            run.n_params = n_params + (run.n_params or 0 if found["frozen"] else 0)
        elif found := _WALL.match(line):
            self._assembler.end("litgpt", number(found[1]))
        elif _SAVED.match(line):
            self._assembler.add_checkpoint()
        elif "=" in line and (found := _SETTING.search(line)) and line[:1] in " '":
            for name, value in _SETTING.findall(line):
                parsed = literal(value)
                if name in _NAMES and isinstance(parsed, int | float):
                    self._assembler.current.config[_NAMES[name]] = parsed
        else:
            return False
        return True

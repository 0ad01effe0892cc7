r"""nanochat's base, mid and chat training (scripts/base_train.py, mid_train.py, chat_sft.py), old and new.

    step 00010/16704 (0.06%) | loss: 6.536498 | lrm: 1.00 | dt: 656.79ms | tok/sec: 798,252 | mfu: 49.89 | …
    Step 00250 | Validation bpb: 1.012345
    Step 00010/00700 | Training loss: 1.234567| lrm: 0.985714| num_tokens: 10,000
    Step 00100 | Validation loss: 1.017000

The loss is a running average (0.9/0.1, debiased), validation is in bits per byte, MFU is of the GPU's own
peak, and a step's time holds no evaluation. https://github.com/karpathy/nanochat
"""

import re
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.fields import fields
from nanogpt_cli.explain.formats.numbers import COUNT, NUMBER, PLAIN, count, fraction, number
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Run, Trainer

_STEP: Final = re.compile(
    rf"(?<![\w.])step (\d{{1,9}})(?:/(\d{{1,9}}))? \([\d.]{{1,9}}%\)\s?\|\s?loss: ({NUMBER})", re.ASCII
)
_CHAT_STEP: Final = re.compile(
    rf"(?<![\w.])Step (\d{{1,9}})/(\d{{1,9}}) \| Train(?:ing)? (?:total )?loss: ({NUMBER})", re.ASCII
)
_VALIDATION: Final = re.compile(
    rf"(?<![\w.])Step (\d{{1,9}}) \| Val(?:idation)? (?:total )?(bpb|loss): ({NUMBER})", re.ASCII
)
_MFU: Final = re.compile(rf"mfu: ({PLAIN})\s?(?:\||$)", re.ASCII)
_TOTAL: Final = re.compile(rf"[Tt]otal (?:training )?time: ({PLAIN})m", re.ASCII)
_EPOCH: Final = re.compile(r"epoch: (\d{1,9})", re.ASCII)
_SAVED: Final = re.compile(r"model_(\d{1,9})\.pt", re.ASCII)
_RESUMED: Final = re.compile(r"Resuming optimization from step (\d{1,9})", re.ASCII)
_FACTS: Final = re.compile(
    rf"(?P<n_params>^Number of parameters: |^total {{1,40}}: )(?P<params>{COUNT})$"
    rf"|^Vocab size: (?P<vocab>{COUNT})|^Total batch size (?P<tokens>{COUNT})"
    r"|^GPU: (?P<gpu>.{1,100}) \| Peak FLOPS \(\w{1,9}\): (?P<peak>\d\.\d{1,9}e\+\d\d)"
    r"|^Estimated FLOPs per token: (?P<flops>\d\.\d{1,9}e\+\d\d)",
    re.ASCII,
)


class NanochatReader:
    """Hands nanochat's lines to the assembler."""

    trainer: Trainer = "nanochat"

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler

    def feed(self, line: str) -> bool:
        """Take one line; False if it is none of nanochat's."""
        if "tep 0" in line or " loss: " in line or " bpb: " in line:
            if (found := _STEP.search(line)) or (found := _CHAT_STEP.search(line)):
                return self._step(line, found)
            if found := _VALIDATION.search(line):
                return self._validation(found)
        if ": " not in line and "size" not in line and "step" not in line:
            return False
        return self._rest(line)

    def _step(self, line: str, found: re.Match[str]) -> bool:
        rest, base = line[found.end() :], found.re is _STEP
        more = fields(rest)
        mfu = fraction(number(m[1])) if (m := _MFU.search(rest)) else None
        self._assembler.add_iter(
            "nanochat",
            IterPoint(
                int(found[1]),
                number(found[3]),
                more.time_ms if "dt:" in rest else None,
                mfu,
                grad_norm=more.grad_norm,
                tokens_per_second=more.tokens_per_second,
            ),
        )
        run = self._assembler.current
        run.smoothed = run.smoothed or base
        if found[2]:
            run.config["max_iters"] = int(found[2])
        if total := _TOTAL.search(rest):
            run.wall_seconds = 60 * float(total[1])
        if epoch := _EPOCH.search(rest):
            run.epochs_seen = float(epoch[1])
        return True

    def _validation(self, found: re.Match[str]) -> bool:
        self._assembler.add_eval("nanochat", EvalPoint(int(found[1]), None, number(found[3])))
        self._assembler.current.val_unit = "bpb" if found[2] == "bpb" else "nats"
        return True

    def _rest(self, line: str) -> bool:
        if "model_" in line and "Saved" in line and (saved := _SAVED.search(line)):
            self._assembler.add_checkpoint(int(saved[1]))
            return True
        if _RESUMED.search(line):
            self._assembler.header("nanochat").resuming = True
            return True
        if total := _TOTAL.match(line):
            self._assembler.end("nanochat", 60 * float(total[1]))
            return True
        found = _FACTS.match(line)
        if found is None:
            return False
        _facts(self._assembler.header("nanochat"), found)
        return True


def _facts(run: Run, found: re.Match[str]) -> None:
    if found["params"]:
        run.n_params = count(found["params"])
    elif found["vocab"]:
        run.vocab_size = count(found["vocab"])
    elif found["tokens"]:
        run.tokens_per_iter = count(found["tokens"])
    elif found["gpu"]:
        run.device = found["gpu"]
        run.peak_source = found["gpu"]
        run.peak_flops = float(found["peak"])
    elif found["flops"]:
        run.flops_per_token = float(found["flops"])

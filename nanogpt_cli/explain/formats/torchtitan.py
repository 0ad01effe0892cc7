r"""torchtitan's metrics, old and new.

    step: 10  loss:  3.95213  grad_norm:  1.2345  memory: 40.44GiB(42.57%)  tps: 6,483  tflops: …  mfu: 55.23%
    step: 10  loss:  3.9521  memory: 40.44GiB(42.57%)  wps: 6,483  mfu: 55.23%         (2024)
    validate step: 10  loss:  3.9012  memory: …

The loss is the mean over all ranks, `tps` are tokens per second and device, MFU is of the device's own peak.
https://github.com/pytorch/torchtitan
"""

import re
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.numbers import COUNT, NUMBER, PLAIN, count, fraction, number
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Trainer

_STEP: Final = re.compile(
    r"(?<![\w.])(validate )?step:\s{1,9}(\d{1,12})\s{1,4}(?:[\w/]{0,20}loss|loss):"
    rf"\s{{0,9}}({NUMBER})",
    re.ASCII,
)
_NORM: Final = re.compile(rf"grad_norm:\s{{0,9}}({NUMBER})", re.ASCII)
_SPEED: Final = re.compile(rf"(?:tps|wps):\s{{0,9}}({COUNT})", re.ASCII)
_MFU: Final = re.compile(rf"mfu:\s{{0,9}}({PLAIN})%", re.ASCII)
_RATE: Final = re.compile(rf"(?<!\w)lr:\s{{0,9}}({NUMBER})", re.ASCII)
_FACTS: Final = re.compile(
    rf"size: (?P<params>{COUNT}) total parameters"
    r"|capacity: (?P<device>.{1,80}) with [\d.]{1,12}GiB memory"
    r"|Peak FLOPS used for computing MFU: (?P<peak>\d\.\d{1,9}e\+\d{1,3})"
    r"|global batch size (?P<batch>\d{1,12})(?:,.{1,60})?,? sequence length (?P<length>\d{1,12})"
    r",? total steps (?P<steps>\d{1,12})",
    re.ASCII,
)
_LOADING: Final = re.compile(r"Loading the checkpoint (?:at step (\d{1,12})|from )", re.ASCII)


class TorchtitanReader:
    """Hands torchtitan's lines to the assembler."""

    trainer: Trainer = "torchtitan"

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler

    def feed(self, line: str) -> bool:
        """Take one line; False if it is none of torchtitan's."""
        if "step: " in line and (found := _STEP.search(line)):
            return self._step(line, found)
        if " - " not in line:  # every line of torchtitan's comes through a logger
            return False
        if found := _FACTS.search(line):
            return self._fact(found)
        if line.endswith(" Training completed"):
            self._assembler.end("torchtitan")
            return True
        if "aving the checkpoint" in line:
            if "Finished" not in line:
                self._assembler.add_checkpoint()
            return True
        if (found := _LOADING.search(line)) and found[1] != "0":
            self._assembler.header("torchtitan").resuming = True
            return True
        return False

    def _step(self, line: str, found: re.Match[str]) -> bool:
        iter_num, loss, rest = int(found[2]), number(found[3]), line[found.end() :]
        if found[1]:
            self._assembler.add_eval("torchtitan", EvalPoint(iter_num, None, loss))
            return True
        norm, speed, rate, mfu = (p.search(rest) for p in (_NORM, _SPEED, _RATE, _MFU))
        self._assembler.add_iter(
            "torchtitan",
            IterPoint(
                iter_num,
                loss,
                mfu=fraction(number(mfu[1])) if mfu else None,
                lr=number(rate[1]) if rate else None,
                grad_norm=number(norm[1]) if norm else None,
                tokens_per_second=float(speed[1].replace(",", "").replace("_", "")) if speed else None,
            ),
        )
        return True

    def _fact(self, found: re.Match[str]) -> bool:
        run = self._assembler.header("torchtitan")
        if found["params"]:
            run.n_params = count(found["params"])
        elif found["device"]:
            run.device = run.peak_source = found["device"]
        elif found["peak"]:
            run.peak_flops = float(found["peak"])
        elif found["batch"]:
            run.tokens_per_iter = int(found["batch"]) * int(found["length"]) or None
            run.config["max_iters"] = int(found["steps"])
            run.config["block_size"] = int(found["length"])
        return True

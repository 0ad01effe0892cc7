"""MFU of one line: its formula with the run's numbers, nanoGPT's running average, another device's peak."""

import math
import re

from nanogpt_cli.accelerators import Accelerator
from nanogpt_cli.explain.case import A100_PEAK_FLOPS, Case
from nanogpt_cli.explain.lines.words import SLOW, Words
from nanogpt_cli.explain.records import IterPoint

_TERA = 1e12
_SOURCE = re.compile(
    r"datasheet, dense (?P<sheet>\w+): (?P<source>.+)"
    r"|measured: (?P<dtype>\w+) matrix products.* on this device"
)
# nanoGPT keeps 0.9 of the old average at every logged line: so many lines until half, and nine tenths, of
# what one line did to it is gone.
_HALF_GONE_LINES = math.ceil(math.log(0.5) / math.log(0.9))
_TENTH_LEFT_LINES = math.ceil(math.log(0.1) / math.log(0.9))
_OWN_TOLERANCE = 0.05
_AVERAGE_TOLERANCE = 0.001  # both numbers are printed to 0.01 %


class MfuExplainer:
    """Explains the MFU of the lines of one run; `device` is the one the reader asks about."""

    def __init__(
        self, case: Case, words: Words, device: Accelerator | None, device_peak: float | None
    ) -> None:
        self.case, self.run, self._words = case, case.run, words
        self._device, self._device_peak = device, device_peak
        self._before = dict(zip((p.iter_num for p in self.run.iters[1:]), self.run.iters, strict=False))

    def explain(self, point: IterPoint, *, slow_by_eval: bool) -> str:
        """What the line's MFU is, how it comes about, what it would be elsewhere; "" if nothing is new."""
        if point.mfu_pending:
            return self._words.join([*self._words.once("mfu_meaning"), self._words.say("mfu_pending")])
        if point.mfu is None or not math.isfinite(point.mfu):
            return ""
        texts = self._words.once("mfu_meaning")
        if self.run.nanogpt_habits:
            texts += [*self._words.once("mfu_nanogpt"), *self._yardstick(point)]
            texts += self._nanogpts(point, slow_by_eval=slow_by_eval)
        elif self.run.peak_flops:
            texts += self._ours(point)
        return self._words.join([*texts, *self._elsewhere(point)])

    # --- nanoGPT's, of an A100

    def _yardstick(self, point: IterPoint) -> list[str]:
        device = str(self.run.config.get("device", "")).split(":")[0]
        if device not in ("cpu", "mps") or point.mfu is None:
            return []
        return self._words.once("mfu_of_no_a100", device=device, mfu=100 * point.mfu)

    def _nanogpts(self, point: IterPoint, *, slow_by_eval: bool) -> list[str]:
        """The formula with this run's numbers, and how the running average arrives at what is printed."""
        texts, own = [], self._own(point)
        shape, tokens, n_params = self.case.model_shape, self.run.tokens_per_iter, self.run.n_params
        assert point.mfu is not None
        if own is not None and shape and tokens and n_params and point.time_ms:
            seconds = point.time_ms / 1000
            texts.append(
                self._words.say(
                    "mfu_formula",
                    n_params=n_params,
                    n_layer=shape[0],
                    n_embd=shape[1],
                    block_size=shape[2],
                    tokens=tokens,
                    seconds=seconds,
                    own=100 * own,
                    weights_only=100 * 6 * n_params * tokens / seconds / A100_PEAK_FLOPS,
                )
            )
        before = self._before.get(point.iter_num)
        if before is None or before.mfu is None:
            return texts
        if own is None and self.case.median_ms and point.time_ms and slow_by_eval:
            own = before.mfu * self.case.median_ms / point.time_ms
        if own is None or abs(0.9 * before.mfu + 0.1 * own - point.mfu) > _AVERAGE_TOLERANCE:
            return texts
        numbers = {"before": 100 * before.mfu, "own": 100 * own}
        numbers["expected"] = 0.9 * numbers["before"] + 0.1 * numbers["own"]
        if not (slow_by_eval and point.time_ms):
            return [*texts, self._words.say("mfu_average", **numbers)]
        return [
            *texts,
            self._words.say("mfu_average_eval", time=point.time_ms, **numbers),
            *self._words.once("mfu_recovers", half=_HALF_GONE_LINES, tenth=_TENTH_LEFT_LINES),
        ]

    def _own(self, point: IterPoint) -> float | None:
        """This line's MFU by nanoGPT's formula, where it explains what was printed.

        With several processes nanoGPT counts one process's tokens, and on a checkpoint's model the shape may
        not be the printed one; then the formula's number and the log's would contradict each other.
        """
        shape, tokens, n_params = self.case.model_shape, self.run.tokens_per_iter, self.run.n_params
        if not (shape and tokens and n_params and point.time_ms and self.case.median_ms):
            return None
        n_layer, n_embd, block_size = shape
        flops = (6 * n_params + 12 * n_layer * n_embd * block_size) * tokens
        usual = flops / (self.case.median_ms / 1000) / A100_PEAK_FLOPS
        printed = [p.mfu for p in self.run.iters if p.mfu is not None]
        if not 0.67 < usual / max(max(printed), 1e-9) < 1.5:
            return None
        return flops / (point.time_ms / 1000) / A100_PEAK_FLOPS

    # --- Ours, of this device

    def _ours(self, point: IterPoint) -> list[str]:
        peak = self.run.peak_flops
        assert peak
        texts = self._words.once("mfu_ours", tera=peak / _TERA, source=self._source())
        if not (self.run.flops_per_token and point.tokens_per_second and point.mfu):
            return texts
        own = self.run.flops_per_token * point.tokens_per_second / peak
        if abs(own / point.mfu - 1) < _OWN_TOLERANCE:  # else the tokens are those of several devices
            texts.append(
                self._words.say(
                    "mfu_ours_formula",
                    flops_per_token=self.run.flops_per_token,
                    tokens_per_second=point.tokens_per_second,
                    tera=peak / _TERA,
                    own=100 * own,
                )
            )
        return texts

    def _source(self) -> str:
        """Where the peak is from: what our own log says of it in English, in the reader's language."""
        found = _SOURCE.match(self.run.peak_source)
        if found is None:
            return self.run.peak_source or "?"
        if found["sheet"]:
            return self._words.say("peak_datasheet", dtype=found["sheet"], source=found["source"])
        return self._words.say("peak_measured", dtype=found["dtype"])

    # --- Of the device the reader names

    def _elsewhere(self, point: IterPoint) -> list[str]:
        """The same arithmetic per second as a share of another peak."""
        reference = A100_PEAK_FLOPS if self.run.nanogpt_habits else self.run.peak_flops
        if reference is None or point.mfu is None:
            return []
        rate = point.mfu * reference
        texts = []
        if self._device is not None:
            dtype = self._dtype(self._device)
            peak = self._device.peak_flops[dtype]
            texts.append(
                self._words.say(
                    "mfu_on_gpu",
                    gpu=self._device.name,
                    tera=peak / _TERA,
                    dtype=dtype,
                    rate=rate / _TERA,
                    mfu=100 * rate / peak,
                )
            )
        if self._device_peak is not None:
            texts.append(
                self._words.say(
                    "mfu_on_peak",
                    tera=self._device_peak / _TERA,
                    rate=rate / _TERA,
                    mfu=100 * rate / self._device_peak,
                )
            )
        return texts

    def _dtype(self, device: Accelerator) -> str:
        """The run's own number format where that device has it."""
        dtype = str(self.run.config.get("dtype", ""))
        return dtype if dtype in device.peak_flops else device.training_dtype


def is_slow(time_ms: float | None, median_ms: float | None) -> bool:
    """Whether a time is so far above the usual one that it needs a reason."""
    return bool(time_ms and median_ms and math.isfinite(time_ms) and time_ms >= SLOW * median_ms)

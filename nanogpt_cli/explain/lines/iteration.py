"""An iteration's line: `iter 5000: loss 0.8236, time 4446.83ms, mfu 9.99%`."""

import bisect
import math
import statistics

from nanogpt_cli.explain.case import Case
from nanogpt_cli.explain.lines.mfu import MfuExplainer, is_slow
from nanogpt_cli.explain.lines.rate import explain_rate
from nanogpt_cli.explain.lines.words import ExplainedLine, Words
from nanogpt_cli.explain.records import IterPoint

_NEIGHBOURS = 25  # losses on each side whose median is the trend at a line
_MIN_NEIGHBOURS = 11
_UNUSUAL = 3.0  # standard deviations from the trend; one line in 370 by chance


class IterationExplainer:
    """Explains the iterations of one run."""

    def __init__(self, case: Case, words: Words, mfu: MfuExplainer) -> None:
        self.case, self.run, self._words, self._mfu = case, case.run, words, mfu
        self._nums = [p.iter_num for p in case.iters]

    def explain(self, point: IterPoint) -> ExplainedLine:
        """The line as nanoGPT would print it, and each of its numbers."""
        shown = [] if point.loss is None else [f"loss {point.loss:.4f}"]
        if point.time_ms is not None:
            shown.append(f"time {point.time_ms:.2f}ms")
        if point.mfu is not None or point.mfu_pending:
            shown.append(f"mfu {100 * point.mfu if point.mfu is not None else -100:.2f}%")
        slow_by_eval = self.slow_by_eval(point)
        return self._words.line(
            f"iter {point.iter_num}: {', '.join(shown)}" if shown else f"iter {point.iter_num}",
            ("iter", self._iteration(point)),
            ("loss", self._loss(point)),
            ("time", self._time(point, slow_by_eval=slow_by_eval)),
            ("mfu", self._mfu.explain(point, slow_by_eval=slow_by_eval)),
            ("grad_norm", self._gradient(point)),
            ("lr", explain_rate(self.case, self._words, point.iter_num, point.lr)),
        )

    def slow_by_eval(self, point: IterPoint) -> bool:
        """Whether the line's time holds an evaluation: nanoGPT's clock goes on during one."""
        return (
            self.run.nanogpt_habits
            and is_slow(point.time_ms, self.case.median_ms)
            and point.iter_num in self.case.eval_iters
            and point.iter_num not in self.run.process_starts
        )

    def _iteration(self, point: IterPoint) -> str:
        if self.run.tokens_per_iter is None:
            return self._words.say("iter", iter=point.iter_num)
        tokens = point.iter_num * self.run.tokens_per_iter
        seen, last = self.case.epochs, self.run.last_iter
        if not seen or not last or self.run.epochs_seen is not None:
            return self._words.say("iter_tokens", iter=point.iter_num, tokens=tokens)
        epochs = seen * point.iter_num / last
        return self._words.say("iter_epochs", iter=point.iter_num, tokens=tokens, epochs=epochs)

    # --- loss

    def _loss(self, point: IterPoint) -> str:
        if point.loss is None:
            return ""
        if not math.isfinite(point.loss):
            return self._words.say("loss_nonfinite")
        kind = "smoothed" if self.run.smoothed else "nanogpt" if self.run.nanogpt_habits else "ours"
        if not self.run.nanogpt_habits and not self.case.ours and not self.run.smoothed:
            kind = "other"
        texts = self._words.once(f"loss_{kind}")
        texts.append(self._words.loss(point.loss))
        if self.run.untrained_loss is not None and self.run.vocab_size:
            vocab, expected = self.run.vocab_size, self.run.untrained_loss
            texts += self._words.once("loss_expected", vocab=vocab, expected=expected)
        return self._words.join([*texts, *self._earlier(point), *self._trend(point)])

    def _earlier(self, point: IterPoint) -> list[str]:
        first = self.case.iters[0] if self.case.iters else None
        if first is None or point.loss is None or first.iter_num >= point.iter_num:
            return []
        change = point.loss - first.loss
        key = "loss_risen" if change > 0 else "loss_fallen"
        return [self._words.say(key, first=first.loss, first_iter=first.iter_num, change=abs(change))]

    def _trend(self, point: IterPoint) -> list[str]:
        """How the line stands to those around it, in units of the usual scatter."""
        at = bisect.bisect_left(self._nums, point.iter_num)
        near = self.case.iters[max(0, at - _NEIGHBOURS) : at + _NEIGHBOURS + 1]
        noise = self.case.batch_noise
        if len(near) < _MIN_NEIGHBOURS or not noise or point.loss is None:
            return []
        halves = [
            statistics.median(p.loss for p in half)
            for half in (near[: len(near) // 2], near[len(near) // 2 :])
        ]
        if abs(halves[0] - halves[1]) > noise:
            return []  # it falls (or rises) too steeply here for its neighbours to be a measure
        usual = statistics.median(p.loss for p in near)
        away = (point.loss - usual) / noise
        key = "loss_usual" if abs(away) < _UNUSUAL else "loss_high" if away > 0 else "loss_low"
        return [self._words.say(key, usual=usual, noise=noise, away=abs(away))]

    # --- time and gradient

    def _time(self, point: IterPoint, *, slow_by_eval: bool) -> str:
        median, time_ms, words = self.case.median_ms, point.time_ms, self._words
        if time_ms is None or not math.isfinite(time_ms):
            return ""
        if self.case.ours and median:
            return words.join([*words.once("time_ours"), words.say("time_usual", median=median)])
        if not median:
            return words.say("time_alone")
        if slow_by_eval:
            return words.say("time_eval", median=median, extra=time_ms - median)
        if point.iter_num in self.case.start_iters and is_slow(time_ms, median):
            evaluated = self.run.nanogpt_habits and point.iter_num in self.case.eval_iters
            return words.say("time_first_eval" if evaluated else "time_first", median=median)
        key = "time_slow" if is_slow(time_ms, median) else "time_usual"
        return words.join([*words.once("time_alone"), words.say(key, median=median, times=time_ms / median)])

    def _gradient(self, point: IterPoint) -> str:
        if point.grad_norm is None:
            return ""
        clip = self.case.setting("grad_clip")
        if not clip:
            return self._words.say("grad_norm", grad_norm=point.grad_norm)
        key = "grad_norm_clipped" if point.grad_norm > clip else "grad_norm_whole"
        return self._words.say(key, grad_norm=point.grad_norm, clip=clip)

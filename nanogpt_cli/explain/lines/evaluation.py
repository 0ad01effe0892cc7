"""An evaluation's line: `step 5000: train loss 0.6224, val loss 1.7044`."""

import math

from nanogpt_cli.explain.case import Case
from nanogpt_cli.explain.lines.rate import explain_rate
from nanogpt_cli.explain.lines.words import ExplainedLine, Words
from nanogpt_cli.explain.records import EvalPoint

# From this difference on "some difference is normal" would be wrong to say (as in the rule for overfitting).
_WIDE_GAP_NATS = 0.75
_SMALL_GAP_NATS = 0.05


class EvaluationExplainer:
    """Explains the evaluations of one run."""

    def __init__(self, case: Case, words: Words) -> None:
        self.case, self.run, self._words = case, case.run, words

    def explain(self, point: EvalPoint) -> ExplainedLine:
        """The line as nanoGPT would print it, and each of its numbers."""
        name = "val loss" if self.run.val_unit == "nats" else "val bpb"
        text = f"{name} {point.val_loss:.4f}"
        if point.train_loss is not None:
            text = f"train loss {point.train_loss:.4f}, {text}"
        text = f"step {point.iter_num}: {text}"
        if not math.isfinite(point.val_loss) or not math.isfinite(point.train_loss or 0.0):
            return self._words.line(text, ("loss", self._words.say("loss_nonfinite")))
        return self._words.line(
            text,
            ("train", self._train(point)),
            ("val", self._words.join([*self._val(point), *self._standing(point), *self._precision()])),
            ("gap", self._gap(point)),
            ("lr", explain_rate(self.case, self._words, point.iter_num, point.lr) if point.lr else ""),
        )

    def _train(self, point: EvalPoint) -> str:
        if point.train_loss is None:
            return ""
        batches = self.case.setting("eval_iters")
        value = self._words.loss(point.train_loss)
        if batches is None:
            return self._words.join([*self._words.once("train_loss_unknown"), value])
        return self._words.join([*self._words.once("train_loss", eval_iters=int(batches)), value])

    def _val(self, point: EvalPoint) -> list[str]:
        if self.run.val_unit == "bpb":
            nats = point.val_loss * math.log(2)
            return [
                *self._words.once("val_bpb"),
                self._words.say("val_bpb_value", bpb=point.val_loss, nats=nats),
            ]
        key = "val_loss" if point.train_loss is not None else "val_loss_alone"
        return [*self._words.once(key), self._words.loss(point.val_loss)]

    def _standing(self, point: EvalPoint) -> list[str]:
        earlier = [e for e in self.case.vals if e.iter_num < point.iter_num]
        if not earlier:
            return []
        best = min(earlier, key=lambda e: e.val_loss)
        if point.val_loss < best.val_loss:
            return [self._words.say("val_best")]
        return [self._words.say("val_not_best", best=best.val_loss, best_iter=best.iter_num)]

    def _precision(self) -> list[str]:
        """The standard error of the mean of eval_iters batches, from the scatter of single ones."""
        batches, noise = self.case.setting("eval_iters"), self.case.batch_noise
        single = self.run.nanogpt_habits and not self.run.smoothed
        if not (batches and noise and single and self.run.val_unit == "nats"):
            return []
        # nanoGPT prints the loss of the last micro-batch, which is as large as a batch of the evaluation.
        error = noise / math.sqrt(batches)
        return self._words.once("val_precision", eval_iters=int(batches), noise=noise, error=error)

    def _gap(self, point: EvalPoint) -> str:
        if point.train_loss is None or self.run.val_unit != "nats":
            return ""
        gap = point.val_loss - point.train_loss
        key = "gap_wide" if gap >= _WIDE_GAP_NATS else "gap_small" if gap < _SMALL_GAP_NATS else "gap"
        return self._words.say(key, val=point.val_loss, train=point.train_loss, gap=gap)

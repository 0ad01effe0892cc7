"""Explains single log lines: what each number of them is, worked out for this run.

A line is shown as it would stand in nanoGPT's log, whatever format it was read from.
"""

import math
from dataclasses import dataclass

from nanogpt_cli.explain.case import A100_PEAK_FLOPS, Case, Number
from nanogpt_cli.explain.catalogue import Catalogue
from nanogpt_cli.explain.records import EvalPoint, IterPoint

# From this difference on "some difference is normal" would be wrong to say (as in the rule for overfitting).
_WIDE_GAP_NATS = 0.75
_SLOW = 2.0  # times the usual; below that a line's time needs no reason


@dataclass(frozen=True)
class ExplainedLine:
    """One line of the log and (label, explanation) for each number in it."""

    text: str
    parts: tuple[tuple[str, str], ...]


class LineExplainer:
    """Explains lines of one run in one language."""

    def __init__(self, case: Case, catalogue: Catalogue) -> None:
        self.case = case
        self.run = case.run
        self._catalogue = catalogue
        self._said: set[str] = set()
        self._before = dict(zip((p.iter_num for p in self.run.iters[1:]), self.run.iters, strict=False))

    def _once(self, key: str) -> list[str]:
        """What a number means in general: said at the first line that shows it."""
        if key in self._said:
            return []
        self._said.add(key)
        return [self._say(key)]

    def _say(self, key: str, **numbers: Number) -> str:
        return self._catalogue.text("lines", key, **numbers)

    # --- which lines

    def chosen(self, first: int, last: int, every: int = 1) -> tuple[ExplainedLine, ...]:
        """The iterations and evaluations from `first` to `last` that `every` divides, in the log's order."""
        points: list[IterPoint | EvalPoint] = [*self.run.evals, *self.run.iters]
        inside = [p for p in points if first <= p.iter_num <= last and p.iter_num % every == 0]
        inside.sort(key=lambda p: (p.iter_num, isinstance(p, IterPoint)))  # nanoGPT evaluates first
        return tuple(self.eval_line(p) if isinstance(p, EvalPoint) else self.iter_line(p) for p in inside)

    def examples(self) -> tuple[ExplainedLine, ...]:
        """One line of each kind the log holds."""
        lines = self._header_lines()
        iters, evals = self.run.iters, self.run.evals
        pending = next((p for p in iters if p.mfu_pending), None)
        slow = next((p for p in reversed(iters) if self._slow_by_eval(p)), None)
        usual = next((p for p in reversed(iters) if p not in (pending, slow)), None)
        shown = [p for p in (pending, usual) if p is not None]
        lines += [self.iter_line(p) for p in shown]
        if evals:
            lines.append(self.eval_line(evals[-1]))
        if slow is not None:
            lines.append(self.iter_line(slow))
        return tuple(lines)

    def _header_lines(self) -> list[ExplainedLine]:
        lines = []
        if tokens := self.run.tokens_per_iter:
            names = ("gradient_accumulation_steps", "batch_size", "block_size")
            accumulation, batch, block = (int(self.case.setting(name) or 0) for name in names)
            if accumulation * batch * block == tokens:
                sizes = {"accumulation": accumulation, "batch_size": batch, "block_size": block}
                why = self._say("tokens_worked_out", tokens=tokens, **sizes)
            else:
                why = self._say("tokens_header", tokens=tokens)
            lines.append(self._line(f"tokens per iteration will be: {tokens:,}", ("tokens", why)))
        if self.run.n_params:
            text = f"number of parameters: {self.run.n_params / 1e6:.2f}M"
            lines.append(self._line(text, ("parameters", self._say("parameters_header"))))
        return lines

    # --- an evaluation

    def eval_line(self, point: EvalPoint) -> ExplainedLine:
        """`step 5000: train loss 0.6224, val loss 1.7044`."""
        if point.train_loss is None:
            text = f"step {point.iter_num}: val loss {point.val_loss:.4f}"
        else:
            text = f"step {point.iter_num}: train loss {point.train_loss:.4f}, val loss {point.val_loss:.4f}"
        if not math.isfinite((point.train_loss or 0.0) + point.val_loss):
            return self._line(text, ("loss", self._say("loss_nonfinite")))
        val = _surprise(point.val_loss)
        val_part = ("val", f"{self._say('val_loss', **val)} {self._standing(point)}".rstrip())
        if point.train_loss is None:
            return self._line(text, val_part, *self._lr(point.lr))
        train = _surprise(point.train_loss)
        batches = self.case.setting("eval_iters")
        if batches is None:
            train_text = self._say("train_loss_unknown", **train)
        else:
            train_text = self._say("train_loss", eval_iters=int(batches), **train)
        gap = point.val_loss - point.train_loss
        return self._line(
            text,
            ("train", train_text),
            val_part,
            ("gap", self._say("gap_wide" if gap >= _WIDE_GAP_NATS else "gap", gap=gap)),
            *self._lr(point.lr),
        )

    def _standing(self, point: EvalPoint) -> str:
        earlier = [e for e in self.case.evals if e.iter_num < point.iter_num]
        if not earlier:
            return ""
        best = min(earlier, key=lambda e: e.val_loss)
        if point.val_loss < best.val_loss:
            return self._say("val_best")
        return self._say("val_not_best", best=best.val_loss, best_iter=best.iter_num)

    # --- an iteration

    def iter_line(self, point: IterPoint) -> ExplainedLine:
        """`iter 5000: loss 0.8236, time 4446.83ms, mfu 9.99%`."""
        shown = [] if point.loss is None else [f"loss {point.loss:.4f}"]
        if point.time_ms is not None:
            shown.append(f"time {point.time_ms:.2f}ms")
        if point.mfu is not None or point.mfu_pending:
            shown.append(f"mfu {100 * point.mfu if point.mfu is not None else -100:.2f}%")
        text = f"iter {point.iter_num}: {', '.join(shown)}"
        parts = [("iter", self._iteration(point)), ("loss", self._loss(point))]
        if point.time_ms is not None and math.isfinite(point.time_ms):
            parts.append(("time", self._time(point, point.time_ms)))
        if point.mfu_pending:
            parts.append(("mfu", " ".join([*self._once("mfu_meaning"), self._say("mfu_pending")])))
        elif point.mfu is not None and math.isfinite(point.mfu):
            parts.append(("mfu", self._mfu(point)))
        parts = [part for part in parts if part[1]]  # an MFU of which nothing new can be said
        if point.grad_norm is not None:
            parts.append(("grad_norm", self._say("grad_norm", grad_norm=point.grad_norm)))
        return self._line(text, *parts, *self._lr(point.lr))

    def _iteration(self, point: IterPoint) -> str:
        if self.run.tokens_per_iter is None:
            return self._say("iter", iter=point.iter_num)
        return self._say("iter_tokens", iter=point.iter_num, tokens=point.iter_num * self.run.tokens_per_iter)

    def _loss(self, point: IterPoint) -> str:
        if point.loss is None:
            return ""
        if not math.isfinite(point.loss):
            return self._say("loss_nonfinite")
        texts = self._once("loss_nanogpt" if self.run.nanogpt_habits else "loss_ours")
        texts.append(self._say("loss_value", loss=point.loss, **_surprise(point.loss)))
        if self.run.untrained_loss is not None and self.run.vocab_size and "loss_expected" not in self._said:
            self._said.add("loss_expected")
            vocab, expected = self.run.vocab_size, self.run.untrained_loss
            texts.append(self._say("loss_expected", vocab=vocab, expected=expected))
        return " ".join(texts)

    def _time(self, point: IterPoint, time_ms: float) -> str:
        median = self.case.median_ms
        if not self.run.nanogpt_habits and median:
            return " ".join([*self._once("time_ours"), self._say("time_usual", median=median)])
        if not median:
            return self._say("time_alone")
        if self._slow_by_eval(point):
            return self._say("time_eval", median=median, extra=time_ms - median)
        if point.iter_num in self.run.process_starts and time_ms >= _SLOW * median:
            evaluated = point.iter_num in self.case.eval_iters
            return self._say("time_first_eval" if evaluated else "time_first", median=median)
        return " ".join([*self._once("time_alone"), self._say("time_usual", median=median)])

    def _slow_by_eval(self, point: IterPoint) -> bool:
        median = self.case.median_ms
        return bool(
            self.run.nanogpt_habits
            and median
            and point.time_ms is not None
            and math.isfinite(point.time_ms)
            and point.time_ms >= _SLOW * median
            and point.iter_num in self.case.eval_iters
            and point.iter_num not in self.run.process_starts
        )

    # --- MFU

    def _mfu(self, point: IterPoint) -> str:
        texts = self._once("mfu_meaning")
        if self.run.nanogpt_habits:
            return " ".join([*texts, *self._once("mfu_nanogpt"), *self._mfu_of_nanogpt(point)])
        if self.run.peak_flops:
            peak = f"{self.run.peak_flops / 1e12:.3g} TFLOP/s"
            texts.append(self._say("mfu_ours", peak=peak, source=self.run.peak_source or "?"))
            if self.run.flops_per_token and point.tokens_per_second:
                own = 100 * self.run.flops_per_token * point.tokens_per_second / self.run.peak_flops
                texts.append(
                    self._say(
                        "mfu_ours_formula",
                        flops_per_token=self.run.flops_per_token,
                        tokens_per_second=point.tokens_per_second,
                        peak_flops=self.run.peak_flops,
                        own=own,
                    )
                )
        return " ".join(texts)

    def _mfu_of_nanogpt(self, point: IterPoint) -> list[str]:
        """The formula with this run's numbers, and how the running average arrives at what is printed."""
        texts, own = [], self._own_mfu(point)
        before = self._before.get(point.iter_num)
        shape, tokens, n_params = self.case.model_shape, self.run.tokens_per_iter, self.run.n_params
        assert point.mfu is not None
        if own is not None and shape and tokens and n_params and point.time_ms:
            texts.append(
                self._say(
                    "mfu_formula",
                    n_params=n_params,
                    n_layer=shape[0],
                    n_embd=shape[1],
                    block_size=shape[2],
                    tokens=tokens,
                    seconds=point.time_ms / 1000,
                    own=100 * own,
                )
            )
        if before is None or before.mfu is None:
            return texts
        if own is None and self.case.median_ms and point.time_ms and self._slow_by_eval(point):
            own = before.mfu * self.case.median_ms / point.time_ms
        if own is None or abs(0.9 * before.mfu + 0.1 * own - point.mfu) > 0.001:
            return texts
        numbers = {"before": 100 * before.mfu, "own": 100 * own}
        numbers["expected"] = 0.9 * numbers["before"] + 0.1 * numbers["own"]
        if self._slow_by_eval(point) and point.time_ms:
            return [*texts, self._say("mfu_average_eval", time=point.time_ms, **numbers)]
        return [*texts, self._say("mfu_average", **numbers)]

    def _own_mfu(self, point: IterPoint) -> float | None:
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

    def _lr(self, lr: float | None) -> tuple[tuple[str, str], ...]:
        return () if lr is None else (("lr", self._say("lr", lr=lr)),)

    def _line(self, text: str, *parts: tuple[str, str]) -> ExplainedLine:
        return ExplainedLine(text, tuple((self._say(f"label_{name}"), words) for name, words in parts))


def _surprise(loss: float) -> dict[str, Number]:
    """A loss as perplexity and as bits per token."""
    # exp overflows a float at 709, and beyond a million the figure says nothing more.
    if loss < math.log(1e6):
        perplexity = f"{math.exp(loss):,.{0 if loss > 5 else 2}f}"
    else:
        perplexity = f"e^{loss:.0f}"
    return {"perplexity": perplexity, "bits": loss / math.log(2)}

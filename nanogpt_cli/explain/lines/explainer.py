"""Explains single log lines: what each number of them is, worked out for this run.

A line is shown as it would stand in nanoGPT's log, whatever format it was read from.
"""

from nanogpt_cli.accelerators import Accelerator
from nanogpt_cli.explain.case import Case
from nanogpt_cli.explain.catalogue import Catalogue
from nanogpt_cli.explain.lines.evaluation import EvaluationExplainer
from nanogpt_cli.explain.lines.iteration import IterationExplainer
from nanogpt_cli.explain.lines.mfu import MfuExplainer
from nanogpt_cli.explain.lines.words import ExplainedLine, Words
from nanogpt_cli.explain.records import EvalPoint, IterPoint


class LineExplainer:
    """Explains lines of one run in one language; MFU also of `device`, or of a peak in FLOP/s."""

    def __init__(
        self,
        case: Case,
        catalogue: Catalogue,
        *,
        device: Accelerator | None = None,
        device_peak: float | None = None,
    ) -> None:
        self.case, self.run = case, case.run
        self._words = Words(catalogue)
        mfu = MfuExplainer(case, self._words, device, device_peak)
        self._iterations = IterationExplainer(case, self._words, mfu)
        self._evaluations = EvaluationExplainer(case, self._words)

    def chosen(self, first: int, last: int, every: int = 1) -> tuple[ExplainedLine, ...]:
        """The iterations and evaluations from `first` to `last` that `every` divides, in the log's order."""
        points: list[IterPoint | EvalPoint] = [*self.run.evals, *self.run.iters]
        inside = [p for p in points if first <= p.iter_num <= last and p.iter_num % every == 0]
        inside.sort(key=lambda p: (p.iter_num, isinstance(p, IterPoint)))  # nanoGPT evaluates first
        return tuple(self._explain(point) for point in inside)

    def examples(self) -> tuple[ExplainedLine, ...]:
        """One line of each kind the log holds."""
        lines = self._header_lines()
        iters, evals = self.run.iters, self.run.evals
        pending = next((p for p in iters if p.mfu_pending), None)
        slow = next((p for p in reversed(iters) if self._iterations.slow_by_eval(p)), None)
        usual = next((p for p in reversed(iters) if p not in (pending, slow)), None)
        shown: list[IterPoint | EvalPoint] = [p for p in (pending, usual) if p is not None]
        if evals:
            shown.append(evals[-1])
        if slow is not None:
            shown.append(slow)
        return (*lines, *(self._explain(point) for point in shown))

    def _explain(self, point: IterPoint | EvalPoint) -> ExplainedLine:
        if isinstance(point, EvalPoint):
            return self._evaluations.explain(point)
        return self._iterations.explain(point)

    def _header_lines(self) -> list[ExplainedLine]:
        words, lines = self._words, []
        if tokens := self.run.tokens_per_iter:
            names = ("gradient_accumulation_steps", "batch_size", "block_size")
            accumulation, batch, block = (int(self.case.setting(name) or 0) for name in names)
            if accumulation * batch * block == tokens:
                sizes = {"accumulation": accumulation, "batch_size": batch, "block_size": block}
                why = words.say("tokens_worked_out", tokens=tokens, **sizes)
            else:
                why = words.say("tokens_header", tokens=tokens)
            lines.append(words.line(f"tokens per iteration will be: {tokens:,}", ("tokens", why)))
        if (vocab := self.run.vocab_size) and (expected := self.run.untrained_loss):
            why = words.say("vocab_header", vocab=vocab, expected=expected)
            lines.append(words.line(f"vocab_size = {vocab}", ("vocab", why)))
        if self.run.n_params:
            text = f"number of parameters: {self.run.n_params / 1e6:.2f}M"
            lines.append(words.line(text, ("parameters", self._parameters(self.run.n_params))))
        return lines

    def _parameters(self, n_params: float) -> str:
        shape = self.case.model_shape
        if shape is None:
            counts_so = self.run.nanogpt_habits or self.case.ours
            return self._words.say("parameters_header" if counts_so else "parameters_other")
        n_layer, n_embd, _ = shape
        blocks, table = 12 * n_layer * n_embd**2, self.case.table_params
        untied = self.run.config.get("arch") == "nanochat"
        return self._words.say(
            "parameters_table" if table else "parameters_untied" if untied else "parameters_worked_out",
            n_layer=n_layer,
            n_embd=n_embd,
            blocks=blocks,
            rows=table // n_embd,
            table=table,
            rest=max(0.0, n_params - blocks - table),
        )

"""The paragraph above everything: what kind of run, how far, how long, how good, the verdict."""

import math
from collections.abc import Sequence

from nanogpt_cli.explain.case import Case, Finding, Number
from nanogpt_cli.explain.catalogue import Catalogue

_MAX_VERDICTS = 3  # the most important; more is a list, and the findings are one
_NAMES = {
    "nanogpt": "nanoGPT",
    "ours": "nanogpt",
    "hf-trainer": "Hugging Face Trainer",
    "mingpt": "minGPT",
}


def summarize(case: Case, findings: Sequence[Finding], catalogue: Catalogue) -> str:
    """The summary in the catalogue's language."""
    if case.log.format == "unknown" and not case.run.failures:
        # Nothing was understood: only the finding that says so is left to say.
        return catalogue.finding(findings[0], "message") if findings else ""
    say = _Sayer(case, catalogue)
    sentences = [say.kind(), say.extent(), *say.speed(), *say.progress()]
    verdicts = [
        text for finding in findings if (text := catalogue.finding(finding, "verdict", ours=case.ours))
    ]
    return catalogue.sentences([*sentences, *verdicts[:_MAX_VERDICTS]])


class _Sayer:
    def __init__(self, case: Case, catalogue: Catalogue) -> None:
        self.case, self.run, self._catalogue = case, case.run, catalogue

    def _say(self, key: str, /, **numbers: Number) -> str:
        return self._catalogue.text("summary", key, **numbers)

    def kind(self) -> str:
        """What was trained."""
        if self.case.log.format == "unknown":
            return self._say("kind_unseen")
        trainer = "ours" if self.case.ours else self.run.trainer
        name = self._say("trainer_unknown") if trainer == "unknown" else _NAMES.get(trainer, trainer)
        numbers: dict[str, Number] = {"trainer": name}
        key = "kind"
        if self.run.n_params:
            key += "_params"
            numbers["params"] = self.run.n_params
        if self.run.vocab_size:
            key += "_vocab"
            numbers["vocab"] = self.run.vocab_size
        return self._say(key, **numbers)

    def extent(self) -> str:
        """Which iterations the log shows."""
        first, last, target = self.run.first_iter, self.run.last_iter, self.case.target
        if first is None or last is None:
            return self._say("no_points")
        numbers: dict[str, Number] = {
            "first": first,
            "last": last,
            "n_iters": self.run.n_iter_lines,
            "n_evals": self.run.n_eval_lines,
        }
        if target is None:
            return self._say("extent", **numbers)
        return self._say("extent_of", max_iters=int(target), **numbers)

    def speed(self) -> list[str]:
        """Time of an iteration, and of everything."""
        median = self.case.median_ms
        if median is None or self.case.span == 0:
            return []
        if self.run.ending is not None and self.run.ending.wall_seconds and not self.run.resumed_at:
            seconds = self.run.ending.wall_seconds
        else:
            # Logged lines are samples: the iterations between them took the usual time, what exceeds it
            # in a sample (an evaluation, compilation) happened once.
            excess = sum(
                max(0.0, p.time_ms - median)
                for p in self.run.iters
                if p.time_ms is not None and math.isfinite(p.time_ms)
            )
            evals = sum(e.eval_ms for e in self.run.evals if e.eval_ms is not None)
            seconds = (median * self.case.span + excess + evals) / 1000
        return [self._say("speed", ms=median, duration=self._catalogue.duration(seconds))]

    def progress(self) -> list[str]:
        """How the loss went."""
        vals, evals = self.case.vals, self.case.evals
        if len(vals) >= 2:
            best = min(vals, key=lambda e: e.val_loss)
            losses: dict[str, Number] = {
                "first_val": vals[0].val_loss,
                "last_val": vals[-1].val_loss,
                "best_val": best.val_loss,
                "best_iter": best.iter_num,
            }
            if self.run.val_unit == "bpb":
                return [self._say("val_bpb", **losses)]
            return [self._say("val", **losses), *self._sampled(vals[-1].val_loss)]
        if evals:
            only = evals[0]
            text = self._say(
                "one_val", last_eval=only.iter_num, train=only.train_loss, last_val=only.val_loss
            )
            return [text, *self._sampled(only.val_loss)]
        if len(self.case.iters) >= 2:
            first, last = self.case.iters[0].loss, self.case.iters[-1].loss
            return [self._say("train", first_loss=first, last_loss=last)]
        return []

    def _sampled(self, val_loss: float) -> list[str]:
        if not 0 < val_loss < math.log(1e6):
            return []
        return [self._say("sampled", last_val=val_loss, perplexity=math.exp(val_loss))]

"""The document of `nanogpt explain-log --json`, schema version 1.

```
schema_version  1; grows when a field changes its meaning or goes, not when one is added
format          metrics (our metrics.jsonl), nanogpt, nanochat, llm.c, modded-nanogpt, litgpt, torchtitan,
                hf-trainer, mingpt, unknown
n_iter_lines n_eval_lines               lines read of the run
first_loss last_loss                    training loss, mean nats per token
best_val_loss best_val_iter             lowest validation loss, in val_unit
findings        most important first: code, severity (info, warning, error), iters (where to look),
                confidence (0..1), numbers (the evidence), message, advice (in `language`)
runs            one object per run of the log, in its order, with the six numbers above and first_iter,
                last_iter, resumed_at, trainer, val_unit (nats, or bpb: bits per byte)
source language summary                 the file; the words' language; the paragraph above the findings
trainer val_unit                        of the last run
n_lines n_unread_lines                  of the file: all lines, and those that told nothing
lines           the explained lines: text, and parts of label and text
unread          with --unread: line and text of the first lines that told nothing
```

Losses are null where unknown or not finite. Where a log holds several runs the top level speaks of the last.
`--follow --json` writes one such document a line, without the explained lines, each time the verdict changes;
several logs are described in `compare.comparison_document`.
"""

import math
from typing import TYPE_CHECKING, Final

from nanogpt_cli.explain.case import Number
from nanogpt_cli.explain.records import Run

if TYPE_CHECKING:
    from nanogpt_cli.explain.report import ExplainedFinding, Explanation

SCHEMA_VERSION: Final = 1
_TOP = ("n_iter_lines", "n_eval_lines", "first_loss", "last_loss", "best_val_loss", "best_val_iter")


def explanation_document(explanation: "Explanation") -> dict[str, object]:
    """Everything the explanation knows, as JSON values."""
    log, run = explanation.log, explanation.run
    numbers = run_numbers(run)
    return {
        "schema_version": SCHEMA_VERSION,
        "format": explanation.format,
        **{name: numbers[name] for name in _TOP},
        "findings": [finding_document(finding) for finding in explanation.findings],
        "runs": [run_numbers(each) for each in log.runs if each.has_points or each.header_seen],
        "source": explanation.source,
        "language": explanation.language,
        "summary": explanation.summary,
        "trainer": run.trainer,
        "val_unit": run.val_unit,
        "n_lines": log.n_lines,
        "n_unread_lines": log.n_unread_lines,
        "lines": [
            {"text": line.text, "parts": [{"label": label, "text": text} for label, text in line.parts]}
            for line in explanation.lines
        ],
    }


def finding_document(finding: "ExplainedFinding") -> dict[str, object]:
    """A finding with its evidence and its words."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "iters": list(finding.iters),
        "confidence": finding.confidence,
        "numbers": {name: finite(value) for name, value in finding.numbers.items()},
        "message": finding.message,
        "advice": finding.advice,
    }


def run_numbers(run: Run) -> dict[str, object]:
    """What a program may want to know of one run."""
    best = run.best_eval
    losses = [p.loss for p in run.iters if p.loss is not None]
    losses = losses or [e.train_loss for e in run.evals if e.train_loss is not None]
    return {
        "n_iter_lines": run.n_iter_lines,
        "n_eval_lines": run.n_eval_lines,
        "first_iter": run.first_iter,
        "last_iter": run.last_iter,
        "first_loss": finite(losses[0]) if losses else None,
        "last_loss": finite(losses[-1]) if losses else None,
        "best_val_loss": best.val_loss if best else None,
        "best_val_iter": best.iter_num if best else None,
        "resumed_at": list(run.resumed_at),
        "trainer": run.trainer,
        "val_unit": run.val_unit,
    }


def finite(value: Number) -> Number | None:
    """None for what JSON cannot say."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

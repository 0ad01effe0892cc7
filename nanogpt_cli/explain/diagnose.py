"""Runs every rule over a run and returns what they found, most important first.

A rule is a function `(Case) -> Finding | None` in `rules/`; it looks at one thing and knows no other rule.
What one finding makes pointless to say is declared here, in SILENCES, and nowhere else.
"""

from collections.abc import Callable, Mapping
from typing import Final

from nanogpt_cli.explain.case import Case, Finding, Severity
from nanogpt_cli.explain.records import Log, Run
from nanogpt_cli.explain.rules import bookkeeping, endings, learning, speed, stability

Rule = Callable[[Case], Finding | None]

# Most important first: it is the order of the report among findings of equal severity.
RULES: Final[tuple[Rule, ...]] = (
    endings.empty,
    endings.not_a_training_log,
    endings.unsupported_format,
    endings.out_of_memory,
    endings.crashed,
    stability.nonfinite,
    stability.bad_initial_loss,
    stability.diverged,
    stability.no_learning,
    learning.overfitting,
    stability.unstable,
    stability.loss_spike,
    endings.header_only,
    endings.interrupted,
    endings.truncated,
    learning.still_improving,
    learning.plateau,
    endings.finished,
    bookkeeping.never_evaluated,
    bookkeeping.multiple_runs,
    bookkeeping.resumed,
    speed.eval_time_spike,
    speed.slow_first_iterations,
    speed.mfu_reference_device,
    speed.mfu_not_measured_yet,
)

# A finding on the left leaves those on the right unsaid: they would repeat it, or comfort where nothing is
# well ("still improving" while a diverged loss falls back).
_LEARNING: Final = frozenset({"still_improving", "plateau", "overfitting", "unstable", "no_learning"})
SILENCES: Final[Mapping[str, frozenset[str]]] = {
    "nonfinite": _LEARNING | {"diverged", "loss_spike"},
    "diverged": _LEARNING | {"loss_spike"},
    "bad_initial_loss": frozenset({"still_improving", "plateau", "no_learning"}),
    "overfitting": frozenset({"still_improving", "plateau"}),
    "unstable": frozenset({"still_improving", "plateau"}),
    "no_learning": frozenset({"still_improving", "plateau"}),
    "crashed": frozenset({"truncated", "header_only", "interrupted"}),
    "out_of_memory": frozenset({"crashed", "truncated", "header_only", "interrupted"}),
    "interrupted": frozenset({"truncated", "header_only"}),
}
# Said of a run only if none of these was: what makes it not healthy.
_UNHEALTHY: Final = frozenset(
    {"nonfinite", "diverged", "bad_initial_loss", "no_learning", "overfitting", "unstable", "loss_spike"}
)
_RANK: Final[Mapping[Severity, int]] = {"error": 0, "warning": 1, "info": 2}


def diagnose(log: Log, run: Run) -> tuple[Finding, ...]:
    """The findings of one run of `log`, most important first."""
    case = Case(log=log, run=run)
    found = [finding for rule in RULES if (finding := rule(case))]
    codes = {finding.code for finding in found}
    silenced = {code for finding in found for code in SILENCES.get(finding.code, ())}
    kept = [finding for finding in found if finding.code not in silenced]
    if not codes & _UNHEALTHY and (good := learning.healthy(case)):
        kept.insert(0, good)
    return tuple(sorted(kept, key=lambda finding: _RANK[finding.severity]))

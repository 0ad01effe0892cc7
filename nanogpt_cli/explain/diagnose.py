"""Runs every rule over a run and returns what they found, most important first.

A rule is a function `(Case) -> Finding | None` in `rules/`; it looks at one thing and knows no other rule.
What one finding makes pointless to say is declared here, in SILENCES, and nowhere else.
"""

from collections.abc import Callable, Mapping
from typing import Final

from nanogpt_cli.explain.case import Case, Finding, Severity
from nanogpt_cli.explain.records import Log, Run
from nanogpt_cli.explain.rules import (
    bookkeeping,
    endings,
    generalization,
    learning,
    mfu,
    plateau,
    rates,
    speed,
    stability,
    starting,
)

Rule = Callable[[Case], Finding | None]

# Most important first: it is the order of the report among findings of equal severity.
RULES: Final[tuple[Rule, ...]] = (
    endings.empty,
    endings.not_a_training_log,
    endings.out_of_memory,
    endings.disk_full,
    endings.crashed,
    stability.nonfinite,
    starting.bad_initial_loss,
    stability.diverged,
    starting.no_learning,
    generalization.overfitting,
    stability.unstable,
    rates.lr_too_high,
    generalization.loss_below_expected,
    generalization.split_mismatch,
    bookkeeping.checkpoint_overwritten_worse,
    rates.lr_too_low,
    bookkeeping.checkpoint_missing,
    endings.header_only,
    bookkeeping.log_too_sparse,
    endings.interrupted,
    endings.truncated,
    stability.loss_spike,
    endings.finished,
    learning.undertrained,
    learning.still_improving,
    plateau.plateau,
    bookkeeping.never_evaluated,
    rates.lr_decayed_early,
    rates.lr_not_decayed,
    generalization.val_noise,
    bookkeeping.multiple_runs,
    bookkeeping.resumed,
    bookkeeping.data_repeated,
    bookkeeping.tail_unevaluated,
    speed.time_drift,
    speed.time_stall,
    mfu.mfu_impossible,
    mfu.low_mfu,
    speed.eval_time_spike,
    speed.slow_first_iterations,
    mfu.mfu_reference_device,
    mfu.mfu_not_measured_yet,
    bookkeeping.duplicated_lines,
)

# A finding on the left leaves those on the right unsaid: they would repeat it, or comfort where nothing is
# well ("still improving" while a diverged loss falls back).
_TREND: Final = frozenset({"still_improving", "plateau", "undertrained", "val_noise"})
_BROKEN: Final = _TREND | {
    "overfitting", "unstable", "no_learning", "split_mismatch", "loss_below_expected",
    "lr_too_low", "lr_decayed_early", "lr_not_decayed", "checkpoint_overwritten_worse",
}  # fmt: skip
_NOT_ENDED: Final = frozenset({"truncated", "header_only", "interrupted"})
SILENCES: Final[Mapping[str, frozenset[str]]] = {
    "nonfinite": (_BROKEN - {"checkpoint_overwritten_worse"})
    | {"diverged", "loss_spike", "log_too_sparse", "never_evaluated", "tail_unevaluated"},
    "nonfinite.recovered": frozenset(),
    "nonfinite.val_only": frozenset(),
    "diverged": _BROKEN | {"loss_spike", "log_too_sparse", "never_evaluated"},
    "bad_initial_loss": _TREND | {"no_learning", "diverged"},
    "bad_initial_loss.overcome": frozenset(),
    "overfitting": _TREND | {"lr_decayed_early", "lr_not_decayed"},
    "overfitting.by_heart": _TREND | {"lr_decayed_early", "lr_not_decayed", "never_evaluated"},
    "unstable": _TREND | {"lr_decayed_early", "lr_not_decayed"},
    "no_learning": _TREND | {"lr_decayed_early", "lr_not_decayed", "checkpoint_overwritten_worse"},
    "loss_below_expected": _TREND,
    "lr_too_high": _TREND,
    "lr_too_low": frozenset({"still_improving", "plateau"}),
    "val_noise": frozenset({"plateau"}),
    "undertrained": frozenset({"plateau", "still_improving"}),
    "crashed": _NOT_ENDED | {"log_too_sparse", "never_evaluated"},
    "out_of_memory": _NOT_ENDED | {"crashed", "log_too_sparse", "never_evaluated"},
    "disk_full": _NOT_ENDED | {"crashed"},
    "interrupted": frozenset({"truncated", "header_only"}),
    "log_too_sparse": _TREND | {"lr_too_low", "never_evaluated"},
    "low_mfu": frozenset({"mfu_reference_device"}),
}
# Said of a run only if none of these was: what makes it not healthy.
_UNHEALTHY: Final = frozenset(
    {
        "nonfinite", "diverged", "bad_initial_loss", "no_learning", "overfitting", "unstable", "loss_spike",
        "loss_below_expected", "split_mismatch", "lr_too_high", "lr_too_low", "plateau",
    }
)  # fmt: skip
_RANK: Final[Mapping[Severity, int]] = {"error": 0, "warning": 1, "info": 2}


def _silenced_by(finding: Finding) -> frozenset[str]:
    """What a finding leaves unsaid: its wording's own entry goes before its code's."""
    return SILENCES.get(finding.message_key, SILENCES.get(finding.code, frozenset()))


def diagnose(log: Log, run: Run) -> tuple[Finding, ...]:
    """The findings of one run of `log`, most important first."""
    case = Case(log=log, run=run)
    found = [finding for rule in RULES if (finding := rule(case))]
    silenced = {code for finding in found for code in _silenced_by(finding)}
    kept = [finding for finding in found if finding.code not in silenced]
    # A spike that healed and the like are told as notes and do not make a run unhealthy.
    if not {finding.code for finding in kept if finding.severity != "info"} & _UNHEALTHY and (
        good := learning.healthy(case)
    ):
        kept.insert(0, good)
    return tuple(sorted(kept, key=lambda finding: _RANK[finding.severity]))

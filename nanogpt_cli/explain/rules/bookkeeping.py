"""Rules for how the log came about and what it leaves out: resumed, never evaluated, best model lost."""

from typing import Final

from nanogpt_cli.explain.case import Case, Finding, Number
from nanogpt_cli.explain.scatter import is_sound

# nanoGPT evaluates at iteration 0 already; a piece of a log shorter than this is an excerpt, not a habit.
_NEVER_EVALUATED_SPAN: Final = 100

# Fewer iterations than this show that a training runs, and nothing about learning.
_SMOKE_TEST_SPAN: Final = 50
# Fewer lines than this have no trend.
_FEW_LINES: Final = 5
_FALLEN: Final = 0.9
_ENOUGH_TO_TUNE: Final = 3
# By then a second evaluation should have shown how the loss moves.
_ONE_EVAL_SPAN: Final = 500

# Evaluations come at fixed distances; a fifth of one at the end is worth a word, and ten iterations at least.
_TAIL_SHARE: Final = 0.2
_STOPPED_AND_SAVED: Final = frozenset({"SIGINT", "SIGTERM"})
_TAIL_MIN_ITERS: Final = 10
# The last checkpoint is worse by this much, and by five times the scatter of the estimate: the best of many
# estimates was a lucky one.
_WORSE_RATIO: Final = 0.02
_WORSE_DEVIATIONS: Final = 5.0
_CHECKPOINT_MIN_EVALS: Final = 2
# Up to about four passes over the same text teach nearly as much as new text; far more teach it by heart
# (Muennighoff et al. 2023, "Scaling Data-Constrained Language Models").
_REPEATED_EPOCHS: Final = 2.0
_OFTEN_EPOCHS: Final = 10.0
# A line twice is an accident, three are a habit.
_DUPLICATES: Final = 3


def never_evaluated(case: Case) -> Finding | None:
    """Training without a single evaluation: nothing tells memorising from learning."""
    if case.run.evals or not case.run.iters or case.span < _NEVER_EVALUATED_SPAN:
        return None
    return Finding(
        code="never_evaluated",
        severity="info",
        iters=(case.run.iters[0].iter_num, case.run.iters[-1].iter_num),
        numbers={"first_iter": case.run.iters[0].iter_num, "last_iter": case.run.iters[-1].iter_num},
        variant="" if case.run.nanogpt_habits or case.ours else "others",
    )


def log_too_sparse(case: Case) -> Finding | None:
    """Too little to judge the learning by: a smoke test, a few lines, one evaluation."""
    n_iters, n_evals = len(case.run.iters), len(case.run.evals)
    if not n_iters + n_evals:
        return None
    numbers: dict[str, Number] = {
        "n_iters": n_iters,
        "n_evals": n_evals,
        "first_iter": case.run.first_iter or 0,
        "last_iter": case.run.last_iter or 0,
        "span": case.span,
    }
    if case.run.pretrained and len(case.vals) >= _ENOUGH_TO_TUNE:
        return None  # nanoGPT's own fine-tuning of GPT-2 is done after twenty iterations
    if n_iters + n_evals < _FEW_LINES:
        variant = "few_lines"
    elif case.span < _SMOKE_TEST_SPAN and (case.run.first_iter or 0) <= 1 and n_evals < _FEW_LINES:
        variant = "early" if _clearly_falls(case) else "smoke_test"
    elif n_evals == 1 and case.span >= _ONE_EVAL_SPAN:
        variant = "one_eval"
    else:
        return None
    return Finding(code="log_too_sparse", severity="info", confidence=0.9, numbers=numbers, variant=variant)


def _clearly_falls(case: Case) -> bool:
    """Whether even so few iterations lowered the loss beyond the scatter of batches."""
    last = case.vals[-1].val_loss if len(case.vals) > 1 else case.recent_loss()
    first = case.vals[0].val_loss if len(case.vals) > 1 else case.curve[0].loss if case.curve else None
    return first is not None and last is not None and last < _FALLEN * first


def _how_often(case: Case, epochs: float) -> str:
    if case.table_params:
        return "table"
    return "often" if epochs >= _OFTEN_EPOCHS else "numbered" if case.run.epochs_seen else ""


def data_repeated(case: Case) -> Finding | None:
    """The same text was read several times over, which is the usual ground of overfitting."""
    epochs = case.epochs
    if epochs is None or epochs < _REPEATED_EPOCHS:
        return None
    return Finding(
        code="data_repeated",
        severity="info",
        confidence=0.9,
        numbers={"epochs": epochs},
        variant=_how_often(case, epochs),
    )


def tail_unevaluated(case: Case) -> Finding | None:
    """Iterations after the last evaluation: what they brought was neither measured nor, usually, kept."""
    last = case.run.last_iter
    evals = sorted(case.eval_iters)
    if last is None or len(evals) < 2 or not case.run.iters:
        return None
    if case.ours and case.run.ending is not None and case.run.ending.reason in _STOPPED_AND_SAVED:
        return None  # a checkpoint was saved there, and the next evaluation comes with the resume
    tail, interval = last - evals[-1], evals[-1] - evals[-2]
    if tail < max(_TAIL_MIN_ITERS, _TAIL_SHARE * interval):
        return None
    kept = max(case.run.checkpoints, default=None)
    numbers: dict[str, Number] = {"tail": tail, "last_eval_iter": evals[-1], "last_iter": last}
    variant = ""
    if kept is not None and kept < last:
        variant = "saved"
        numbers |= {"saved_iter": kept, "lost": last - kept}
    return Finding(
        code="tail_unevaluated",
        severity="info",
        iters=(evals[-1], last),
        confidence=0.9,
        numbers=numbers,
        variant=variant,
    )


def checkpoint_missing(case: Case) -> Finding | None:
    """nanoGPT names every checkpoint it saves; here it never does, although the loss improved."""
    run = case.run
    if run.trainer not in {"nanogpt", "unknown"} or not run.nanogpt_habits or not run.header_seen:
        return None
    # The header's own line, which excerpts and forks that print otherwise do not have.
    if run.checkpoints or run.tokens_per_iter is None or run.config.get("eval_only") is True:
        return None
    later = [e for e in case.vals if e.iter_num > (run.first_iter or 0)]
    if len(later) < _CHECKPOINT_MIN_EVALS or later[-1].val_loss >= case.vals[0].val_loss:
        return None
    return Finding(
        code="checkpoint_missing",
        severity="info",  # a fork may save without a word; the log alone does not prove it
        iters=(later[-1].iter_num,),
        confidence=0.7,
        numbers={"n_evals": len(later), "last_iter": run.last_iter or 0},
    )


def checkpoint_overwritten_worse(case: Case) -> Finding | None:
    """nanoGPT keeps one file, and always_save_checkpoint wrote a worse model over the best."""
    best = case.best
    if best is None or not case.run.nanogpt_habits or case.run.trainer not in {"nanogpt", "unknown"}:
        return None
    checkpoints = set(case.run.checkpoints)
    saved = [e for e in case.vals if e.iter_num in checkpoints]
    if not saved or best.iter_num not in {e.iter_num for e in saved}:
        return None
    last = saved[-1]
    lost = [e.iter_num for e in case.run.evals if not is_sound(e.val_loss)]
    lost = [i for i in lost if i in checkpoints and i > best.iter_num]
    if lost:
        return Finding(
            code="checkpoint_overwritten_worse",
            severity="warning",
            iters=(best.iter_num, lost[-1]),
            confidence=0.95,
            numbers={
                "best_iter": best.iter_num,
                "best_val_loss": best.val_loss,
                "saved_iter": lost[-1],
            },
            variant="nonfinite",
        )
    worse = last.val_loss - best.val_loss
    if worse < max(_WORSE_RATIO * best.val_loss, _WORSE_DEVIATIONS * case.val_noise):
        return None
    return Finding(
        code="checkpoint_overwritten_worse",
        severity="warning",
        iters=(best.iter_num, last.iter_num),
        confidence=0.9,
        numbers={
            "best_iter": best.iter_num,
            "best_val_loss": best.val_loss,
            "saved_iter": last.iter_num,
            "saved_val_loss": last.val_loss,
            "worse": worse,
        },
    )


def duplicated_lines(case: Case) -> Finding | None:
    """The same iteration is printed again and again: two processes write one log, or it was piped twice."""
    n_twice = case.log.n_duplicated_lines
    if n_twice < _DUPLICATES:
        return None
    return Finding(
        code="duplicated_lines", severity="info", confidence=0.9, numbers={"n_duplicated": n_twice}
    )


def resumed(case: Case) -> Finding | None:
    """The training was continued from a checkpoint."""
    if not case.run.resumed_at:
        return None
    at = case.run.resumed_at
    # Whether the log also holds what came before the (first) resume.
    whole = (case.run.first_iter or 0) < at[0]
    return Finding(
        code="resumed",
        severity="info",
        iters=tuple(at[:10]),
        confidence=0.95,
        numbers={"n_times": len(at), "iter": at[-1]},
        variant="" if whole else "from_the_middle",
    )


def multiple_runs(case: Case) -> Finding | None:
    """Several trainings in one file; what is said here is of the last."""
    if len(case.log.runs) < 2:
        return None
    return Finding(
        code="multiple_runs",
        severity="info",
        confidence=0.9,
        numbers={"n_runs": len(case.log.runs), "first_iter": case.run.first_iter or 0},
    )

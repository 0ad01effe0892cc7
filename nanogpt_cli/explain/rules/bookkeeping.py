"""Rules for how the log itself came about: resumed, several runs, never evaluated."""

from typing import Final

from nanogpt_cli.explain.case import Case, Finding

# nanoGPT evaluates at iteration 0 already; a piece of a log shorter than this is an excerpt, not a habit.
_NEVER_EVALUATED_SPAN: Final = 100


def never_evaluated(case: Case) -> Finding | None:
    """Training without a single evaluation: nothing tells memorising from learning."""
    if case.run.evals or not case.run.iters or case.span < _NEVER_EVALUATED_SPAN:
        return None
    return Finding(
        code="never_evaluated",
        severity="info",
        iters=(case.run.iters[0].iter_num, case.run.iters[-1].iter_num),
        numbers={"first_iter": case.run.iters[0].iter_num, "last_iter": case.run.iters[-1].iter_num},
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

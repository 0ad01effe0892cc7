"""The rule for a loss that no longer moves: at its floor, kept up by the rate, or stuck far above it."""

import math
import statistics
from typing import Final

from nanogpt_cli.explain.case import Case, Finding
from nanogpt_cli.explain.rules.learning import parts
from nanogpt_cli.explain.scatter import noise_of

# Over the last third of a run: less than 0.5 %, or than two estimates differ by without any change of the
# model, is no movement.
_IMPROVING_RATIO: Final = 0.005
_NOISE_FACTOR: Final = 2.0
_PLATEAU_MIN_EVALS: Final = 6
_PLATEAU_MIN_LATER: Final = 2
# Two late evaluations show a standstill only if they are worth their digits: scatter below 0.3 %.
_QUIET: Final = 0.003
# Beyond this above the best it is no longer flat: other rules speak of a rise.
_RISE_RATIO: Final = 0.03
# At more than this share of its peak the learning rate itself keeps the loss up; a decay still lowers it.
_RATE_STILL_HIGH: Final = 0.3
# Models that use their context come to a third of ln(V): 1.5 to 1.8 of 4.2 nats by characters, 3 to 4 of 10.8
# by GPT-2's tokens. At half of it and more only the last one or two tokens are used.
_STUCK_SHARE: Final = 0.5
# Without evaluations: this many lines, and a fall within the scatter of the thirds' medians.
_MIN_ITERS: Final = 90


def plateau(case: Case) -> Finding | None:
    """The last third of the run moved the loss by no more than its estimates scatter."""
    return _of_validation(case) if case.vals else _of_batches(case)


def _of_validation(case: Case) -> Finding | None:
    vals = case.vals
    if len(vals) < _PLATEAU_MIN_EVALS:
        return None
    before, after = parts(vals)
    if len(after) < _PLATEAU_MIN_LATER or (len(after) == 2 and case.val_noise > _QUIET * vals[-1].val_loss):
        return None
    earlier = min(before, key=lambda e: e.val_loss)
    later = min(after, key=lambda e: e.val_loss)
    gain = earlier.val_loss - later.val_loss
    if gain >= max(_IMPROVING_RATIO * earlier.val_loss, _NOISE_FACTOR * case.val_noise):
        return None
    if vals[-1].val_loss - earlier.val_loss > max(_RISE_RATIO * earlier.val_loss, 3 * case.val_noise):
        return None
    since, last = before[-1], vals[-1]
    share = case.rate.end_share(last.iter_num)
    variant = "rate_high" if share is not None and share > _RATE_STILL_HIGH else ""
    stuck = case.run.val_unit == "nats" and _is_stuck(case, later.val_loss)
    return Finding(
        code="plateau",
        severity="warning" if stuck else "info",
        iters=(since.iter_num, last.iter_num),
        confidence=0.85,
        numbers={
            "since_iter": since.iter_num,
            "last_iter": last.iter_num,
            "best_before": earlier.val_loss,
            "best_after": later.val_loss,
            "val_loss": last.val_loss,
            "untrained_loss": case.untrained_loss or 0.0,
        },
        variant="stuck" if stuck else variant,
    )


def _of_batches(case: Case) -> Finding | None:
    points = case.iters
    third = len(points) // 3
    if len(points) < _MIN_ITERS:
        return None
    before = statistics.median(p.loss for p in points[third : 2 * third])
    after = statistics.median(p.loss for p in points[-third:])
    noise = (noise_of([p.loss for p in points[third:]]) or 0.0) / math.sqrt(third)
    # Only a loss that is clearly stuck is told: of one at its floor single batches know too little.
    if abs(before - after) > max(_IMPROVING_RATIO * before, 3 * noise) or not _is_stuck(case, after):
        return None
    return Finding(
        code="plateau",
        severity="warning",
        iters=(points[third].iter_num, points[-1].iter_num),
        confidence=0.75,
        numbers={
            "since_iter": points[third].iter_num,
            "last_iter": points[-1].iter_num,
            "last_loss": after,
            "untrained_loss": case.untrained_loss or 0.0,
        },
        variant="stuck_train",
    )


def _is_stuck(case: Case, loss: float) -> bool:
    untrained = case.untrained_loss
    if untrained is None or case.run.pretrained or case.run.resuming or (case.run.first_iter or 0) > 1:
        return False
    return loss > _STUCK_SHARE * untrained

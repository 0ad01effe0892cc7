"""Rules for how well the model learns: healthy, still improving, flat, overfitting."""

import statistics
from typing import Final

from nanogpt_cli.explain.case import Case, Finding, LossPair

# nanoGPT's estimates scatter by 0.01 to 0.03 nats at 20 to 200 batches; 0.05 nats and 3 % above the best is
# no scatter any more.
_RISE_NATS: Final = 0.05
_RISE_RATIO: Final = 0.03
# From here on memorising dominates: shakespeare-char has a gap of 0.1 to 0.4 at its best point, 1.1 when it
# is far beyond it (train 0.62, val 1.70).
_STRONG_GAP_NATS: Final = 0.75
_STRONG_GAP_RATIO: Final = 0.4
# A gap that is there before anything was learned is a difference between the splits, not memorising.
_SPLIT_GAP_SHARE: Final = 0.5

# Over the last third of a run: less than 0.5 % is within the scatter of the estimates, more is learning.
_IMPROVING_RATIO: Final = 0.005
_TREND_MIN_EVALS: Final = 4
_PLATEAU_MIN_EVALS: Final = 6
# Without evaluations the batches themselves must show it, so the step asked for is larger.
_IMPROVING_TRAIN_RATIO: Final = 0.02
_TREND_MIN_ITERS: Final = 20

# "Healthy" is said only where something was learned: a tenth of the first loss.
_HEALTHY_GAIN: Final = 0.1
_HEALTHY_MIN_ITERS: Final = 10


def overfitting(case: Case) -> Finding | None:
    """Val clearly above its best while train went on falling, or a gap only memorising explains."""
    evals = case.evals
    if not evals or evals[-1].iter_num == 0:
        return None
    best, last = min(evals, key=lambda e: e.val_loss), evals[-1]
    gap = last.val_loss - last.train_loss
    rise = last.val_loss - best.val_loss
    rising = _rises(case, best, last)
    wide = gap >= _STRONG_GAP_NATS and gap >= _STRONG_GAP_RATIO * last.val_loss and not _split_gap(evals)
    if not rising and not wide:
        return None
    variant = "moderate" if not wide else "strong" if rising else "gap"
    return Finding(
        code="overfitting",
        severity="warning",
        iters=(best.iter_num, last.iter_num) if best is not last else (last.iter_num,),
        confidence=0.95 if rising else 0.85,
        numbers={
            "train_loss": last.train_loss,
            "val_loss": last.val_loss,
            "gap": gap,
            "rise": rise,
            "best_val_loss": best.val_loss,
            "best_iter": best.iter_num,
            "last_iter": last.iter_num,
        },
        variant=variant,
    )


def _rises(case: Case, best: LossPair, last: LossPair) -> bool:
    later = [e for e in case.evals if e.iter_num > best.iter_num]
    threshold = max(_RISE_NATS, _RISE_RATIO * best.val_loss)
    # The last two, so that one unlucky estimate is no verdict; a single one must be twice as clear.
    if len(later) == 1:
        threshold *= 2
    return (
        bool(later)
        and min(e.val_loss for e in later[-2:]) - best.val_loss >= threshold
        and last.train_loss < best.train_loss
    )


def _split_gap(evals: list[LossPair]) -> bool:
    first, last = evals[0], evals[-1]
    if first is last:
        return False
    return first.val_loss - first.train_loss >= _SPLIT_GAP_SHARE * (last.val_loss - last.train_loss)


def still_improving(case: Case) -> Finding | None:
    """The last third of the run still lowered the loss clearly: stopping there leaves some on the table."""
    if len(case.evals) >= 2:
        return _val_improving(case)
    points = case.iters
    if len(points) < _TREND_MIN_ITERS:
        return None
    fifth = len(points) // 5
    before = statistics.median(p.loss for p in points[-2 * fifth : -fifth])
    now = statistics.median(p.loss for p in points[-fifth:])
    if before - now < _IMPROVING_TRAIN_RATIO * before:
        return None
    numbers = {"before_loss": before, "last_loss": now, "last_iter": points[-1].iter_num}
    return Finding(
        code="still_improving",
        severity="info",
        iters=(points[-2 * fifth].iter_num, points[-1].iter_num),
        confidence=0.6,
        numbers=numbers,
        variant="train_only",
    )


def _val_improving(case: Case) -> Finding | None:
    evals = case.evals
    best, last = min(evals, key=lambda e: e.val_loss), evals[-1]
    if len(evals) < _TREND_MIN_EVALS:
        earlier = evals[-2]
    else:
        earlier = min(evals[: -max(1, len(evals) // 3)], key=lambda e: e.val_loss)
    gain = earlier.val_loss - last.val_loss
    if gain < _IMPROVING_RATIO * earlier.val_loss:
        return None
    if last.val_loss - best.val_loss > 2 * _IMPROVING_RATIO * best.val_loss:
        return None
    return Finding(
        code="still_improving",
        severity="info",
        iters=(earlier.iter_num, last.iter_num),
        confidence=0.9 if len(evals) >= _TREND_MIN_EVALS else 0.7,
        numbers={
            "gain": gain,
            "before_loss": earlier.val_loss,
            "before_iter": earlier.iter_num,
            "val_loss": last.val_loss,
            "last_iter": last.iter_num,
        },
    )


def plateau(case: Case) -> Finding | None:
    """The last third of the evaluations moved the best val loss by no more than the estimates scatter."""
    evals = case.evals
    if len(evals) < _PLATEAU_MIN_EVALS:
        return None
    third = len(evals) // 3
    earlier = min(evals[:-third], key=lambda e: e.val_loss)
    later = min(evals[-third:], key=lambda e: e.val_loss)
    threshold = _IMPROVING_RATIO * earlier.val_loss
    if earlier.val_loss - later.val_loss >= threshold:
        return None
    if evals[-1].val_loss - earlier.val_loss > _RISE_RATIO * earlier.val_loss:
        return None  # it rises: other rules speak of that
    return Finding(
        code="plateau",
        severity="info",
        iters=(evals[-third - 1].iter_num, evals[-1].iter_num),
        confidence=0.85,
        numbers={
            "since_iter": evals[-third - 1].iter_num,
            "last_iter": evals[-1].iter_num,
            "best_before": earlier.val_loss,
            "best_after": later.val_loss,
            "val_loss": evals[-1].val_loss,
        },
    )


def healthy(case: Case) -> Finding | None:
    """The loss fell well and nothing speaks against the run (`diagnose` asks only then)."""
    first = case.evals[0].val_loss if case.evals else None
    last = case.evals[-1].val_loss if case.evals else None
    if first is None or last is None or len(case.evals) < 2:
        if len(case.iters) < _HEALTHY_MIN_ITERS:
            return None
        first, last = case.iters[0].loss, case.recent_loss()
        if last is None or last > first * (1 - _HEALTHY_GAIN):
            return None
        numbers = {"first_loss": first, "last_loss": last, "last_iter": case.iters[-1].iter_num}
        return Finding(code="healthy", severity="info", confidence=0.6, numbers=numbers, variant="train_only")
    if last > first * (1 - _HEALTHY_GAIN):
        return None
    end = case.evals[-1]
    return Finding(
        code="healthy",
        severity="info",
        iters=(case.evals[0].iter_num, end.iter_num),
        confidence=0.9,
        numbers={
            "first_loss": first,
            "first_iter": case.evals[0].iter_num,
            "val_loss": end.val_loss,
            "train_loss": end.train_loss,
            "gap": end.val_loss - end.train_loss,
            "last_iter": end.iter_num,
        },
    )

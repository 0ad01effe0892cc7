"""Rules for training that breaks: NaN, explosion, spikes, a wrong start, no learning at all."""

import math
import statistics
from collections import deque
from collections.abc import Sequence
from typing import Final

from nanogpt_cli.explain.case import Case, Finding, LossPoint

# A batch's loss varies by a few hundredths to a few tenths; 5 % above the untrained loss (0.5 for GPT-2's
# vocabulary, 0.2 for 65 characters) is beyond that, given that several points are looked at.
_WORSE_THAN_UNTRAINED: Final = 1.05

# nanoGPT starts within about 2 % of ln(V) (10.99 for ln 50304 = 10.83). One nat and 15 % above it is no
# random initialisation any more: every token then costs e times what guessing costs.
_START_EXCESS_NATS: Final = 1.0
_START_EXCESS_RATIO: Final = 1.15
# The largest vocabularies in use have 262,144 entries, ln = 12.5; no correct start is above this.
_START_UNKNOWN_VOCAB: Final = 14.0

# A spike is a jump of a whole nat that is also ten times the usual scatter of its neighbours (10 median
# absolute deviations are about 6.7 standard deviations): tiny batches scatter by half a nat without harm.
_SPIKE_NATS: Final = 1.0
_SPIKE_DEVIATIONS: Final = 10.0
_SPIKE_WINDOW: Final = 20
_SPIKE_MIN_WINDOW: Final = 5

# Learning shows within a hundred iterations even at small rates; less than 2 % of the first loss is none.
_LEARNING_MIN_SPAN: Final = 200
_LEARNING_MIN_POINTS: Final = 10
_LEARNING_MIN_GAIN: Final = 0.02

# Train and val both this much (in nats and as a fraction) above their best: not noise of the estimate, and
# not overfitting, in which the train loss goes on falling.
_RISE_NATS: Final = 0.05
_RISE_RATIO: Final = 0.03
_RISE_MIN_EVALS: Final = 3


def nonfinite(case: Case) -> Finding | None:
    """A loss was NaN or infinite, or our own run ended because of one."""
    bad = [p.iter_num for p in case.run.iters if p.loss is not None and not math.isfinite(p.loss)]
    bad += [e.iter_num for e in case.run.evals if not math.isfinite((e.train_loss or 0.0) + e.val_loss)]
    ended = case.run.ending is not None and case.run.ending.reason == "nonfinite"
    if not bad and not ended:
        return None
    onset = min(bad, default=case.run.last_iter or 0)
    good = [p for p in case.iters if p.iter_num < onset]
    if not good:
        return Finding(
            code="nonfinite", severity="error", iters=(onset,), numbers={"iter": onset}, variant="from_start"
        )
    last = good[-1]
    stayed = not any(p.iter_num > onset for p in case.iters)
    return Finding(
        code="nonfinite",
        severity="error",
        iters=(last.iter_num, onset),
        numbers={"iter": onset, "last_good_iter": last.iter_num, "last_good_loss": last.loss},
        variant="" if stayed else "recovered",
    )


def diverged(case: Case) -> Finding | None:
    """The run ends worse than an untrained model, after it had been better or after it got ever worse."""
    untrained, last = case.untrained_loss, case.recent_loss()
    if untrained is None or last is None or len(case.iters) < 3 or last <= _WORSE_THAN_UNTRAINED * untrained:
        return None
    start = case.loss_at_zero
    if start is not None and last <= _WORSE_THAN_UNTRAINED * start:
        return None  # it began too high and came down: bad_initial_loss tells that
    best = min(case.iters, key=lambda p: p.loss)
    after = [p for p in case.iters if p.iter_num > best.iter_num]
    onset = next(
        (p for p in after if p.loss > _WORSE_THAN_UNTRAINED * untrained), after[-1] if after else best
    )
    return Finding(
        code="diverged",
        severity="error",
        iters=(best.iter_num, onset.iter_num),
        confidence=0.95,
        numbers={
            "best_loss": best.loss,
            "best_iter": best.iter_num,
            "onset_iter": onset.iter_num,
            "onset_loss": onset.loss,
            "last_loss": case.iters[-1].loss,
            "last_iter": case.iters[-1].iter_num,
            "untrained_loss": untrained,
        },
    )


def bad_initial_loss(case: Case) -> Finding | None:
    """A model trained from scratch starts far above ln(vocab_size)."""
    first = case.loss_at_zero
    if first is None or case.run.pretrained or case.run.resuming:
        return None
    expected = case.run.untrained_loss
    if expected is None:
        if first < _START_UNKNOWN_VOCAB:
            return None
        return Finding(
            code="bad_initial_loss",
            severity="error",
            iters=(0,),
            confidence=0.9,
            numbers={"first_loss": first, "gpt2_loss": math.log(50304)},
            variant="unknown_vocab",
        )
    if first < max(expected + _START_EXCESS_NATS, _START_EXCESS_RATIO * expected):
        return None
    return Finding(
        code="bad_initial_loss",
        severity="error",
        iters=(0,),
        confidence=0.95,
        numbers={"first_loss": first, "expected_loss": expected, "vocab_size": case.run.vocab_size or 0},
    )


def no_learning(case: Case) -> Finding | None:
    """After hundreds of iterations the loss is where it began."""
    first, last = case.loss_at_zero, case.recent_loss()
    if first is None or last is None or case.run.pretrained:
        return None
    if case.span < _LEARNING_MIN_SPAN or len(case.iters) < _LEARNING_MIN_POINTS:
        return None
    warmup = case.run.setting("warmup_iters")
    if warmup is not None and (case.run.last_iter or 0) < warmup:
        return None  # the learning rate has not reached its height: too early to tell
    lowest = min(p.loss for p in case.iters)
    if lowest < first * (1 - 3 * _LEARNING_MIN_GAIN) or last < first * (1 - _LEARNING_MIN_GAIN):
        return None
    return Finding(
        code="no_learning",
        severity="error",
        iters=(case.iters[0].iter_num, case.iters[-1].iter_num),
        confidence=0.9,
        numbers={"first_loss": first, "last_loss": last, "last_iter": case.iters[-1].iter_num},
    )


def unstable(case: Case) -> Finding | None:
    """Train and val loss both rise after the best evaluation: learning rate or numerics, not overfitting."""
    evals = case.evals
    best = min(evals, key=lambda e: e.val_loss, default=None)
    if best is None:
        return None
    later = [e for e in evals if e.iter_num > best.iter_num][-_RISE_MIN_EVALS:]
    if len(later) < _RISE_MIN_EVALS:
        return None
    threshold = max(_RISE_NATS, _RISE_RATIO * best.val_loss)
    if any(min(e.val_loss - best.val_loss, e.train_loss - best.train_loss) < threshold for e in later):
        return None
    last = later[-1]
    return Finding(
        code="unstable",
        severity="warning",
        iters=(best.iter_num, last.iter_num),
        confidence=0.9,
        numbers={
            "best_val_loss": best.val_loss,
            "best_train_loss": best.train_loss,
            "best_iter": best.iter_num,
            "last_val_loss": last.val_loss,
            "last_train_loss": last.train_loss,
            "last_iter": last.iter_num,
        },
    )


def loss_spike(case: Case) -> Finding | None:
    """Sudden jumps of the training loss, far beyond the scatter of the batches around them."""
    peaks = _spike_peaks(case.iters)
    if not peaks:
        return None
    (before, worst) = max(peaks, key=lambda pair: pair[1].loss - pair[0])
    recovered = (case.recent_loss() or 0.0) < before + _SPIKE_NATS / 2
    return Finding(
        code="loss_spike",
        severity="warning",
        iters=tuple(point.iter_num for _, point in peaks[:10]),
        confidence=0.9,
        numbers={
            "n_spikes": len(peaks),
            "iter": worst.iter_num,
            "loss": worst.loss,
            "loss_before": before,
            "last_loss": case.iters[-1].loss,
        },
        variant="recovered" if recovered else "",
    )


def _spike_peaks(points: Sequence[LossPoint]) -> list[tuple[float, LossPoint]]:
    """(usual loss before, highest point) of every episode; calm points alone move the window on."""
    calm: deque[float] = deque(maxlen=_SPIKE_WINDOW)
    peaks: list[tuple[float, LossPoint]] = []
    in_episode = 0  # points since the episode began; 0: none
    for point in points:
        # The minimum is below the median: a point this low is no spike, and most are settled without sorting.
        if len(calm) < _SPIKE_MIN_WINDOW or point.loss <= min(calm) + _SPIKE_NATS:
            in_episode = 0
            calm.append(point.loss)
            continue
        usual = statistics.median(calm)
        scatter = statistics.median([abs(loss - usual) for loss in calm])
        if point.loss <= usual + max(_SPIKE_NATS, _SPIKE_DEVIATIONS * scatter):
            in_episode = 0
            calm.append(point.loss)
            continue
        if not in_episode:
            peaks.append((usual, point))
        elif point.loss > peaks[-1][1].loss:
            peaks[-1] = (peaks[-1][0], point)
        in_episode += 1
        if in_episode >= _SPIKE_WINDOW:  # it stays up there: this is the new usual
            calm.clear()
            calm.append(point.loss)
            in_episode = 0
    return peaks

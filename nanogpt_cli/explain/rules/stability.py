"""Rules for training that breaks: NaN, explosion, spikes, a rise of both losses."""

import statistics
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from nanogpt_cli.explain.case import Case, Finding, LossPoint, Number
from nanogpt_cli.explain.scatter import is_sound

# A batch's loss varies by a few hundredths to a few tenths; 5 % above the untrained loss (0.5 for GPT-2's
# vocabulary, 0.2 for 65 characters) is beyond that, given that several points are looked at.
_WORSE_THAN_UNTRAINED: Final = 1.05

# A spike is a jump of a whole nat that is also ten times the usual scatter of its neighbours (10 median
# absolute deviations are about 6.7 standard deviations): tiny batches scatter by half a nat without harm.
_SPIKE_NATS: Final = 1.0
_SPIKE_DEVIATIONS: Final = 10.0
_SPIKE_WINDOW: Final = 20
_SPIKE_MIN_WINDOW: Final = 5
# From three lines on a spike was a blow from which the weights had to recover; three of them are a habit.
_BLOW_MIN_POINTS: Final = 3
_BLOWS_TO_WARN: Final = 3

# Train and val both this much (in nats and as a fraction) above their best, and more than five times the
# scatter of the estimate: not noise, and not overfitting, in which the train loss goes on falling.
_RISE_NATS: Final = 0.05
_RISE_RATIO: Final = 0.03
_RISE_DEVIATIONS: Final = 5.0
_RISE_MIN_EVALS: Final = 3

# A loss that jumps up by a nat and 30 % and stays there to the end fell back to what it knew in its first
# hundred iterations. It must stay for this many lines, or it is a spike that the log's end cuts off.
_COLLAPSE_NATS: Final = 1.0
_COLLAPSE_RATIO: Final = 1.3
_COLLAPSE_MIN_POINTS: Final = 10
_COLLAPSE_STEPS: Final = 2000
# Fewer iterations than this say nothing of learning, only that it runs.
_SHORT_RUN: Final = 50
# float16 training skips the optimizer's step when a gradient overflows: iterations get faster by some per
# cent, steadily. Less is scatter.
_SKIPPING_FASTER: Final = 0.02
_SKIPPING_MIN_POINTS: Final = 4
# No model predicts everything with certainty, least of all from one line to the next.
_ZERO_MIN_POINTS: Final = 3
_ZERO_FROM: Final = 0.1


def nonfinite(case: Case) -> Finding | None:
    """A loss was NaN or infinite, or our own run ended because of one."""
    bad = [p.iter_num for p in case.run.iters if p.loss is not None and not is_sound(p.loss)]
    bad_train = [e.iter_num for e in case.run.evals if not is_sound(e.train_loss or 0.0)]
    bad_val = [e.iter_num for e in case.run.evals if not is_sound(e.val_loss)]
    ended = case.run.ending is not None and case.run.ending.reason == "nonfinite"
    if bad_val and not (bad or bad_train or ended) and case.iters:
        return Finding(
            code="nonfinite",
            severity="error",
            iters=tuple(bad_val[:10]),
            confidence=0.9,
            numbers={"iter": bad_val[0], "n_evals": len(bad_val), "last_loss": case.iters[-1].loss},
            variant="val_only",
        )
    if not (bad or bad_train or bad_val or ended):
        return _vanished(case)
    onset = min([*bad, *bad_train, *bad_val], default=case.run.last_iter or 0)
    good = [p for p in case.iters if p.iter_num < onset]
    if not good:
        return Finding(
            code="nonfinite", severity="error", iters=(onset,), numbers={"iter": onset}, variant="from_start"
        )
    last = good[-1]
    numbers: dict[str, Number] = {
        "iter": onset,
        "last_good_iter": last.iter_num,
        "last_good_loss": last.loss,
    }
    variant = ""
    if any(p.iter_num > onset for p in case.iters):
        variant = "recovered"
    elif times := _faster_since(case, onset):
        variant = "skipping"
        numbers |= times
    return Finding(
        code="nonfinite",
        severity="warning" if variant == "recovered" else "error",
        iters=(last.iter_num, onset),
        numbers=numbers,
        variant=variant,
    )


def _vanished(case: Case) -> Finding | None:
    """A loss of exactly 0 from one line to the next: Hugging Face's Trainer counts a NaN as 0."""
    zeros = 0
    for point in reversed(case.iters):
        if point.loss != 0.0:
            break
        zeros += 1
    if zeros < _ZERO_MIN_POINTS or zeros == len(case.iters):
        return None
    last, first = case.iters[-zeros - 1], case.iters[-zeros]
    if last.loss < _ZERO_FROM:
        return None
    return Finding(
        code="nonfinite",
        severity="error",
        iters=(last.iter_num, first.iter_num),
        confidence=0.9,
        numbers={
            "iter": first.iter_num,
            "last_good_iter": last.iter_num,
            "last_good_loss": last.loss,
            "n_lines": zeros,
        },
        variant="zero",
    )


def _faster_since(case: Case, onset: int) -> dict[str, Number]:
    """Usual times before and after the first NaN, where the latter are clearly shorter; else empty."""
    times = case.ordinary_points_ms
    before = [ms for i, ms in times if i < onset]
    after = [ms for i, ms in times if i >= onset]
    if min(len(before), len(after)) < _SKIPPING_MIN_POINTS:
        return {}
    slow, fast = statistics.median(before), statistics.median(after)
    # Every single time afterwards must be below the usual one before, or it is chance.
    if fast > slow * (1 - _SKIPPING_FASTER) or max(after) > slow:
        return {}
    return {"before_ms": slow, "after_ms": fast, "faster_percent": 100 * (1 - fast / slow)}


def diverged(case: Case) -> Finding | None:
    """The run ends worse than an untrained model, or has lost nearly all that it had learned."""
    points = case.curve
    if len(points) < 3:
        return None
    best = min(points, key=lambda p: p.loss)
    return _worse_than_untrained(case, points, best) or _collapsed(case, points)


def _worse_than_untrained(case: Case, points: Sequence[LossPoint], best: LossPoint) -> Finding | None:
    untrained, last = case.untrained_loss, case.recent_loss() or points[-1].loss
    if untrained is None or last <= _WORSE_THAN_UNTRAINED * untrained:
        return None
    start = case.loss_at_zero
    if start is not None and last <= _WORSE_THAN_UNTRAINED * start:
        return None  # it began too high and came down: bad_initial_loss tells that
    after = [p for p in points if p.iter_num > best.iter_num]
    onset = next(
        (p for p in after if p.loss > _WORSE_THAN_UNTRAINED * untrained), after[-1] if after else best
    )
    return _divergence(
        best, onset, points[-1], untrained, "short" if case.span < _SHORT_RUN else "", confidence=0.95
    )


def _collapsed(case: Case, points: Sequence[LossPoint]) -> Finding | None:
    """Up by a nat and more, and up to the end: every line of the last stretch is far above the best."""
    if len(points) < 2 * _COLLAPSE_MIN_POINTS or not (case.iters or case.evals):
        return None  # validation alone may rise that far by overfitting
    # Medians of neighbours, in few enough steps for a log of hundreds of thousands of lines.
    size = 5
    step = max(1, len(points) // _COLLAPSE_STEPS)
    smooth = [
        LossPoint(points[i + 2].iter_num, statistics.median([p.loss for p in points[i : i + size]]))
        for i in range(0, len(points) - size + 1, step)
    ]
    best = min(smooth, key=lambda p: p.loss)
    limit = max(best.loss + _COLLAPSE_NATS, _COLLAPSE_RATIO * best.loss)
    tail = [p for p in points if p.iter_num > best.iter_num]
    below = [i for i, p in enumerate(tail) if p.loss <= limit]
    risen = tail[below[-1] + 1 :] if below else tail
    if len(risen) < _COLLAPSE_MIN_POINTS:
        return None
    return _divergence(best, risen[0], points[-1], case.untrained_loss or 0.0, "collapsed", confidence=0.9)


def _divergence(
    best: LossPoint,
    onset: LossPoint,
    last: LossPoint,
    untrained: float,
    variant: str,
    *,
    confidence: float,
) -> Finding:
    return Finding(
        code="diverged",
        severity="error",
        iters=(best.iter_num, onset.iter_num),
        confidence=confidence,
        numbers={
            "best_loss": best.loss,
            "best_iter": best.iter_num,
            "onset_iter": onset.iter_num,
            "onset_loss": onset.loss,
            "last_loss": last.loss,
            "last_iter": last.iter_num,
            "untrained_loss": untrained,
        },
        variant=variant,
    )


def unstable(case: Case) -> Finding | None:
    """Train and val loss both rise after the best evaluation: learning rate or numerics, not overfitting."""
    best = case.best
    train_best = case.train_near(best.iter_num) if best is not None else None
    if best is None or train_best is None:
        return None
    later = [e for e in case.vals if e.iter_num > best.iter_num][-_RISE_MIN_EVALS:]
    if len(later) < _RISE_MIN_EVALS:
        return None
    enough = max(case.nats(_RISE_NATS), _RISE_RATIO * best.val_loss)
    # The noise of a run that swings is its own instability, so it may raise the bar only twofold.
    enough = max(enough, min(_RISE_DEVIATIONS * case.val_noise, 2 * enough))
    trains = [case.train_near(e.iter_num) for e in later]
    enough_train = max(_RISE_NATS, _RISE_RATIO * train_best)
    known = [train for train in trains if train is not None]
    # Their medians, for a run that swings comes near its best now and then.
    if not known or statistics.median(e.val_loss for e in later) - best.val_loss < enough:
        return None
    if statistics.median(known) - train_best < enough_train:
        return None
    last, train_last = later[-1], known[-1]
    return Finding(
        code="unstable",
        severity="warning",
        iters=(best.iter_num, last.iter_num),
        confidence=0.9,
        numbers={
            "best_val_loss": best.val_loss,
            "best_train_loss": train_best,
            "best_iter": best.iter_num,
            "last_val_loss": last.val_loss,
            "last_train_loss": train_last,
            "last_iter": last.iter_num,
            "rise": last.val_loss - best.val_loss,
        },
    )


def loss_spike(case: Case) -> Finding | None:
    """Sudden jumps of the training loss, far beyond the scatter of the batches around them."""
    episodes = _spikes(case.iters)
    if not episodes:
        return None
    worst = max(episodes, key=lambda episode: episode.peak.loss - episode.usual)
    # Back to where it was before the first of them, not merely down from the last.
    level = min(episode.usual for episode in episodes)
    recovered = (case.recent_loss() or 0.0) < level + max(
        _RISE_NATS, _RISE_RATIO * level, 2 * case.batch_noise
    )
    # Batches that swing hide what is left of a blow; evaluations that got worse show it.
    recovered = recovered and unstable(case) is None
    # A line that is high and the next one normal was a batch of odd text, not a blow to the weights.
    blows = sum(episode.n_points >= _BLOW_MIN_POINTS for episode in episodes)
    harmless = recovered and blows < _BLOWS_TO_WARN
    return Finding(
        code="loss_spike",
        severity="info" if harmless else "warning",
        iters=tuple(episode.peak.iter_num for episode in episodes[:10]),
        confidence=0.9,
        numbers={
            "n_spikes": len(episodes),
            "iter": worst.peak.iter_num,
            "loss": worst.peak.loss,
            "loss_before": worst.usual,
            "last_loss": case.iters[-1].loss,
        },
        variant="recovered" if recovered else "",
    )


class _Episode(NamedTuple):
    """A stretch of lines far above the usual."""

    usual: float
    peak: LossPoint
    n_points: int


def _spikes(points: Sequence[LossPoint]) -> list[_Episode]:
    """Every episode; calm points alone move the window on."""
    calm: deque[float] = deque(maxlen=_SPIKE_WINDOW)
    episodes: list[_Episode] = []
    inside = False
    for point in points:
        # The minimum is below the median: a point this low is no spike, and most are settled without sorting.
        if len(calm) < _SPIKE_MIN_WINDOW or point.loss <= min(calm) + _SPIKE_NATS:
            inside = False
            calm.append(point.loss)
            continue
        usual = statistics.median(calm)
        scatter = statistics.median([abs(loss - usual) for loss in calm])
        if point.loss <= usual + max(_SPIKE_NATS, _SPIKE_DEVIATIONS * scatter):
            inside = False
            calm.append(point.loss)
            continue
        if inside:
            last = episodes[-1]
            peak = max(last.peak, point, key=lambda p: p.loss)
            episodes[-1] = _Episode(last.usual, peak, last.n_points + 1)
        else:
            episodes.append(_Episode(usual, point, 1))
            inside = True
        if episodes[-1].n_points >= _SPIKE_WINDOW:  # it stays up there: this is the new usual
            calm.clear()
            calm.append(point.loss)
            inside = False
    return episodes

"""Rules for how far the model has learned: healthy, still improving, stopped far too early."""

import math
import statistics
from collections.abc import Sequence
from typing import Final

from nanogpt_cli.explain.case import Case, Finding, Number, ValPoint

# Over the last third of a run: less than 0.5 % is within the scatter of the estimates, more is learning.
_IMPROVING_RATIO: Final = 0.005
_TREND_MIN_EVALS: Final = 4
# A gain must also be beyond what two estimates differ by without any change of the model.
_NOISE_FACTOR: Final = 2.0
# Without evaluations the batches themselves must show it, so the step asked for is larger.
_IMPROVING_TRAIN_RATIO: Final = 0.02
_LEAST_NATS: Final = 0.005  # a loss near zero can halve without anything to gain
_TREND_MIN_ITERS: Final = 20
# A loss's fall slows down all the time; where it gains a quarter more than before, the rate is coming down.
_DECAY_RATIO: Final = 1.25
_DECAY_MIN_EVALS: Final = 3
# Beyond this above the best it is no longer flat: other rules speak of a rise.
_RISE_RATIO: Final = 0.03
# At more than this share of its peak the learning rate itself keeps the loss up; a decay still lowers it.
_RATE_STILL_HIGH: Final = 0.3

# "Healthy" is said only where something was learned: a tenth of the first loss from scratch, and anything
# clear for a training that began with trained weights; and not of a smoke test.
_HEALTHY_GAIN: Final = 0.1
_HEALTHY_GAIN_CONTINUED: Final = 0.005
_HEALTHY_MIN_ITERS: Final = 10
_HEALTHY_MIN_SPAN: Final = 50
# The difference between the splits of which a healthy verdict speaks: shakespeare-char has 0.4 at its best.
_GAP_NATS: Final = 0.2

# Losses of language models fall by 3 to 7 % with every doubling of the iterations once the first rush is over
# (GPT-2 124M on OpenWebText: 4 % at 13,000 iterations). 10 % and more is still the rush.
_DOUBLING_RATIO: Final = 0.1
_DOUBLING_NATS: Final = 0.05
_CHARACTERS: Final = (3.9, 4.5)  # ln of 50 to 90 characters, of which a text in English is made
_DOUBLING_MIN_POINTS: Final = 4
_PLAIN_TRAINERS: Final = frozenset({"nanogpt", "ours", "mingpt", "build-nanogpt", "unknown"})
# Compute-optimal is about 20 tokens a parameter (Hoffmann et al. 2022); below one the model has seen less
# text than it has numbers to learn. Between, only the curve decides.
_STARVED_TOKENS_PER_PARAMETER: Final = 1.0


def still_improving(case: Case) -> Finding | None:
    """The last third of the run still lowered the loss clearly: stopping there leaves some on the table."""
    if len(case.vals) >= 2:
        return _val_improving(case)
    points = case.iters
    if len(points) < _TREND_MIN_ITERS:
        return None
    fifth = len(points) // 5
    before = statistics.median(p.loss for p in points[-2 * fifth : -fifth])
    now = statistics.median(p.loss for p in points[-fifth:])
    if before - now < max(_IMPROVING_TRAIN_RATIO * before, _LEAST_NATS):
        return None
    return Finding(
        code="still_improving",
        severity="info",
        iters=(points[-2 * fifth].iter_num, points[-1].iter_num),
        confidence=0.6,
        numbers={"before_loss": before, "last_loss": now, "last_iter": points[-1].iter_num},
        variant="train_only",
    )


def _val_improving(case: Case) -> Finding | None:
    vals, last = case.vals, case.vals[-1]
    best = min(vals, key=lambda e: e.val_loss)
    few = len(vals) < _TREND_MIN_EVALS
    earlier = vals[-2] if few else min(parts(vals)[0], key=lambda e: e.val_loss)
    gain = earlier.val_loss - last.val_loss
    if gain < max(
        _IMPROVING_RATIO * earlier.val_loss, _NOISE_FACTOR * case.val_noise, case.nats(_LEAST_NATS)
    ):
        return None
    if last.val_loss - best.val_loss > 2 * _IMPROVING_RATIO * best.val_loss:
        return None
    share = case.rate.end_share(last.iter_num)
    variant = ""
    if case.reached_end and (share is None or share < _RATE_STILL_HIGH):
        variant = "schedule_ended" if share is not None else "planned_end"
        if case.table_has_read_all:
            variant = "text_ended"
    elif share is None and _falls_faster_at_the_end(vals):
        variant = "decaying"
    return Finding(
        code="still_improving",
        severity="info",
        iters=(earlier.iter_num, last.iter_num),
        confidence=0.9 if len(vals) >= _TREND_MIN_EVALS else 0.7,
        numbers={
            "gain": gain,
            "before_loss": earlier.val_loss,
            "before_iter": earlier.iter_num,
            "val_loss": last.val_loss,
            "last_iter": last.iter_num,
            **({"epochs": case.epochs} if variant == "text_ended" and case.epochs else {}),
        },
        variant=variant,
    )


def _falls_faster_at_the_end(vals: Sequence[ValPoint]) -> bool:
    """Whether the last third fell more than the third before: what only a decay of the rate brings."""
    before, later = parts(vals)
    if min(len(before), len(later)) < _DECAY_MIN_EVALS:
        return False
    middle = parts(before)[1] if len(before) >= _TREND_MIN_EVALS else before
    # Per iteration, for evaluations may come at other distances towards the end.
    return _slope(before[-1], later[-1]) > _DECAY_RATIO * _slope(middle[0], before[-1]) > 0


def _slope(begin: ValPoint, end: ValPoint) -> float:
    return (begin.val_loss - end.val_loss) / max(1, end.iter_num - begin.iter_num)


def parts(vals: Sequence[ValPoint]) -> tuple[Sequence[ValPoint], Sequence[ValPoint]]:
    """The first two thirds of the iterations and the last; neither is empty, of two evaluations or more."""
    border = vals[-1].iter_num - (vals[-1].iter_num - vals[0].iter_num) / 3
    at = next(i for i, e in enumerate(vals) if e.iter_num > border or i == len(vals) - 1)
    return vals[: max(1, at)], vals[max(1, at) :]


def undertrained(case: Case) -> Finding | None:
    """The loss still falls as fast as in a run's first rush, or the model has seen next to no text."""
    if case.run.pretrained or case.run.resuming:
        return None  # a fine-tuning starts near its floor; its few iterations are no lack
    fall = _fall_of_the_last_doubling(case)
    if fall is None:
        return None
    half_iter, half_loss, last_iter, last_loss = fall
    if half_loss - last_loss < case.nats(_DOUBLING_NATS) or half_loss <= 0:
        return None
    ratio = (half_loss - last_loss) / half_loss
    tokens = case.tokens_per_parameter
    numbers: dict[str, Number] = {
        "half_iter": half_iter,
        "half_loss": half_loss,
        "last_iter": last_iter,
        "last_loss": last_loss,
        "fall_percent": 100 * ratio,
    }
    if case.reached_end and case.run.trainer not in _PLAIN_TRAINERS:
        return None  # a planned decay of the rate makes the last part fall fast, as in speedruns
    starved = tokens is not None and tokens < _STARVED_TOKENS_PER_PARAMETER
    # Evaluations seldom lie at the very half: what the stretch brought, as one doubling of the iterations.
    doubled = 1 - (1 - ratio) ** (1 / math.log2(last_iter / half_iter)) if half_iter else ratio
    if doubled < (_DOUBLING_RATIO / 2 if starved else _DOUBLING_RATIO):
        return None
    variant = "" if case.vals else "train_only"
    if case.vals and _CHARACTERS[0] < (case.untrained_loss or 0.0) < _CHARACTERS[1]:
        variant = "characters"
    if tokens is not None and starved and case.vals:
        variant = "starved"
        numbers["tokens_per_parameter"] = tokens
    return Finding(
        code="undertrained",
        severity="info",
        iters=(half_iter, last_iter),
        confidence=0.9 if case.vals else 0.7,
        numbers=numbers,
        variant=variant,
    )


def _fall_of_the_last_doubling(case: Case) -> tuple[int, float, int, float] | None:
    """(iteration, loss) half way and at the end: of validation, else of the batches around."""
    vals = [e for e in case.vals if e.iter_num > 0]
    if len(vals) >= _DOUBLING_MIN_POINTS - 1:
        curve: Sequence[tuple[int, float]] = [(e.iter_num, e.val_loss) for e in vals]
        last_iter, last_loss = curve[-1]
        # The latest evaluation at or before the half, so that the fall is never made to look larger.
        half_iter, half_loss = max(
            (p for p in curve if p[0] <= 0.55 * last_iter), default=(0, math.nan), key=lambda p: p[0]
        )
        if last_loss > min(loss for _, loss in curve) * (1 + _RISE_RATIO) or last_iter < _HEALTHY_MIN_SPAN:
            return None
        if half_iter < 0.4 * last_iter:
            return None
        return half_iter, half_loss, last_iter, last_loss
    if case.vals or len(case.iters) < _TREND_MIN_ITERS or case.iters[0].iter_num > 1:
        return None
    last_iter = case.iters[-1].iter_num
    last = case.recent_loss(max(5, len(case.iters) // 20))
    half = case.loss_around(last_iter // 2)
    if last is None or half is None or last_iter < _HEALTHY_MIN_SPAN:
        return None
    return last_iter // 2, half, last_iter, last


def healthy(case: Case) -> Finding | None:
    """The loss fell well and nothing speaks against the run (`diagnose` asks only then)."""
    continued = case.run.pretrained or bool(case.run.resumed_at) or (case.run.first_iter or 0) > 1
    needed = _HEALTHY_GAIN_CONTINUED if continued else _HEALTHY_GAIN
    if len(case.vals) < 2:
        if len(case.iters) < _HEALTHY_MIN_ITERS or case.span < _HEALTHY_MIN_SPAN:
            return None
        first, last = case.iters[0].loss, case.recent_loss()
        # Single batches scatter, so a continued run without evaluations has to show more.
        if last is None or last > first * (1 - _HEALTHY_GAIN / (2 if continued else 1)):
            return None
        return Finding(
            code="healthy",
            severity="info",
            confidence=0.6,
            numbers={"first_loss": first, "last_loss": last, "last_iter": case.iters[-1].iter_num},
            variant="train_only",
        )
    begin, end = case.vals[0], case.vals[-1]
    if end.val_loss > begin.val_loss * (1 - needed):
        return None
    numbers: dict[str, Number] = {
        "first_loss": begin.val_loss,
        "first_iter": begin.iter_num,
        "val_loss": end.val_loss,
        "last_iter": end.iter_num,
    }
    variant = "bpb" if case.run.val_unit == "bpb" else "val_only"
    if case.evals and case.evals[-1].iter_num == end.iter_num:
        gap = end.val_loss - case.evals[-1].train_loss
        numbers |= {"train_loss": case.evals[-1].train_loss, "gap": gap}
        variant = "" if gap < _GAP_NATS else "gap_of_table" if case.table_params else "gap"
    return Finding(
        code="healthy",
        severity="info",
        iters=(begin.iter_num, end.iter_num),
        confidence=0.9,
        numbers=numbers,
        variant=variant,
    )

"""Rules for training that never gets going: a wrong first loss, nothing learned."""

import math
import statistics
from typing import Final

from nanogpt_cli.explain.case import Case, Finding, Number, Severity

# nanoGPT starts within about 2 % of ln(V) (10.99 for ln 50304 = 10.83). One nat and 15 % above it is no
# random initialisation any more: every token then costs e times what guessing costs.
_START_EXCESS_NATS: Final = 1.0
_START_EXCESS_RATIO: Final = 1.15
# The largest vocabularies in use have 262,144 entries, ln = 12.5; no correct start is above this.
_START_UNKNOWN_VOCAB: Final = 14.0
_LN_GPT2: Final = math.log(50304)
# Some recipes start with large output weights and are down within a hundred iterations: no fault, only waste.
_OVERCOME_SHARE: Final = 0.7
# A new model cannot know anything: a first loss well below ln(V) means that it does, or that it sees answers.
_START_LOW_RATIO: Final = 0.8

# Learning shows within a hundred iterations even at small rates; less than 2 % of the first loss is none.
_LEARNING_MIN_SPAN: Final = 200
_LEARNING_MIN_POINTS: Final = 10
_LEARNING_MIN_GAIN: Final = 0.02
_UNTRAINED_SHARE: Final = 0.9
_UNTRAINED_LOSS: Final = 3.0  # ln 20: texts have more kinds of characters than that

# Of a run that knew nothing but how often each token occurs: flat, at the unigram entropy of ordinary text.
# English has 2.9 to 3.4 nats a character or byte, and 6.9 to 8 nats per GPT-2 token.
_UNIGRAM_LEVELS: Final = (((20, 300), (2.85, 3.45)), ((10_000, 300_000), (6.9, 8.0)))
_FLAT_MIN_SPAN: Final = 500
_FLAT_RATIO: Final = 0.01


def bad_initial_loss(case: Case) -> Finding | None:
    """A model trained from scratch does not start at ln(vocab_size)."""
    first = case.loss_at_zero
    if first is None or case.run.pretrained or case.run.resuming or (case.run.first_iter or 0) > 1:
        return None
    expected = case.run.untrained_loss
    limit = _START_UNKNOWN_VOCAB
    if expected is not None:
        limit = max(expected + _START_EXCESS_NATS, _START_EXCESS_RATIO * expected)
    last = case.recent_loss() or (case.curve[-1].loss if case.curve else first)
    numbers: dict[str, Number] = {
        "first_loss": first,
        "last_loss": last,
        "expected_loss": expected or _LN_GPT2,
        "vocab_size": case.run.vocab_size or 0,
    }
    if first >= limit:
        overcome = last < _OVERCOME_SHARE * (expected or _LN_GPT2)
        variant = "overcome" if overcome else "" if expected is not None else "unknown_vocab"
        return _bad_start(numbers, "info" if overcome else "error", variant, 0.9)
    if expected is None:
        return None
    # Only where a header says that the model is new: others may begin with trained weights.
    if case.run.header_seen and case.run.nanogpt_habits and first < _START_LOW_RATIO * expected:
        return _bad_start(numbers, "warning", "too_low", 0.75)
    if str(case.run.config.get("dataset", "")).endswith("_char") and (case.run.vocab_size or 0) > 10_000:
        return _bad_start(numbers, "warning", "vocabulary", 0.8)
    return None


def _bad_start(numbers: dict[str, Number], severity: Severity, variant: str, confidence: float) -> Finding:
    return Finding(
        code="bad_initial_loss",
        severity=severity,
        iters=(0,),
        confidence=confidence,
        numbers=numbers,
        variant=variant,
    )


def no_learning(case: Case) -> Finding | None:
    """After hundreds of iterations the loss is where it began, or knows only how frequent each token is."""
    if case.run.pretrained or case.run.resuming or len(case.curve) < _LEARNING_MIN_POINTS:
        return None
    warmup = case.run.setting("warmup_iters")
    if warmup is not None and (case.run.last_iter or 0) < warmup:
        return None  # the learning rate has not reached its height: too early to tell
    return _stuck_at_start(case) or _stuck_at_unigram(case)


def _stuck_at_start(case: Case) -> Finding | None:
    points = case.curve
    first, last = case.loss_at_zero, case.recent_loss() or points[-1].loss
    if first is None or case.span < _LEARNING_MIN_SPAN:
        return None
    if first < (_UNTRAINED_SHARE * case.run.untrained_loss if case.run.untrained_loss else _UNTRAINED_LOSS):
        return None  # it began with trained weights: it may well stay there
    lowest = min(p.loss for p in points)
    if lowest < first * (1 - 3 * _LEARNING_MIN_GAIN) or last < first * (1 - _LEARNING_MIN_GAIN):
        return None
    return Finding(
        code="no_learning",
        severity="error",
        iters=(points[0].iter_num, points[-1].iter_num),
        confidence=0.9,
        numbers={"first_loss": first, "last_loss": last, "last_iter": points[-1].iter_num},
    )


def _stuck_at_unigram(case: Case) -> Finding | None:
    points, vocab = case.curve, case.run.vocab_size
    level = next((level for (low, high), level in _UNIGRAM_LEVELS if vocab and low <= vocab <= high), None)
    if level is None or case.span < _FLAT_MIN_SPAN:
        return None
    half = points[len(points) // 2 :]
    before = statistics.median(p.loss for p in half[: len(half) // 2])
    after = statistics.median(p.loss for p in half[len(half) // 2 :])
    if not level[0] <= after <= level[1] or before - after > _FLAT_RATIO * before:
        return None
    return Finding(
        code="no_learning",
        severity="error",
        iters=(half[0].iter_num, half[-1].iter_num),
        confidence=0.8,
        numbers={
            "since_iter": half[0].iter_num,
            "last_loss": after,
            "last_iter": points[-1].iter_num,
            "untrained_loss": case.untrained_loss or 0.0,
        },
        variant="unigram",
    )

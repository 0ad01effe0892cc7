"""Rules for training and validation loss side by side: overfitting, leaks, unlike splits, noisy estimates."""

import math
import statistics
from typing import Final

from nanogpt_cli.explain.case import Case, Finding, LossPair, Severity, ValPoint
from nanogpt_cli.explain.scatter import correlation, noise_of

# nanoGPT's estimates scatter by 0.01 to 0.03 nats at 20 to 200 batches; 0.05 nats and 3 % above the best is
# no scatter any more, unless this log scatters more than usual: then five of its own deviations.
_RISE_NATS: Final = 0.05
_RISE_RATIO: Final = 0.03
_RISE_DEVIATIONS: Final = 5.0
# From 24 evaluations on an eighth of them, three and more, make a level that scatters less than one does.
_LEVEL_SHARE: Final = 8
_LEVEL_MIN_EVALS: Final = 3
_STEADY_EVALS: Final = 3
# From here on memorising dominates: shakespeare-char has a gap of 0.1 to 0.4 at its best point, 1.1 when it
# is far beyond it (train 0.62, val 1.70).
_STRONG_GAP_NATS: Final = 0.75
_STRONG_GAP_RATIO: Final = 0.4
# A gap that is there before anything was learned is a difference between the splits, not memorising.
_SPLIT_GAP_SHARE: Final = 0.5

# Splits that differ: the difference is wide at the first evaluation after the start, and stays as it is.
# shakespeare-char has 0.1 nats (5 %) there, and its gap grows from evaluation to evaluation.
_MISMATCH_NATS: Final = 0.25
_MISMATCH_RATIO: Final = 0.08
_MISMATCH_GROWTH: Final = 1.5
_MISMATCH_MIN_EVALS: Final = 3
# Nothing that is learned puts validation below training, so there less is enough.
_EASIER_NATS: Final = 0.1
_EASIER_RATIO: Final = 0.02

# English has about 0.6 to 0.7 nats of real information a character, and the best small models of Shakespeare
# stand at 1.47; GPT-2's tokens carry 2.8 nats at 124M parameters, 1.2 on the simplest children's stories.
_CHARACTER_VOCAB: Final = (30, 300)
_CHARACTER_FLOOR: Final = 0.9
_TOKEN_VOCAB: Final = 10_000
_TOKEN_FLOOR: Final = 0.9
_BYTE_FLOOR_BPB: Final = 0.45
# An untrained model has about 3 bits per byte; chat fine-tuning of a trained one begins near 0.5.
_TRAINED_BPB: Final = 1.0
_TRAINED_SHARE: Final = 0.4
# Two estimates of different text never agree to the last digit; of the same batches they do.
_SAME_MIN_EVALS: Final = 4

# Without evaluation: a loss this low over text seen this often is only learned by heart.
_HEART_LOSS: Final = 0.8
_HEART_EPOCHS: Final = 5.0
_HEART_LOSS_ALONE: Final = 0.5
_HEART_FIRST_LOSS: Final = (
    2.0  # a start below it is no text's (ln 8): a puzzle that can be solved, as sorting
)
_HEART_SHARE: Final = 0.25

# An estimate that scatters by more than 0.03 nats and 1.5 % hides the last third's progress of any long run.
_NOISE_NATS: Final = 0.03
_NOISE_RATIO: Final = 0.015
_NOISE_MIN_EVALS: Final = 8
_NOISE_TARGET_NATS: Final = 0.01
# Where train and val wobble together the model itself moves (too high a rate), not the estimate.
_TOGETHER: Final = 0.6


def overfitting(case: Case) -> Finding | None:
    """Val clearly above its best while train went on falling, or a gap only memorising explains."""
    if not case.vals:
        return _by_heart(case)
    best, last = min(case.vals, key=lambda e: e.val_loss), case.vals[-1]
    if last.iter_num == 0:
        return None
    train_best, train_last = case.train_near(best.iter_num), case.train_near(last.iter_num)
    rises = _rises(case, best, last)
    if train_last is None or train_best is None:
        return _val_alone(best, last) if rises else None
    rising = rises and train_last < train_best
    # Bits per byte and nats per token have no difference to speak of.
    gap = last.val_loss - train_last if case.run.val_unit == "nats" else 0.0
    wide = gap >= _STRONG_GAP_NATS and gap >= _STRONG_GAP_RATIO * last.val_loss and not _split_gap(case.evals)
    if not rising and not wide:
        return None
    if case.run.val_unit == "bpb":
        variant = "bpb"
    else:
        variant = "moderate" if not wide else "strong" if rising else "gap"
    return Finding(
        code="overfitting",
        severity="warning",
        iters=(best.iter_num, last.iter_num) if best is not last else (last.iter_num,),
        confidence=0.95 if rising else 0.85,
        numbers={
            "train_loss": train_last,
            "val_loss": last.val_loss,
            "gap": gap,
            "rise": last.val_loss - best.val_loss,
            "best_val_loss": best.val_loss,
            "best_iter": best.iter_num,
            "last_iter": last.iter_num,
            "wasted_percent": 100 * (last.iter_num - best.iter_num) / last.iter_num,
        },
        variant=variant,
    )


def _rises(case: Case, best: ValPoint, last: ValPoint) -> bool:
    """Whether validation stands above its best by more than its scatter, at the end and not for once."""
    later = [e.val_loss for e in case.vals if e.iter_num > best.iter_num]
    threshold = max(case.nats(_RISE_NATS), _RISE_RATIO * best.val_loss)
    k = min(len(later), len(case.vals) // _LEVEL_SHARE)
    if k >= _LEVEL_MIN_EVALS:
        # Many evaluations: the level at the end against the level around the best, which luck does not move.
        at = next(i for i, e in enumerate(case.vals) if e.iter_num == best.iter_num)
        around = case.vals[max(0, at - k // 2) : at + k // 2 + 1]
        rise = statistics.median(later[-k:]) - statistics.median(e.val_loss for e in around)
        return rise >= max(threshold, _RISE_DEVIATIONS * case.val_noise / math.sqrt(k))
    # A few evaluations that rise one after the other are a bend of the curve, which looks like noise.
    steady = len(later) >= _STEADY_EVALS and later == sorted(later)
    if not steady:
        threshold = max(threshold, _RISE_DEVIATIONS * case.val_noise)
    # The last two, so that one unlucky estimate is no verdict; a single one must be twice as clear.
    if len(later) == 1:
        threshold *= 2
    return bool(later) and min(later[-2:]) - best.val_loss >= threshold


def _val_alone(best: ValPoint, last: ValPoint) -> Finding:
    return Finding(
        code="overfitting",
        severity="warning",
        iters=(best.iter_num, last.iter_num),
        confidence=0.6,
        numbers={
            "val_loss": last.val_loss,
            "rise": last.val_loss - best.val_loss,
            "best_val_loss": best.val_loss,
            "best_iter": best.iter_num,
            "last_iter": last.iter_num,
        },
        variant="val_only",
    )


def _by_heart(case: Case) -> Finding | None:
    """Never evaluated, and a training loss that only memorising reaches."""
    last, first = case.recent_loss(), case.iters[0].loss if case.iters else None
    if last is None or first is None or case.run.pretrained or case.run.trainer == "hf-trainer":
        return None  # a fine-tuning on narrow data may be that good honestly
    if first < _HEART_FIRST_LOSS:
        return None
    if case.run.trainer == "unknown" and case.epochs is None and case.run.vocab_size is None:
        return None  # nobody knows what that loss is of
    seen_often = case.epochs is not None and case.epochs >= _HEART_EPOCHS
    limit = _HEART_LOSS if seen_often else _HEART_LOSS_ALONE
    if last > limit or last > _HEART_SHARE * first:
        return None
    return Finding(
        code="overfitting",
        severity="warning",
        iters=(case.iters[-1].iter_num,),
        confidence=0.85 if seen_often else 0.7,
        numbers={"first_loss": first, "last_loss": last, "last_iter": case.iters[-1].iter_num},
        variant="by_heart",
    )


def _split_gap(evals: list[LossPair]) -> bool:
    if len(evals) < 2:
        return False
    first, last = evals[0], evals[-1]
    return first.val_loss - first.train_loss >= _SPLIT_GAP_SHARE * (last.val_loss - last.train_loss)


def split_mismatch(case: Case) -> Finding | None:
    """The two splits differ from the very start and stay as far apart: they hold unlike text."""
    # At iteration 0 an untrained model finds every text equally hard; a pretrained one does not.
    pairs = case.evals if case.run.pretrained else [e for e in case.evals if e.iter_num > 0]
    if len(pairs) < _MISMATCH_MIN_EVALS or case.run.resuming or case.run.resumed_at:
        return None
    gaps = [e.val_loss - e.train_loss for e in pairs]
    if all(
        gap < -max(_EASIER_NATS, _EASIER_RATIO * e.train_loss) for gap, e in zip(gaps, pairs, strict=True)
    ):
        return _mismatch(pairs, "info", "val_easier")
    if any(
        gap < max(_MISMATCH_NATS, _MISMATCH_RATIO * e.train_loss) for gap, e in zip(gaps, pairs, strict=True)
    ):
        return None
    if max(gaps) > _MISMATCH_GROWTH * gaps[0]:
        return None
    return _mismatch(pairs, "warning", "")


def _mismatch(pairs: list[LossPair], severity: Severity, variant: str) -> Finding:
    first, last = pairs[0], pairs[-1]
    return Finding(
        code="split_mismatch",
        severity=severity,
        iters=(first.iter_num, last.iter_num),
        confidence=0.8,
        numbers={
            "first_gap": abs(first.val_loss - first.train_loss),
            "last_gap": abs(last.val_loss - last.train_loss),
            "first_iter": first.iter_num,
            "last_iter": last.iter_num,
            "train_loss": last.train_loss,
            "val_loss": last.val_loss,
        },
        variant=variant,
    )


def loss_below_expected(case: Case) -> Finding | None:
    """A validation loss no honest training reaches: a leak, val equal to train, or text that repeats."""
    if not case.vals or case.run.pretrained or case.run.trainer in {"hf-trainer", "litgpt"}:
        return None
    last = case.vals[-1]
    pairs = [e for e in case.evals if e.iter_num > 0]
    if _same_numbers(pairs):
        return _too_low(last, case, floor=0.0, variant="same", confidence=0.95)
    floor = _floor(case)
    if floor is None or last.val_loss >= floor or _began_trained(case):
        return None
    train = case.train_near(last.iter_num)
    if case.run.val_unit == "nats" and train is not None and last.val_loss - train > 0.5 * last.val_loss:
        return None  # train is far lower still: the model has memorised, the validation is what it is
    characters = case.run.val_unit == "nats" and (case.run.vocab_size or 0) <= _CHARACTER_VOCAB[1]
    variant = "characters" if characters else ""
    return _too_low(last, case, floor=floor, variant=variant, confidence=0.7)


def _began_trained(case: Case) -> bool:
    """Whether the first evaluation is a trained model's: fine-tuning's answers are easier than prose."""
    first = case.vals[0].val_loss
    if case.run.val_unit == "bpb":
        return first < _TRAINED_BPB
    untrained = case.untrained_loss
    large = (case.run.vocab_size or 0) >= _TOKEN_VOCAB
    return large and untrained is not None and first < _TRAINED_SHARE * untrained


def _same_numbers(pairs: list[LossPair]) -> bool:
    """Whether both losses always agree to the last of at least three digits after the point."""
    exact = [e for e in pairs if e.val_loss != round(e.val_loss, 2)]
    return len(exact) >= _SAME_MIN_EVALS and all(e.train_loss == e.val_loss for e in pairs)


def _floor(case: Case) -> float | None:
    if case.run.val_unit == "bpb":
        return _BYTE_FLOOR_BPB
    vocab = case.run.vocab_size
    if vocab is None:
        return None
    if _CHARACTER_VOCAB[0] <= vocab <= _CHARACTER_VOCAB[1]:
        return _CHARACTER_FLOOR
    return _TOKEN_FLOOR if vocab >= _TOKEN_VOCAB else None


def _too_low(last: ValPoint, case: Case, *, floor: float, variant: str, confidence: float) -> Finding:
    return Finding(
        code="loss_below_expected",
        severity="warning",
        iters=(last.iter_num,),
        confidence=confidence,
        numbers={
            "val_loss": last.val_loss,
            "last_iter": last.iter_num,
            "floor": floor,
            "n_evals": len(case.vals),
        },
        variant=variant,
    )


def val_noise(case: Case) -> Finding | None:
    """The estimates jump by more than the loss moves: too few batches to see a change."""
    vals = case.vals
    if len(vals) < _NOISE_MIN_EVALS:
        return None
    half = [e.val_loss for e in vals[len(vals) // 2 :]]
    level, noise = statistics.median(half), case.val_noise
    if noise < max(case.nats(_NOISE_NATS), _NOISE_RATIO * level):
        return None
    middle = len(half) // 2
    moved = abs(statistics.median(half[:middle]) - statistics.median(half[middle:]))
    if moved > 2 * noise:
        return None
    trains = [case.train_near(e.iter_num) for e in vals[len(vals) // 2 :]]
    known = [train for train in trains if train is not None]
    if (
        len(known) == len(half)
        and correlation(known, half) > _TOGETHER
        and (noise_of(known) or 0) > noise / 2
    ):
        return None
    batches = case.setting("eval_iters")
    factor = (noise / case.nats(_NOISE_TARGET_NATS)) ** 2
    return Finding(
        code="val_noise",
        severity="info",
        iters=(vals[len(vals) // 2].iter_num, vals[-1].iter_num),
        confidence=0.8,
        numbers={
            "noise": noise,
            "moved": moved,
            "times": factor,
            "eval_iters": int(batches or 0),
            "better_eval_iters": 10 * round((batches or 0) * factor / 10),
        },
        variant="eval_iters" if batches else "",
    )

"""Rules for the learning rate: too high, too low, decayed long before the end, or never decayed."""

from typing import Final

from nanogpt_cli.explain.case import Case, Finding, Number
from nanogpt_cli.explain.learning_rate import usual_rate
from nanogpt_cli.explain.rules import stability

# Rates up to twice the usual train as well; for models below 10 million parameters up to ten times.
_HIGH_FACTOR: Final = 2.0
_HIGH_FACTOR_SMALL: Final = 10.0
_SMALL_MODEL: Final = 1e7
# At a hundred times the usual rate (0.1 and more) AdamW trains nothing well, whatever the loss looks like.
_ABSURD_FACTOR: Final = 100.0
# The unigram entropy of text is about 0.7 of ln(V) or above: 3.3 of 4.2 by characters, 7.5 of 10.8 by GPT-2's
# tokens. A model that learns is below it within two hundred iterations.
_STUCK_SHARE: Final = 0.7
_STUCK_MIN_SPAN: Final = 300
# A tenth of the usual rate costs several times the iterations.
_LOW_FACTOR: Final = 0.1
# Muon, Lion and others have other usual rates; these trainers use AdamW unless their settings say otherwise.
_ADAMW_TRAINERS: Final = frozenset({"nanogpt", "ours", "mingpt", "build-nanogpt", "unknown"})
# Healthy gradients of language models have a norm of 0.2 to 2 after the first steps; tens are an explosion.
_EXPLODING_NORM: Final = 10.0
_NORM_MIN_POINTS: Final = 5
# One spike may be one bad batch; spikes again and again that do not heal are the rate.
_MIN_SPIKES: Final = 2

# A warm-up longer than this share of the run leaves no time at the full rate.
_WARMUP_SHARE: Final = 0.5
# A quarter of the run at the lowest rate, and it hardly moves the loss there.
_FLAT_SHARE: Final = 0.25
_FLAT_MIN_ITERS: Final = 100
# The decay lowers the loss by several per cent; a run that ends above half of its peak rate gives that away.
_UNDECAYED_SHARE: Final = 0.5


def _is_adamws(case: Case) -> bool:
    """Whether learning_rate is AdamW's, and not Muon's, whose steps have another size."""
    return case.run.trainer in _ADAMW_TRAINERS and case.run.config.get("optimizer", "adamw") == "adamw"


def lr_too_high(case: Case) -> Finding | None:
    """The loss broke, was thrown back or stays high, and the rate or the gradients show why."""
    broke = stability.diverged(case) or stability.unstable(case)
    peak, n_params = case.rate.peak, case.run.n_params
    if peak is not None and n_params and _is_adamws(case):
        usual = usual_rate(n_params)
        factor = _HIGH_FACTOR_SMALL if n_params < _SMALL_MODEL else _HIGH_FACTOR
        suffers = broke is not None or stability.nonfinite(case) is not None or _stays_high(case)
        if peak > (factor if suffers else _ABSURD_FACTOR) * usual:
            numbers: dict[str, Number] = {
                "learning_rate": peak,
                "usual_rate": usual,
                "times": peak / usual,
            }
            return _too_high(case, numbers)
    if broke is None:
        return None
    norms = [p.grad_norm for p in case.run.iters if p.grad_norm is not None]
    if len(norms) >= _NORM_MIN_POINTS:
        low = sorted(norms)[len(norms) // 4]
        if low > _EXPLODING_NORM:  # three quarters of the steps were beyond it
            return _too_high(case, {"low_norm": low, "high_norm": max(norms)}, "gradients", 0.8)
    spikes = stability.loss_spike(case)
    if spikes is not None and int(spikes.numbers["n_spikes"]) >= _MIN_SPIKES:
        return _too_high(case, {"n_spikes": spikes.numbers["n_spikes"]}, "spikes", 0.75)
    return None


def _stays_high(case: Case) -> bool:
    """Whether hundreds of iterations brought it no lower than the frequencies of single tokens would."""
    last, untrained = case.recent_loss(), case.untrained_loss
    if last is None or untrained is None or case.run.pretrained:
        return False
    return case.span >= _STUCK_MIN_SPAN and last > _STUCK_SHARE * untrained


def _too_high(case: Case, numbers: dict[str, Number], variant: str = "", confidence: float = 0.9) -> Finding:
    last = case.run.last_iter or 0
    return Finding(
        code="lr_too_high",
        severity="warning",
        iters=(last,),
        confidence=confidence,
        numbers=numbers,
        variant=variant,
    )


def lr_too_low(case: Case) -> Finding | None:
    """The rate never came near what a model of this size learns well with."""
    last, peak = case.run.last_iter, case.rate.peak
    if last is None or peak is None or case.run.pretrained or case.span == 0:
        return None
    warmup, target = case.setting("warmup_iters"), case.target
    if warmup and target and warmup > _WARMUP_SHARE * target and case.rate.decays:
        return Finding(
            code="lr_too_low",
            severity="warning",
            iters=(min(int(warmup), last),),
            confidence=0.9,
            numbers={
                "warmup_iters": int(warmup),
                "max_iters": target,
                "better_warmup": max(1, target // 20),
            },
            variant="warmup",
        )
    if not _is_adamws(case) or not case.run.n_params or case.run.resuming:
        return None
    usual = usual_rate(case.run.n_params)
    if peak > _LOW_FACTOR * usual or (warmup and last < warmup) or not _still_falls(case):
        return None
    return Finding(
        code="lr_too_low",
        severity="warning",
        iters=(last,),
        confidence=0.75,
        numbers={"learning_rate": peak, "usual_rate": usual, "times": usual / peak},
    )


def _still_falls(case: Case) -> bool:
    """Whether the last fifth of the batches lies below the fifth before: a slow run that is not done."""
    fifth = len(case.iters) // 5
    if fifth < 2:
        return False
    before = sorted(p.loss for p in case.iters[-2 * fifth : -fifth])[fifth // 2]
    now = sorted(p.loss for p in case.iters[-fifth:])[fifth // 2]
    return now < before * 0.995


def lr_decayed_early(case: Case) -> Finding | None:
    """The rate stood at its lowest for a good part of the run, which then hardly learned."""
    last = case.run.last_iter
    since = case.rate.flat_since(last) if last is not None else None
    if last is None or since is None or case.span == 0:
        return None
    first = case.run.first_iter or 0
    begin = max(since, first)
    share = (last - begin) / max(1, last - first)
    if share < _FLAT_SHARE or last - begin < min(_FLAT_MIN_ITERS, case.span / 2):
        return None
    low, peak = case.rate.at(last), case.rate.peak
    if low is None or peak is None or low > 0.5 * peak:
        return None
    return Finding(
        code="lr_decayed_early",
        severity="info",
        iters=(since, last),
        confidence=0.85,
        numbers={
            "since_iter": since,
            "last_iter": last,
            "low_rate": low,
            "peak_rate": peak,
            "share_percent": 100 * share,
        },
    )


def lr_not_decayed(case: Case) -> Finding | None:
    """The run reached its end while the cosine had hardly begun: lr_decay_iters is far beyond max_iters."""
    decay, target = case.setting("lr_decay_iters"), case.target
    if decay is None or target is None or not case.rate.decays or not case.reached_end:
        return None
    share = case.rate.end_share(target)
    if decay <= target or share is None or share < _UNDECAYED_SHARE:
        return None
    return Finding(
        code="lr_not_decayed",
        severity="info",
        iters=(target,),
        confidence=0.95,
        numbers={"lr_decay_iters": int(decay), "max_iters": target, "share_percent": 100 * share},
    )

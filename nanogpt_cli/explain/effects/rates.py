"""The learning rate from its warm-up to its end."""

from collections.abc import Iterator
from typing import Final

from nanogpt_cli.explain.effects.case import Effect, RunCase, Sentence, say, warn

# Brown et al. 2020, "Language Models are Few-Shot Learners", table 2.1, from 125M parameters on; nanoGPT's
# configurations below.
_USUAL_RATES: Final = ((2e7, 1e-3), (2e8, 6e-4), (5e8, 3e-4), (1e9, 2.5e-4), (float("inf"), 2e-4))
_USUAL_WITHIN: Final = 3.0  # times more or less than the usual rate
_LOW_MUON_RATE: Final = 2e-3  # as the schema's caution: Muon's usual rate is 0.02
_LONG_WARMUP: Final = 0.2  # share of the run; nanoGPT's are 0.3 % and 2 %
_NOTEWORTHY: Final = 0.05  # of the way down, and of the iterations at min_lr


def learning_rate(case: RunCase) -> Iterator[Sentence]:
    """Against what models of this size usually bear."""
    rate = case.config.learning_rate
    if case.config.optimizer == "muon":
        yield warn("muon_low", rate=rate) if rate < _LOW_MUON_RATE else say("muon", rate=rate)
        return
    if case.pretrained:
        yield say("finetune", rate=rate)
        return
    usual = next(found for size, found in _USUAL_RATES if case.forecast.n_params < size)
    numbers = {"rate": rate, "usual": usual, "n_params": case.forecast.n_params, "times": rate / usual}
    if rate > _USUAL_WITHIN * usual:
        yield warn("high", **numbers)
    elif rate < usual / _USUAL_WITHIN:
        yield say("low", **numbers)
    else:
        yield say("usual", **numbers)


def decay_lr(case: RunCase) -> Iterator[Sentence]:
    """Whether there is a schedule at all."""
    yield say("on" if case.config.decay_lr else "off", rate=case.config.learning_rate)


def lr_schedule(case: RunCase) -> Iterator[Sentence]:
    """The shape of the decay."""
    config = case.config
    kind = config.lr_schedule if config.decay_lr else "off"
    middle = (config.learning_rate + config.min_lr) / 2
    yield say(kind, highest=config.learning_rate, lowest=config.min_lr, middle=middle)


def cooldown_fraction(case: RunCase) -> Iterator[Sentence]:
    """How many iterations decay."""
    config = case.config
    if not config.decay_lr or config.lr_schedule != "wsd":
        yield say("unused")
        return
    iters = round(config.cooldown_fraction * config.lr_decay_iters)
    yield say("used", iters=iters, first=config.lr_decay_iters - iters)


def warmup_iters(case: RunCase) -> Iterator[Sentence]:
    """Its share of the run."""
    config = case.config
    warmup, iters = config.warmup_iters, config.max_iters
    if not config.decay_lr:
        yield say("off")
    elif warmup == 0:
        yield say("none")
    elif not case.trains:
        yield say("nothing", warmup=warmup)
    elif warmup >= iters:
        reached = config.learning_rate * iters / (warmup + 1)
        yield warn("never", warmup=warmup, iters=iters, reached=reached)
    else:
        share = warmup / iters
        yield say("long" if share > _LONG_WARMUP else "share", warmup=warmup, iters=iters, share=share)


def lr_decay_iters(case: RunCase) -> Iterator[Sentence]:
    """Whether the decay ends where the run does, and what follows if it does not."""
    config = case.config
    end, iters = config.lr_decay_iters, config.max_iters
    if not case.decays:
        yield say("off")
    elif not case.trains:
        yield say("nothing")
    elif end <= config.warmup_iters < iters:
        yield warn("inside_warmup", end=end, warmup=config.warmup_iters, lowest=config.min_lr)
    elif end == iters:
        yield say("together", end=end, lowest=config.min_lr)
    elif end > iters:
        final, way = case.forecast.final_lr, config.learning_rate - config.min_lr
        numbers = {"end": end, "iters": iters, "final": final, "share": final / (config.learning_rate or 1)}
        missed = config.warmup_iters < iters and final - config.min_lr > _NOTEWORTHY * abs(way)
        yield (warn if missed else say)("later", lowest=config.min_lr, **numbers)
    else:
        rest = iters - end
        told = warn if rest > _NOTEWORTHY * iters else say
        yield told("earlier", end=end, iters=iters, rest=rest, share=rest / iters, lowest=config.min_lr)


def min_lr(case: RunCase) -> Iterator[Sentence]:
    """Its ratio to the highest rate."""
    config = case.config
    lowest, highest = config.min_lr, config.learning_rate
    if not case.decays:
        yield say("off")
    elif lowest > highest:
        yield warn("above", lowest=lowest, highest=highest)
    elif lowest == 0:
        yield say("zero")
    else:
        yield say("ratio", lowest=lowest, highest=highest, share=lowest / highest)


EFFECTS: Final[dict[str, Effect]] = {
    effect.__name__: effect
    for effect in (
        *(learning_rate, decay_lr, lr_schedule, cooldown_fraction),
        *(warmup_iters, lr_decay_iters, min_lr),
    )
}

"""Evaluations, log lines and checkpoints: what they tell, and what they cost."""

import math
from collections.abc import Iterator
from typing import Final

from nanogpt_cli.explain.effects.case import Bytes, Effect, RunCase, Seconds, Sentence, say, warn

_DEAR_EVALUATIONS: Final = 0.25  # of the run's time


def eval_interval(case: RunCase) -> Iterator[Sentence]:
    """How many evaluations, and their share of the time."""
    numbers = {
        "count": case.forecast.n_evals,
        "each": Seconds(case.forecast.timing.eval_ms / 1000),
        "all": Seconds(case.eval_seconds),
        "share": case.eval_share,
    }
    if not case.trains:
        yield say("once", **numbers)
    elif case.eval_share > _DEAR_EVALUATIONS:
        yield warn("dear", **numbers)
    else:
        yield say("cost", **numbers)
    if case.trains and case.config.eval_interval >= case.config.max_iters:
        yield say("ends_only")


def eval_iters(case: RunCase) -> Iterator[Sentence]:
    """How precise the estimate is, and what precision costs."""
    config, found = case.config, case.forecast
    tokens = config.eval_iters * case.micro_tokens
    share = tokens / found.val_tokens
    numbers = {
        "count": config.eval_iters,
        "tokens": tokens,
        "share": share,
        "each": Seconds(found.timing.eval_ms / 1000),
    }
    if share >= 1:
        yield say("covers", **numbers)
        return
    # Of a sample without repetition: the more of the split it holds, the less is left to chance.
    error = found.batch_spread / math.sqrt(config.eval_iters) * math.sqrt(1 - share)
    yield say("precision", spread=found.batch_spread, error=error, **numbers)
    yield say("quarter", four=4 * config.eval_iters, half=error / 2)


def log_interval(case: RunCase) -> Iterator[Sentence]:
    """How many lines, and how far apart in time."""
    every = case.config.log_interval
    seconds = Seconds(every * case.forecast.timing.iter_ms / 1000)
    lines = math.ceil(case.iters_left / every) if case.trains else 0
    yield say("every" if every == 1 else "lines", lines=lines, every=every, seconds=seconds)


def sample_interval(case: RunCase) -> Iterator[Sentence]:
    """How many there will be."""
    every = case.config.sample_interval
    if every == 0 or case.config.eval_only:
        yield say("off")
    else:
        seconds = Seconds(every * case.forecast.timing.iter_ms / 1000)
        yield say("on", count=case.iters_left // every + 1, every=every, seconds=seconds)


def sample_tokens(case: RunCase) -> Iterator[Sentence]:
    """How long that is in words."""
    found, tokens = case.forecast, case.config.sample_tokens
    if not case.config.sample_interval:
        yield say("unused")
    elif found.words_per_token is not None:
        yield say("words", tokens=tokens, words=round(tokens * found.words_per_token))
    elif found.chars_per_token is not None:
        yield say("chars", tokens=tokens, chars=round(tokens * found.chars_per_token))
    else:
        yield say("tokens", tokens=tokens)


def sample_prompt(case: RunCase) -> Iterator[Sentence]:
    """What they begin with."""
    if not case.config.sample_interval:
        yield say("unused")
    else:
        yield say("given" if case.config.sample_prompt else "newline")


def tensorboard_log(case: RunCase) -> Iterator[Sentence]:
    """Where the files go."""
    yield (
        say("on", folder=f"{case.forecast.run_dir}/tensorboard")
        if case.config.tensorboard_log
        else say("off")
    )


def wandb_log(case: RunCase) -> Iterator[Sentence]:
    """What is sent, and what if it cannot be."""
    yield say("on" if case.config.wandb_log else "off")


def wandb_project(case: RunCase) -> Iterator[Sentence]:
    """Who reads it."""
    if case.config.wandb_log or case.config.trackio_log:
        yield say("used", name=case.config.wandb_project)
    else:
        yield say("unused")


def wandb_run_name(case: RunCase) -> Iterator[Sentence]:
    """Who reads it."""
    if case.config.wandb_log:
        yield say("used", name=case.config.wandb_run_name)
    else:
        yield say("unused")


def trackio_log(case: RunCase) -> Iterator[Sentence]:
    """Where it is kept."""
    yield say("on" if case.config.trackio_log else "off")


def always_save_checkpoint(case: RunCase) -> Iterator[Sentence]:
    """How often that much is written."""
    kind = "on" if case.config.always_save_checkpoint else "off"
    yield say(kind, count=max(1, case.forecast.n_evals - 1), size=Bytes(case.forecast.checkpoint_bytes))


def save_interval(case: RunCase) -> Iterator[Sentence]:
    """What would be lost in a crash."""
    every = case.config.save_interval
    if every == 0:
        interval = case.config.eval_interval
        yield say("off", iters=interval, seconds=Seconds(interval * case.forecast.timing.iter_ms / 1000))
    else:
        seconds = Seconds(every * case.forecast.timing.iter_ms / 1000)
        yield say("on", every=every, seconds=seconds, size=Bytes(case.forecast.checkpoint_bytes))


def save_minutes(case: RunCase) -> Iterator[Sentence]:
    """What would be lost in a crash."""
    yield say("on" if case.config.save_minutes else "off", minutes=case.config.save_minutes)


def keep_checkpoints(case: RunCase) -> Iterator[Sentence]:
    """How much of the disk they take."""
    kept, size = case.config.keep_checkpoints, case.forecast.checkpoint_bytes
    yield say("disk", kept=kept, size=Bytes(size), disk=Bytes((kept + 1) * size))


EFFECTS: Final[dict[str, Effect]] = {
    effect.__name__: effect
    for effect in (
        *(eval_interval, eval_iters, log_interval, sample_interval, sample_tokens, sample_prompt),
        *(tensorboard_log, wandb_log, wandb_project, wandb_run_name, trackio_log),
        *(always_save_checkpoint, save_interval, save_minutes, keep_checkpoints),
    )
}
